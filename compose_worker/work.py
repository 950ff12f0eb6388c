"""Runs one job: the engine computes, a pulse beats beside it, and every outcome is written to the job.

Where the job is kept, in the database or at a hub far away, is the business of whoever hands it over (compose_worker.local, compose_worker.remote).
"""

import logging
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compose_worker.engine import spec
from compose_worker.engine.errors import ComposeError

logger = logging.getLogger(__name__)
SAMPLES = 8  # examples that are answered in words for the report
OUT = "out"  # the folder of the result, inside the job's own
ALIVE = Path(tempfile.gettempdir()) / "medley-worker-alive"  # whoever watches this process looks at its time
BROKEN = "Something broke on our side. It is logged; try again, or tell the hub's operator."


class Lost(Exception):
    """Another worker has taken the job over, or it is no longer running."""


class Cancelled(Exception):
    """The owner asked to stop."""


class ShuttingDown(Exception):
    """This worker was asked politely to stop."""


class Away(Exception):
    """Whoever keeps the job does not answer right now."""


@dataclass(frozen=True)
class Wishes:
    """What the job's owner asked for while it runs."""

    cancelled: bool = False
    enough: bool = False


@dataclass(frozen=True)
class Machine:
    """What this worker computes with; the names are those of `Spec`."""

    device: str
    dtype: str
    forward_tokens: int
    keep_bases: int
    keep_modules: int


class Job(Protocol):
    """A job that this worker has claimed."""

    number: int
    pause: float  # seconds between two beats
    wishes: Wishes  # as they were when it was claimed
    check: Callable[[], None]  # raises what ends a wait for a service that is away; `run` says what that is

    @property
    def status(self) -> str:
        """Where the job stands, as far as this worker knows."""

    def told(self) -> AbstractContextManager[None]:
        """Give whatever is raised inside the names that are known here: `Lost`, or `ComposeError` for what people can mend."""

    def prepare(self, folder: Path) -> spec.Spec:
        """Make `folder`, lay the modules out in it, and return what the engine takes; results go to `folder / OUT`."""

    def plan(self, total: int) -> None:
        """Keep how many evaluations the job takes."""

    def stage(self, name: str, sentence: str) -> None:
        """Keep what begins now."""

    def record(self, evaluation: spec.Evaluation) -> Wishes:
        """Append a measured candidate to the history, and return the owner's wishes as far as they are known."""

    def improve(self, weights: Mapping[str, float], loss: float) -> None:
        """Keep the best weights so far."""

    def beat(self) -> Wishes:
        """Say that the worker lives; raises `Away` where nobody hears it. It comes from a thread of its own."""

    def rest(self) -> None:
        """Let go of what the thread that beats has opened."""

    def finish(self, result: spec.Result, folder: Path) -> None:
        """Publish the result and end the job, both or neither."""

    def fail(self, code: str, message: str) -> None:
        """End the job with an error."""

    def cancelled(self) -> None:
        """End the job because its owner asked for it."""

    def release(self) -> None:
        """Hand the job back to the queue, history and all."""


def run(job: Job, scratch: Path, stopping: threading.Event) -> str:
    """Run a claimed job to its end, or until `stopping` is set, and say where it then stands."""
    pulse = Pulse(job, stopping)
    pulse.start()
    folder = scratch / f"job-{job.number}-{secrets.token_hex(8)}"
    try:
        with job.told():
            _compose(job, pulse, folder)
    except Lost as error:
        logger.warning("job %s went to another worker: %s", job.number, error)
        return "lost"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        pulse.stop()
    return job.status


def _compose(job: Job, pulse: "Pulse", folder: Path) -> None:
    def compose() -> None:
        from compose_worker.engine import run as engine

        with job.told():
            job.finish(engine.compose(job.prepare(folder), Watcher(job, pulse)), folder / OUT)

    job.check = pulse.check
    try:
        guarded(compose, job.fail, f"job {job.number}")
    except Cancelled:
        job.check = _nothing
        job.cancelled()
    except ShuttingDown:
        job.check = _nothing
        job.release()


def _nothing() -> None:
    """End no wait."""


def guarded(work: Callable[[], None], fail: Callable[[str, str], None], what: str) -> None:
    """Do the work; what its owner can mend is told as it is, and anything else is ours: logged, and told as internal."""
    try:
        work()
    except (Lost, Cancelled, ShuttingDown):
        raise
    except ComposeError as error:
        fail(error.code, error.message)
    except Exception:
        logger.exception("%s failed", what)
        fail("internal", BROKEN)


def show_alive() -> None:
    """Show whoever watches this process that it lives."""
    with suppress(OSError):  # on a full disk the heart beats on
        ALIVE.touch()


class Watcher:
    """Writes what the engine reports to the job, and stops the engine when the job should stop."""

    def __init__(self, job: Job, pulse: "Pulse") -> None:
        self.job, self.pulse = job, pulse

    def planned(self, total: int) -> None:
        """Keep the number of evaluations."""
        self.job.plan(total)

    def stage(self, name: str, sentence: str) -> None:
        """Keep what begins now."""
        self.pulse.check()
        self.job.stage(name, sentence)

    def evaluated(self, evaluation: spec.Evaluation) -> None:
        """Keep the evaluation; a cancelled or handed-back job stops after it."""
        self.pulse.hear(self.job.record(evaluation))
        self.pulse.check()

    def improved(self, weights: Mapping[str, float], loss: float) -> None:
        """Keep the best weights so far."""
        self.job.improve(weights, loss)

    def enough(self) -> bool:
        """Say whether the owner wants the best so far; a job that should stop altogether stops here too."""
        self.pulse.check()
        return self.pulse.enough.is_set()


class Pulse(threading.Thread):
    """Beats for a job while the engine computes, and hears when to stop."""

    def __init__(self, job: Job, stopping: threading.Event) -> None:
        super().__init__(name=f"pulse-{job.number}", daemon=True)
        self.job, self.stopping = job, stopping
        self.ended, self.cancelled, self.lost, self.enough = (threading.Event() for _ in range(4))
        self.hear(job.wishes)

    def run(self) -> None:
        """Beat until stopped."""
        while not self.ended.wait(self.job.pause):
            show_alive()
            try:
                self.hear(self.job.beat())
            except Lost:
                self.lost.set()
                break
            except Away:
                logger.warning("no heartbeat for job %s this time", self.job.number, exc_info=True)
        self.job.rest()

    def hear(self, wishes: Wishes) -> None:
        """Keep what the owner wishes; a wish is not taken back."""
        if wishes.cancelled:
            self.cancelled.set()
        if wishes.enough:
            self.enough.set()

    def check(self) -> None:
        """Raise if the job should stop here."""
        if self.cancelled.is_set():
            raise Cancelled
        if self.lost.is_set():
            raise Lost("the heartbeat was refused")
        if self.stopping.is_set():
            raise ShuttingDown

    def stop(self) -> None:
        """End the thread."""
        self.ended.set()
        self.join(10)
