"""A whole Medley of its own for a test: `manage.py run` on a fresh data folder, a fresh database and a free port."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from tests import make

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [{"input": f"{a} plus {b}", "output": str(a + b)} for a, b in ((1, 2), (3, 4), (5, 2), (2, 2), (6, 1), (4, 4), (7, 2), (0, 3))]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_database(folder: Path) -> str:
    """The URL of an empty database on the server that the tests run on."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{folder / 'medley.sqlite3'}"
    import psycopg

    base = os.environ["DATABASE_URL"]
    name = f"medley_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    head, _, query = base.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


class Stack:
    """A running Medley and what a user does with it over HTTP."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"},
            "DJANGO_SETTINGS_MODULE": "hub.settings",
            "MEDLEY_DATA": str(folder),
            "PORT": str(self.port),
            "DATABASE_URL": own_database(folder),
            "COMPOSE_DTYPE": "float32",
            "JOB_HEARTBEAT_SECONDS": "0.5",
            "JOB_STALE_SECONDS": "3",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.token = ""

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def start(self) -> None:
        """Start everything and wait until the site answers."""
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "manage.py", "run"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        wait(self._answers, 60, lambda: (self.folder / "log").read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the one parent process a signal and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def children(self) -> dict[str, int]:
        """The process ids of site, worker and clock."""
        assert self.process is not None
        found: dict[str, int] = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            except FileNotFoundError:  # it ended a moment ago
                continue
            found[next((n for n, mark in (("site", "gunicorn"), ("worker", "compose_worker"), ("clock", "beat")) if mark in command), pid)] = int(pid)
        return found

    def sign_up(self, name: str = "owner") -> None:
        """Make an account with a write token."""
        self.manage("create_user", name, "--email", f"{name}@example.org", "--password", "correct horse battery")
        self.token = self.manage("create_token", name, "--name", "test", "--scope", "write")

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Call the REST API and return the answer's JSON."""
        answer = httpx.request(method, f"{self.url}/api/v1{path}", headers={"Authorization": f"Bearer {self.token}"}, timeout=30, **more)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()

    def upload(self, name: str, **more: Any) -> None:
        """Upload a tiny adapter."""
        self.call("POST", "/adapters", json={"name": name})
        files = [("files", (path, data)) for path, data in make.adapter(**more).items()]
        self.call("POST", f"/adapters/owner/{name}/commits", files=files, data={"message": "Upload"})

    def compose(self, name: str, **more: Any) -> int:
        """Submit a composition and return its id."""
        body = {"base_model": make.BASE, "modules": "auto", "examples": EXAMPLES, "name": name, "seed": 0, **more}
        return int(self.call("POST", "/compositions", json=body)["id"])

    def job(self, job_id: int) -> Any:
        """The job as the API shows it."""
        return self.call("GET", f"/compositions/{job_id}")

    def until(self, job_id: int, condition: Callable[[Any], bool], seconds: float = 120) -> Any:
        """Wait until the job meets the condition, and return it."""
        wait(lambda: condition(self.job(job_id)), seconds, lambda: json.dumps(self.job(job_id))[:3000] + (self.folder / "log").read_text()[-6000:])
        return self.job(job_id)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def wait(condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = str) -> None:
    """Wait until the condition holds, or fail with an explanation."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {explain()}"
        time.sleep(0.05)
