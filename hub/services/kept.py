"""Keeps numbers about the whole catalogue, which take longer to count the larger it is, for as long as counting them took times a hundred."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import cache

SMALL = 2_000  # what was counted of fewer rows than these is counted anew each time
SECONDS = 60.0  # that numbers of a large catalogue may be old
SHARE = 100  # times as long as it took to count them, if that is more: so that counting never takes more than a hundredth of a processor
DAY = 24 * 3600
AHEAD = 0.5  # of that time: the clock counts anew then, so that people do not have to wait for it
Number = TypeVar("Number")


def number(name: str, count: Callable[[], Number], size: Callable[[Number], int], *, ahead: bool = False) -> Number:
    """Return what `count` says, now or a while ago; `size` is the number of rows that it went through.

    Numbers that are too old are counted by the first who asks, and everybody else gets the old ones meanwhile. The clock asks `ahead`.
    """
    key = f"kept-{name}"
    before = cache.get(key)
    if before is not None:
        at, taken, found = before
        fresh = max(SECONDS, SHARE * taken)
        if time.time() - at < fresh * (AHEAD if ahead else 1) or not cache.add(f"{key}-being-counted", 1, timeout=60 + SHARE * taken):
            return found
    start = time.monotonic()
    counted = count()
    if size(counted) >= SMALL:
        cache.set(key, (time.time(), time.monotonic() - start, counted), DAY)
    else:
        cache.delete(key)
    cache.delete(f"{key}-being-counted")
    return counted
