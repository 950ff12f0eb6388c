"""Counts the seconds that each stage of a composition takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from compose_worker.engine.spec import Observer


@dataclass
class Clock:
    """Seconds spent in each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, observer: Observer, name: str, sentence: str) -> Iterator[None]:
        """Announce a stage and time what is done in it."""
        observer.stage(name, sentence)
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 3)
