"""Processes that are started, ended, killed and started again, and that end with whoever started them."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STARTING_SECONDS = 120.0
Answers = Callable[[], bool]


class Process:
    """One process and what it needs to be started again; what it says goes to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        answers: Answers = lambda: True,
        account: str = "",
        polite: int = signal.SIGTERM,
        grace: float = 60.0,
    ) -> None:
        self.name, self.command, self.environment, self.log = name, list(command), dict(environment), log
        self.answers, self.account, self.polite, self.grace = answers, account, polite, grace
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        """Begin to start it; `ready` waits until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=Path(__file__).resolve().parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                user=self.account or None,
                group=(self.account and _group(self.account)) or None,
                extra_groups=[] if self.account else None,
            )

    def ready(self, seconds: float = STARTING_SECONDS) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if not self.runs:
                raise RuntimeError(f"{self.name} ended while it started:\n{self.said()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not answer within {seconds:g} seconds:\n{self.said()}")
            time.sleep(0.05)

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> int | None:
        """End it as its operator would, and return its exit status; one that does not end in time is killed."""
        if self._process is None:
            return None
        self.signal(self.polite)
        try:
            return self._process.wait(self.grace)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self) -> None:
        """Kill it and whatever it has started, at once."""
        if self._process is None:
            return
        family = [self.pid, *children(self.pid)]
        for pid in family:
            _kill(pid)
        self._process.wait(30)

    def said(self, characters: int = 4000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


def children(pid: int) -> list[int]:
    """The process ids of what a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _group(account: str) -> int:
    import pwd

    return pwd.getpwnam(account).pw_gid


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
