"""Runs Medley for the demo: `manage.py` commands, and site and worker as one child process."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from demo.terminal import DemoError

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120
STOP_SECONDS = 45  # `manage.py run` gives its own children 30
LOG_LINES = 15


def manage(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run a management command on the data folder and return what it said."""
    return subprocess.run(  # noqa: S603  fixed words
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "MEDLEY_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


class Site:
    """Site and worker in one child process, with its log in a file."""

    def __init__(self, data: Path, port: int, base_models: Path) -> None:
        self._host = os.environ.get("HOST") or "127.0.0.1"
        self.url = f"http://{'127.0.0.1' if self._host == '0.0.0.0' else self._host}:{port}"  # noqa: S104
        self.log = data / "demo" / "site.log"
        self._data, self._port, self._base_models = data, port, base_models
        self._process: subprocess.Popen[bytes] | None = None

    def check_port(self) -> None:
        """Refuse a port that something listens on."""
        if self._answers():
            raise DemoError(f"A site runs at {self.url} already. Stop it (Ctrl-C there), or choose another port: make demo PORT={self._port + 1}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except (OSError, OverflowError) as error:
                raise DemoError(f"Port {self._port} cannot be used ({error}). Choose another one: make demo PORT={self._port + 1}") from error

    def start(self) -> None:
        """Start the child and wait until it answers."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "MEDLEY_DATA": str(self._data), "PORT": str(self._port), "MEDLEY_BASE_MODELS": str(self._base_models)}
        with self.log.open("wb") as log:
            # a session of its own: Ctrl-C reaches this process alone, which then stops the child in order
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "run"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check()
            if self._answers():
                return
            time.sleep(0.2)
        raise DemoError(f"The site did not answer at {self.url}/healthz within {START_SECONDS} seconds.\n{self._log_end()}")

    def check(self) -> None:
        """Raise when the child is gone."""
        if self._process is None:
            raise DemoError("The site is not running.")
        if (code := self._process.poll()) is not None:
            raise DemoError(f"The site stopped by itself (exit status {code}).\n{self._log_end()}")

    def wait(self) -> None:
        """Return when the child ends by itself."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Stop the child politely, then by force; deaf to further signals meanwhile."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/healthz", timeout=5) as response:
                return response.status == 200
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def _log_end(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join([f"The end of {self.log}:", *(f"  {line}" for line in lines[-LOG_LINES:])])
