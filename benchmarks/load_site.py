"""A hub as production has it, on this machine: PostgreSQL, Valkey, two site processes behind nginx, a worker, the clock; and an nginx for plain files."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

import psycopg

from benchmarks.transfer_site import ROOT, free_port
from tests import make, nginx, servers, tiny
from tests.stack import topology

PLAIN = "server {{ listen 127.0.0.1:{port}; root {folder}; sendfile on; tcp_nopush on; keepalive_timeout 75s; }}"
PREPARE = "from benchmarks import load_people; load_people.write({folder!r}, {users}, {adapters})"
PYTHON = sys.executable
Started = subprocess.Popen[bytes]


class Site:
    """The running hub, with `users` people, each with a token, and `adapters` tiny adapters for one tiny base model."""

    def __init__(self, folder: Path, users: int, adapters: int) -> None:
        self.folder, self.users, self.adapters = folder, users, adapters
        self.port, self.site_port, self.plain_port = free_port(), free_port(), free_port()
        self.url, self.plain_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.plain_port}"
        self.data = folder / "data"
        self.database, broker = servers.postgres(servers.temporary_folder()), servers.redis()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
            "DJANGO_SETTINGS_MODULE": "benchmarks.plain_settings",
            "MEDLEY_DATA": str(self.data),
            "PUBLIC_URL": self.url,
            "DATABASE_URL": self.database,
            "CELERY_BROKER_URL": broker,
            "CACHE_URL": broker.removesuffix("/0") + "/1",
            "NUM_PROXIES": "1",
            "X_ACCEL": "/_blobs",
            "COMPOSE_DTYPE": "float32",
            "OMP_NUM_THREADS": "1",
            # All of them come from one address, and a few of them do what many people do.
            "THROTTLE_ANON": "1000000000/min",
            "THROTTLE_USER": "1000000000/min",
            "JOB_MAX_ACTIVE": "1000",
        }
        self._processes: dict[str, Started] = {}
        self._proxies: list[Any] = []

    def __enter__(self) -> Self:
        self.folder.chmod(0o755)
        tiny.llama(self.data / "base-models" / make.BASE.replace("/", "--"))
        self.manage("prepare")
        self._processes["site"] = self._start("site", topology.gunicorn(self.site_port))
        self._processes["worker"] = self._start("worker", [PYTHON, "-m", "compose_worker", "--loglevel=WARNING"])
        beat = [PYTHON, "-m", "celery", "--quiet", "-A", "hub.celery", "beat", "--loglevel=WARNING", "--pidfile="]
        self._processes["clock"] = self._start("clock", beat)
        self.manage("shell", "-v0", "-c", PREPARE.format(folder=str(self.folder), users=self.users, adapters=self.adapters))
        self._proxies = [nginx.Nginx(self.folder / "nginx", self.port, self.site_port, self.data / "blobs"), self._plain()]
        self._until_it_answers()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for proxy in self._proxies:
            proxy.stop()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(60)

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed."""
        done = subprocess.run([PYTHON, "manage.py", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout.strip()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql.encode()).fetchall()

    def people(self) -> dict[str, Any]:
        """The tokens and adapters that are there."""
        found: dict[str, Any] = json.loads((self.folder / "people.json").read_text())
        return found

    def megabytes(self) -> dict[str, float]:
        """What each of our processes holds in memory, children included; shared pages count for each their part."""
        return {name: sum(_held(pid) for pid in _family(process.pid)) for name, process in self._processes.items()}

    def faults(self) -> list[str]:
        """The lines that the processes wrote because something broke."""
        lines = [line for name in self._processes for line in (self.folder / f"{name}.log").read_text(errors="replace").splitlines()]
        return [line for line in lines if "ERROR" in line or "Traceback" in line or "CRITICAL" in line]

    def log(self, name: str) -> str:
        """The end of what a process wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def _start(self, name: str, command: list[str]) -> Started:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def _plain(self) -> "Plain":
        return Plain(self.folder / "plain", self.plain_port, self.data / "blobs")

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + 300
        while not _answers(f"{self.url}/healthz"):
            if time.monotonic() > deadline or self._processes["site"].poll() is not None:
                raise RuntimeError(f"The site does not start: {self.log('site')}")
            time.sleep(0.2)


class Plain:
    """An nginx that sends the files of a folder, and does nothing else."""

    def __init__(self, folder: Path, port: int, files: Path) -> None:
        folder.mkdir(parents=True)
        server = PLAIN.format(port=port, folder=files)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(nginx.MAIN.format(folder=folder, server=server, user=user))
        self._process = subprocess.Popen([nginx.find(), "-p", str(folder), "-c", str(folder / "nginx.conf")])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _held(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0]) / 1000
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
