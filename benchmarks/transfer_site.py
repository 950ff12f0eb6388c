"""The servers of the transfer benchmark: a hub as `manage.py run` starts it, `python -m http.server`, and one that throws uploads away."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = """
from hub.services import accounts
user = accounts.create_user(username="owner", email="owner@example.org", password="correct horse battery")
print(accounts.create_token(actor=user, name="benchmark", scope="write")[1])
"""
SITE = "import django; django.setup(); from hub.management.commands import run; print(*run.commands()['site'], sep='\\n')"


class Server:
    """A process that listens on a port of its own."""

    def __init__(self, command: list[str], port: int, environment: dict[str, str], log: Path, probe: str = "/") -> None:
        self.url = f"http://127.0.0.1:{port}"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        deadline = time.monotonic() + 60
        while not self._answers(probe):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[2]} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self, probe: str) -> bool:
        try:
            with urlopen(self.url + probe, timeout=5):
                return True
        except (URLError, OSError):
            return False


class Site(Server):
    """A hub with an account and a fresh database, in one worker process."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.transfer_settings",
            "MEDLEY_DATA": str(folder),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATABASE_URL": "",
            "DEBUG": "0",
            # Requests are counted as always, but never refused.
            "THROTTLE_ANON": "1000000000/min",
            "THROTTLE_USER": "1000000000/min",
        }
        folder.mkdir(parents=True)
        for command in (["migrate", "-v", "0"], ["collectstatic", "-v", "0", "--noinput"]):
            self._manage(*command)
        self.token = self._manage("shell", "-v", "0", "-c", ACCOUNT).splitlines()[-1]
        command = self._run([sys.executable, "-c", SITE]).splitlines()
        super().__init__(command, port, self.environment, folder / "log", "/healthz")

    def peak(self, *, reset: bool = False) -> float:
        """Megabytes that the worker has held at most since the last reset."""
        worker = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]
        if reset:
            Path(f"/proc/{worker}/clear_refs").write_text("5")
        return int(Path(f"/proc/{worker}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1000

    def _manage(self, *arguments: str) -> str:
        return self._run([sys.executable, "manage.py", *arguments])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout.strip()


def plain(folder: Path, log: Path) -> Server:
    """Python's own web server, which sends what lies in `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    return Server(command, port, dict(os.environ), log)


def sink(file: Path, log: Path) -> Server:
    """A server that reads uploads, keeps nothing, and sends this file."""
    port = free_port()
    return Server([sys.executable, "-m", "benchmarks.transfer_sink", str(port), str(file)], port, dict(os.environ), log)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
