"""The whole stack: which processes there are, what each of them is told, and in which order they start and end."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from hub.management.commands.run import SITE
from tests import nginx
from tests.stack import ports
from tests.stack.link import Link
from tests.stack.processes import Process
from tests.stack.services import NAME, Bucket, Postgres, Redis

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("worker-1", "worker-2")
CLIENTS = ("web", "clock", *WORKERS)
SERVICES = ("database", "broker", "bucket")
Starter = Callable[..., Any]


class Stack:
    """PostgreSQL, Valkey, S3, two site processes behind nginx, two workers and the clock, with all they keep below `folder`.

    With `cuttable`, every process reaches every service by a link of its own, which can be cut: `links["worker-1", "database"]`.
    `settings` are Medley's own, for all of them; `database` is appended to the database's address. `worker` makes a worker's process: Process, unless a
    test has a faster way.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        cuttable: bool = False,
        settings: Mapping[str, str] | None = None,
        database: str = "",
        worker: Starter = Process,
    ) -> None:
        self.folder, self.port = folder.resolve(), port or ports.free()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings, self._database = dict(settings or {}), database
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
        self.postgres, self.redis, self.bucket = Postgres(self.folder, plain), Redis(self.folder, plain), Bucket(self.folder, plain)
        targets = dict(zip(SERVICES, (self.postgres.port, self.redis.port, self.bucket.port), strict=True))
        self.links = {(client, service): Link(targets[service]) for client in CLIENTS for service in SERVICES} if cuttable else {}
        self._targets, self._plain = targets, plain
        self.secret_key = self._secret_key()
        self.site_port = ports.free()
        self.web = self._process("web", gunicorn(self.site_port), Process, grace=75, answers=lambda: self._answers(self.site_port))
        self.workers = {name: self._process(name, [*_python("compose_worker"), "--loglevel=WARNING", "-n", f"{name}@%h"], worker) for name in WORKERS}
        beat = ["-A", "hub.celery", "beat", "--loglevel=WARNING", "--pidfile=", f"--schedule={self.folder / 'clock' / 'schedule'}"]
        self.clock = self._process("clock", [*_python("celery"), "--quiet", *beat], Process)
        self.proxy: nginx.Nginx | None = None

    def start(self) -> None:
        """Start everything, and return when the site answers."""
        engines = (self.postgres, self.redis, self.bucket)
        for process in engines:
            process.start()
        for process in engines:
            process.ready()
        self.manage("prepare")
        self.web.start()
        self.proxy = nginx.Nginx(self.folder / "nginx", self.port, self.site_port, self.folder / "web" / "data" / "blobs")
        for process in (self.clock, *self.workers.values()):
            process.start()
        self.web.ready()

    def stop(self) -> None:
        """End everything: who takes work first, what it is kept in last."""
        if self.proxy is not None:
            self.proxy.stop()
        working = (self.web, self.clock, *self.workers.values())
        for process in working:
            process.signal(process.polite) if process.runs else None
        for process in working:
            process.stop()
        for link in self.links.values():
            link.close()
        for process in (self.bucket, self.redis, self.postgres):
            process.stop()

    def processes(self) -> list[Process]:
        """All of them but nginx."""
        return [self.postgres, self.redis, self.bucket, self.web, self.clock, *self.workers.values()]

    def environment(self, client: str) -> dict[str, str]:
        """What a process of the hub is told: where the services are for it, and a folder of its own for what it keeps."""
        reach = {service: self.links[client, service].port if self.links else self._targets[service] for service in SERVICES}
        own = self.folder / client
        for part in ("data", "tmp"):
            (own / part).mkdir(parents=True, exist_ok=True)
        return {
            **self._plain,
            "DJANGO_SETTINGS_MODULE": "hub.settings",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(own / "tmp"),
            "MEDLEY_DATA": str(own / "data"),
            "MEDLEY_BASE_MODELS": str(self.folder / "base-models"),
            "SECRET_KEY": self.secret_key,
            "PUBLIC_URL": self.url,
            "NUM_PROXIES": "1",
            "X_ACCEL": "/_blobs",
            "DATABASE_URL": self.postgres.url(reach["database"]) + self._database,
            "CELERY_BROKER_URL": self.redis.url(reach["broker"], 0),
            "CACHE_URL": self.redis.url(reach["broker"], 1),
            "S3_BUCKET": NAME,
            "S3_ENDPOINT": self.bucket.url(reach["bucket"]),
            "S3_PUBLIC_ENDPOINT": self.bucket.url(self.bucket.port),
            "S3_REGION": "us-east-1",
            "S3_ACCESS_KEY": NAME,
            "S3_SECRET_KEY": NAME,
            "S3_ADDRESSING": "path",
            **self.settings,
        }

    def manage(self, *arguments: str) -> str:
        """Run a management command beside the site, and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment("web"), capture_output=True, text=True, check=False, start_new_session=True)
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def write_environment(self) -> Path:
        """Write what management commands need into a file that a shell can read."""
        path = self.folder / "env"
        path.touch(mode=0o600)
        found = {name: value for name, value in self.environment("web").items() if name not in self._plain or self._plain[name] != value}
        path.write_text("".join(f"export {name}='{value}'\n" for name, value in found.items() if name != "TMPDIR"))
        return path

    def _process(self, name: str, command: list[str], kind: Starter, **more: Any) -> Any:
        return kind(name, command, self.environment(name), self.folder / f"{name}.log", **more)

    def _secret_key(self) -> str:
        path = self.folder / "secret_key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(60))
        return path.read_text()

    @staticmethod
    def _answers(port: int) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def gunicorn(port: int) -> list[str]:
    """As the image starts it, with two processes."""
    return [*SITE, "--bind", f"127.0.0.1:{port}", "--workers", "2", "--log-level", "warning"]


def stopping() -> tuple[signal.Signals, ...]:
    """The signals that end a stack."""
    return signal.SIGTERM, signal.SIGINT, signal.SIGHUP
