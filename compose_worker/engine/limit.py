"""Says when a search must end early: at its owner's wish or when its seconds are used up."""

import time
from collections.abc import Sequence

from compose_worker.engine.spec import Evaluation, Observer

AT = "at"  # in an evaluation's detail: seconds of the composition that had passed at its end


class Enough(Exception):
    """The search ends here; what was measured so far is used."""


class Limit:
    """Counts a composition's seconds over every worker that had it: those of its history, then those of this one.

    The clock is read once an evaluation and kept with it, so that a replayed history ends where it ended before. Training, which can take long
    between evaluations and leaves nothing in the history, looks at the clock itself.
    """

    def __init__(self, observer: Observer, seconds: float, history: Sequence[Evaluation]) -> None:
        self.open = False  # only a search can be ended early
        self._observer = observer
        self._seconds = seconds
        self._before = max((float(e.detail.get(AT, 0.0)) for e in history), default=0.0)
        self._begun = time.monotonic()
        self._used = 0.0  # as of the last evaluation, replayed or new

    def check(self) -> None:
        """Raise `Enough` if the search should end before anything more is measured."""
        if self.open and (self._observer.enough() or 0 < self._seconds <= self._used):
            raise Enough

    def check_now(self) -> None:
        """`check` by the clock as it is."""
        self.check()
        if self.open and 0 < self._seconds <= self._passed():
            raise Enough

    def stamp(self) -> dict[str, float]:
        """What a new evaluation keeps of the clock."""
        if not self._seconds:
            return {}
        self._used = round(self._passed(), 3)
        return {AT: self._used}

    def replay(self, past: Evaluation) -> None:
        """Take the clock as it was."""
        self._used = float(past.detail.get(AT, 0.0))

    def _passed(self) -> float:
        return self._before + time.monotonic() - self._begun
