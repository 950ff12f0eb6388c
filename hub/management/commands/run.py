"""Starts site, worker and clock as children of one process, and stops them together."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

GRACE_SECONDS = 30
RESTART_WAIT = 1.0
SITE = [sys.executable, "-m", "gunicorn", "--config", "hub/deploy/gunicorn.conf.py", "hub.wsgi"]  # in the project's folder


class Command(BaseCommand):
    """`manage.py run`: everything a small hub needs; SIGTERM or Ctrl-C ends it."""

    help = "Start the website, a compose worker and the clock that rings for waiting jobs."

    def handle(self, *args: Any, **options: Any) -> None:
        """Bring the database up to date, start the children, and mind them until told to stop."""
        _refuse_a_taken_port()
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        children = {name: _start(command) for name, command in commands().items()}
        self.stdout.write(f"Medley runs at {settings.PUBLIC_URL} (Ctrl-C stops it).")
        self.stdout.flush()
        try:
            self._mind(children)
        finally:
            _end(children)

    def _stop(self, number: int, frame: Any) -> None:
        self.stopping = True

    def _mind(self, children: dict[str, "subprocess.Popen[bytes]"]) -> None:
        while not self.stopping:
            for name, child in children.items():
                if child.poll() is not None and not self.stopping:
                    self.stderr.write(f"The {name} ended with status {child.returncode}; starting it again.")
                    time.sleep(RESTART_WAIT)
                    children[name] = _start(commands()[name])
            time.sleep(0.2)


def commands() -> dict[str, list[str]]:
    """Return the command line of each child."""
    python = sys.executable
    address = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"
    return {
        "site": [*SITE, "--bind", address, "--graceful-timeout", str(GRACE_SECONDS - 5), "--log-level", "warning"],
        "worker": [python, "-m", "compose_worker", "--loglevel=WARNING"],
        "clock": [python, "-m", "celery", "--quiet", "-A", "hub.celery", "beat", "--loglevel=WARNING", "--pidfile="],
    }


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    # A session of its own keeps a terminal's Ctrl-C from reaching the children before their parent has said how to stop.
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True)  # noqa: S603


def _end(children: dict[str, "subprocess.Popen[bytes]"]) -> None:
    for child in children.values():
        child.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children.values():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()


def _refuse_a_taken_port() -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.HOST, settings.PORT))
        except OSError as error:
            raise CommandError(f"port-taken: {settings.HOST}:{settings.PORT} cannot be used ({error.strerror}). Set PORT to a free one.") from error
