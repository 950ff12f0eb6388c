"""Which public adapters have which values of the facets, as sets of bits in this process's memory, for counting a large catalogue.

A database reads every adapter that fits, once for each facet that something is chosen in; of 100,000 adapters that takes a quarter of a second.
An AND of two sets of so many bits takes a few microseconds. Building the sets takes seconds, so it happens beside the requests, and counts may be old for
as long as `kept` says: a minute, or a hundred times as long as building took.
"""

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import Count

from hub.models import Facet
from hub.services import fulltext, kept
from hub.services.narrowing import EVERY, FACETS, Wanted, everyones

logger = logging.getLogger(__name__)

LARGE = 2_000  # adapters; fewer are counted by the database
VALUES = 200  # of each facet, the most frequent have sets here; of the others the database is asked
FEW = 1_000  # adapters whose values of all kinds the database is asked for
ASKED = 5_000  # adapters that the database is asked about one by one, whether a text fits; of more, it says which fit
FORGOTTEN = 10  # times as old as it should get, and a shelf is of no use any more
ROWS = 20_000  # that are read at once

_one = re.compile("1")


@dataclass(frozen=True, eq=False)
class Shelf:
    """Sets of adapters: bit n of a set stands for `keys[n]`; the last is the one that was updated last."""

    keys: Sequence[int]
    places: Mapping[int, int]  # of the keys
    values: Mapping[str, Mapping[str, int]]  # by facet and value, the set of adapters that have it
    complete: frozenset[str]  # facets of which all values are here
    made_at: float  # by the monotonic clock, in seconds
    took: float  # seconds

    @property
    def everyone(self) -> int:
        """The set of all."""
        return (1 << len(self.keys)) - 1

    def of(self, keys: Iterable[int]) -> int:
        """Return the set of these adapters; those that are not here are left out."""
        return _bits((self.places[key] for key in keys if key in self.places), len(self.keys))

    def members(self, some: int) -> list[int]:
        """Return the keys of a set, those that were updated last first."""
        digits = bin(some)[2:]
        last = len(digits) - 1
        return [self.keys[last - found.start()] for found in _one.finditer(digits)]

    def having(self, name: str, value: str) -> int:
        """Return the set of adapters that have a value."""
        known = self.values.get(name, {})
        if value in known or name in self.complete:
            return known.get(value, 0)
        return self.of(Facet.objects.filter(name=name, value=value).values_list("adapter_id", flat=True))


@dataclass(frozen=True)
class Found:
    """Numbers of adapters by facet and value, and in all; `is_part` where only a part of what fits was counted."""

    counts: Mapping[str, Mapping[str, int]]
    total: int
    is_part: bool


def count(shelf: Shelf, what: Wanted, most: int) -> Found:
    """Count what fits words and facets, each facet as if nothing were chosen in it; of more than `most` adapters with these words, as many."""
    must, apart = _chosen(shelf, what)
    every = near = _without(must, apart)
    for name in apart:
        near |= _without(must, apart, name)
    is_part = False
    if what.q:
        near, is_part = _with_words(shelf, near, what.q, most)
        every &= near
    names = [name for name in FACETS if name not in apart]
    counts = dict(_counts(shelf, every, names))
    for name in apart:
        counts |= _counts(shelf, _without(must, apart, name) & near, [name])
    return Found(counts, every.bit_count(), is_part)


def current() -> Shelf | None:
    """Return the shelf, or None until there is one; a shelf that is too old is made anew beside what goes on."""
    shelf = _Latest.shelf
    age = time.monotonic() - shelf.made_at if shelf else 0.0
    lasts = max(kept.SECONDS, kept.SHARE * shelf.took) if shelf else 0.0
    if age >= lasts and _Latest.making.acquire(blocking=False):
        threading.Thread(target=_renew, name="shelf", daemon=True).start()
    return shelf if age < FORGOTTEN * lasts else None


