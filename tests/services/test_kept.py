"""Numbers of a large catalogue are kept for as long as they are worth it."""

import pytest
from django.core.cache import cache

from hub.services import kept

Clock = list[float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    now = [1_000_000.0]
    monkeypatch.setattr(kept.time, "time", lambda: now[0])
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    return now


class Counter:
    """Counts slowly, and how often."""

    def __init__(self, clock: Clock, rows: int, seconds: float = 0.0) -> None:
        self.clock, self.rows, self.seconds, self.times = clock, rows, seconds, 0

    def __call__(self) -> int:
        self.times += 1
        self.clock[0] += self.seconds
        return self.rows

    def ask(self, **more: bool) -> int:
        return kept.number("test", self, lambda found: found, **more)


def test_a_small_catalogue_is_counted_each_time(clock: Clock) -> None:
    count = Counter(clock, kept.SMALL - 1)
    assert [count.ask(), count.ask()] == [kept.SMALL - 1] * 2 and count.times == 2


def test_a_large_one_is_counted_once_a_minute(clock: Clock) -> None:
    count = Counter(clock, kept.SMALL)
    count.ask()
    clock[0] += 59
    count.ask()
    assert count.times == 1
    clock[0] += 2
    count.rows += 1
    assert count.ask() == kept.SMALL + 1 and count.times == 2


def test_what_takes_long_is_kept_longer(clock: Clock) -> None:
    count = Counter(clock, kept.SMALL, seconds=8)
    count.ask()
    clock[0] += 790
    count.ask()
    assert count.times == 1
    clock[0] += 20
    count.ask()
    assert count.times == 2


def test_while_somebody_counts_the_others_get_the_old_number(clock: Clock) -> None:
    count = Counter(clock, kept.SMALL)
    count.ask()
    clock[0] += 61
    cache.add("kept-test-being-counted", 1)
    assert count.ask() == kept.SMALL and count.times == 1


def test_the_clock_counts_ahead(clock: Clock) -> None:
    count = Counter(clock, kept.SMALL)
    count.ask()
    clock[0] += 31
    count.ask()
    assert count.times == 1
    count.ask(ahead=True)
    assert count.times == 2


def test_one_that_has_become_small_is_forgotten(clock: Clock) -> None:
    count = Counter(clock, kept.SMALL)
    count.ask()
    clock[0] += 61
    count.rows = 1
    assert count.ask() == 1
    count.rows = 2
    assert count.ask() == 2
