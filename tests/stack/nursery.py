"""Starts workers fast: a process that has loaded torch already forks them, so that a worker which a test has killed is there again in a second.

What it forks runs `compose_worker.__main__.main`, as `python -m compose_worker` does, in an environment of its own. Each forward that its evaluator makes is
noted in MEASURED. SKEW shifts its clock (that of Django, which writes every time); DISK puts a disk of so many bytes under its MEDLEY_DATA.
"""

import ctypes
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEW_MOUNTS, NEW_USERS, PRIVATE = 0x00020000, 0x10000000, 1 << 18 | 1 << 14  # CLONE_NEWNS, CLONE_NEWUSER, MS_PRIVATE | MS_REC


class Nursery:
    """The side of the test: starts the process that forks, and tells it what to fork."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            command = [sys.executable, "-m", "tests.stack.nursery"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        self.ended: dict[int, int] = {}
        self._born: queue.Queue[int] = queue.Queue()
        self._asking = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def process(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, **more: Any) -> "Child":
        """Make a process that can be forked; the arguments are those of tests.stack.processes.Process."""
        return Child(self, name, command, environment, log)

    def fork(self, what: dict[str, Any]) -> int:
        """Fork, and return the process id."""
        assert self._process.stdin is not None
        with self._asking:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
            return self._born.get(timeout=180)

    def stop(self) -> None:
        """End it; what it has forked and still runs is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "ended" in said:
                self.ended[said["ended"]] = said["status"]
            else:
                self._born.put(said["pid"])


class Child:
    """A forked worker, with the face of tests.stack.processes.Process."""

    polite = signal.SIGTERM

    def __init__(self, nursery: Nursery, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.command, self.environment, self.log = name, list(command), dict(environment), log
        self.pid = 0
        self._nursery = nursery

    def start(self) -> None:
        """Fork it."""
        arguments = self.command[self.command.index("compose_worker") :]
        self.pid = self._nursery.fork({"environment": self.environment, "arguments": arguments, "log": str(self.log)})

    def ready(self, seconds: float = 0) -> None:
        """Do nothing: a worker has no address that answers."""

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return bool(self.pid) and self.pid not in self._nursery.ended

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.runs:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it at once."""
        self.signal(signal.SIGKILL)
        self.wait(30)

    def stop(self, seconds: float = 60) -> int | None:
        """Ask it to end, wait, and return its exit status; kill it when it does not end."""
        self.signal(self.polite)
        try:
            return self.wait(seconds)
        except TimeoutError:
            self.kill()
            return None

    def wait(self, seconds: float) -> int | None:
        """Wait until it has ended, and return its exit status."""
        deadline = time.monotonic() + seconds
        while self.runs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not end")
            time.sleep(0.02)
        return self._nursery.ended.get(self.pid)

    def said(self, characters: int = 4000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


def main() -> None:
    """Load what is slow to load, then fork when told, and tell which of them has ended."""
    import boto3  # noqa: F401
    import celery.bin.celery  # noqa: F401
    import django.db.backends.postgresql.base
    import django.forms  # noqa: F401
    import rest_framework.settings  # noqa: F401

    import compose_worker.engine.run  # noqa: F401

    alive: set[int] = set()
    while True:
        if select.select([sys.stdin], [], [], 0.02)[0]:
            line = sys.stdin.buffer.readline()
            if not line:
                break
            pid = os.fork()
            if pid == 0:
                _grow_up(json.loads(line))
            alive.add(pid)
            print(json.dumps({"pid": pid}), flush=True)
        for pid in list(alive):
            if os.waitpid(pid, os.WNOHANG)[0]:
                alive.discard(pid)
                print(json.dumps({"ended": pid, "status": 0}), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def _grow_up(what: Mapping[str, Any]) -> None:
    """Become a worker."""
    status = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        log = os.open(what["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(log, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(what["environment"])
        sys.argv = list(what["arguments"])
        if "DISK" in os.environ:
            _small_disk(os.environ["MEDLEY_DATA"], os.environ["DISK"])
        if "MEASURED" in os.environ:
            _note_forwards(Path(os.environ["MEASURED"]))
        if "SKEW" in os.environ:
            _shift_clock(float(os.environ["SKEW"]))
        from compose_worker.__main__ import main as work

        work()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _note_forwards(path: Path) -> None:
    """Note each forward of the evaluator: for which job, of how many candidates, and how many of them the history had when the job was begun."""
    from compose_worker.engine.evaluator import Evaluator

    begin, run = Evaluator.__init__, Evaluator._run

    def noting_begin(self: Any, spec: Any, *more: Any, **named: Any) -> None:
        begin(self, spec, *more, **named)
        self.noted = spec.name, {(e.phase, tuple(e.weights), None if e.rows is None else tuple(e.rows)) for e in spec.history}

    def noting_run(self: Any, phase: str, chunk: Any, gradient: bool) -> Any:
        name, known = self.noted
        line = {"job": name, "candidates": len(chunk), "known": sum((phase, one.weights, one.subset) in known for one in chunk)}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return run(self, phase, chunk, gradient)

    Evaluator.__init__, Evaluator._run = noting_begin, noting_run  # type: ignore[method-assign]


def _shift_clock(seconds: float) -> None:
    from django.utils import timezone

    right = timezone.now
    timezone.now = lambda: right() + timedelta(seconds=seconds)


def _small_disk(folder: str, size: str) -> None:
    """Mount a small file system for this process alone; without root in a name space where it is root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS | (NEW_USERS if os.geteuid() else 0)) or libc.mount(None, b"/", None, PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no name space of its own")
    if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "a small file system cannot be mounted")


if __name__ == "__main__":
    main()