def fill() -> Shelf:
    """Read the whole public catalogue, and keep it for `current`."""
    start = time.monotonic()
    keys = list(everyones(Wanted()).order_by("updated_at", "pk").values_list("pk", flat=True))
    places = {key: place for place, key in enumerate(keys)}
    numbers: dict[str, dict[str, int]] = {name: {} for name in FACETS}
    for name, value, number in Facet.objects.filter(name__in=FACETS).order_by().values_list("name", "value").annotate(n=Count("pk")):
        numbers[name][value] = number
    frequent = {name: set(sorted(found, key=lambda value: -found[value])[:VALUES]) for name, found in numbers.items()}
    values: dict[str, dict[str, int]] = {name: {} for name in FACETS}
    for name, value, members in _sets(places):
        if value in frequent[name]:
            values[name][value] = _bits(members, len(keys))
    complete = frozenset(name for name, found in numbers.items() if len(found) <= VALUES)
    shelf = Shelf(keys, places, values, complete, time.monotonic(), time.monotonic() - start)
    _Latest.shelf = shelf
    return shelf


class _Latest:
    """The shelf of this process, and whether a new one is being made."""

    shelf: Shelf | None = None
    making = threading.Lock()


def _renew() -> None:
    try:
        close_old_connections()
        fill()
    except DatabaseError:
        logger.exception("the shelf was not made anew; counts come from the old one, or from the database")
    finally:
        connection.close()
        _Latest.making.release()


def _sets(places: Mapping[int, int]) -> Iterator[tuple[str, str, list[int]]]:
    """The places of the adapters that have a value, for each value."""
    rows = Facet.objects.filter(name__in=FACETS).order_by("name", "value").values_list("name", "value", "adapter_id")
    before: tuple[str, str] | None = None
    members: list[int] = []
    for name, value, key in rows.iterator(ROWS):
        if (name, value) != before:
            if before is not None:
                yield *before, members
            before, members = (name, value), []
        if (place := places.get(key)) is not None:
            members.append(place)
    if before is not None:
        yield *before, members


def _bits(places: Iterable[int], count: int) -> int:
    found = bytearray(count // 8 + 1)
    for place in places:
        found[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(found, "little")


def _chosen(shelf: Shelf, what: Wanted) -> tuple[int, dict[str, int]]:
    """The adapters that have every value of which all must be there; and by facet those with any of the chosen values, where any will do."""
    must, apart = shelf.everyone, {}
    for name, chosen in what.facets.items():
        found = [shelf.having(name, value) for value in chosen]
        if name in EVERY:
            for one in found:
                must &= one
        elif found:
            apart[name] = 0
            for one in found:
                apart[name] |= one
    return must, apart


def _without(must: int, apart: Mapping[str, int], left_out: str = "") -> int:
    """The adapters that fit, as if nothing were chosen in the facet that is left out."""
    for name, fitting in apart.items():
        if name != left_out:
            must &= fitting
    return must


def _with_words(shelf: Shelf, some: int, q: str, most: int) -> tuple[int, bool]:
    """Those of a set that have the words, and whether they are only a part of them."""
    if some.bit_count() <= ASKED:
        return shelf.of(fulltext.keys(q, among=shelf.members(some))), False
    found = fulltext.keys(q, most=most + 1)
    return some & shelf.of(found), len(found) > most


def _counts(shelf: Shelf, some: int, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count a set by the values of facets."""
    scarce = [name for name in names if name not in shelf.complete]
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    for name in names:
        for value, members in shelf.values[name].items():
            if number := (members & some).bit_count():
                counts[name][value] = number
    if scarce and 0 < some.bit_count() <= FEW:
        rows = Facet.objects.filter(adapter__in=shelf.members(some), name__in=scarce).order_by()
        for name, value, number in rows.values_list("name", "value").annotate(n=Count("pk")):
            counts[name].setdefault(value, number)
    return {name: found for name, found in counts.items() if found}
