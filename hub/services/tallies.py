"""Counts adapters by facet and ranks them by words: the public part once for everybody and kept for a while, what only the asker sees added each time."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.cache import caches
from django.db.models import Count, QuerySet, Subquery

from hub.models import Adapter, Facet
from hub.services import audit, fulltext, kept, shelf
from hub.services.narrowing import EVERY, FACETS, Wanted, everyones, narrowed, own

if TYPE_CHECKING:
    from hub.models.adapters import Actor

COUNTED = 2_000  # more matches than these are not counted
FACETED = 5_000  # of more matches, the counts by facet are of the newest so many, where the database counts
VALUES = 30  # of each facet, the most frequent
TITLES = 1_000  # of more matches, the most downloaded so many are looked through for the words in their titles
KEPT_SECONDS = 60
SMALL = 500  # what was made of fewer adapters than these is made anew whenever anything has happened on the hub
OWN_VALUES = 50_000  # of adapters that only the asker sees

Counts = Mapping[str, list[tuple[str, int]]]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Facets:
    """Values with their numbers of adapters by facet; `sampled` where they were counted on a part of the matches only.

    `total` is the number of matches; of those narrowed by anything, COUNTED + 1 stands for all that are more.
    """

    counts: Counts
    sampled: bool
    total: int


def facets(actor: "Actor", what: Wanted, as_of: str = "") -> Facets:
    """Count what the actor may see by facet, each facet as if nothing were chosen in it (but for those of which all choices must hold)."""
    last = as_of or audit.latest()
    found: Facets = _kept("facets", what, last, lambda: _counted(what), lambda made: made.total)
    if sees_no_more(actor, last):
        return found
    counts, total = _own(actor, what)
    merged = {}
    for name in found.counts.keys() | counts.keys():
        numbers = Counter(dict(found.counts.get(name, ())))
        numbers.update(counts.get(name, {}))
        merged[name] = _largest(numbers)
    return Facets(merged, found.sampled, found.total + total)


def everything(*, ahead: bool = False) -> Facets:
    """Count all that everybody sees; of a large catalogue as it was a while ago."""
    return kept.number("facets", _everything, lambda made: made.total, ahead=ahead)


def ranked(actor: "Actor", what: Wanted, as_of: str = "") -> list[tuple[float, int]]:
    """Return scores and keys of what fits the words of `what.q` best, the best first.

    Of very many matches these are the most downloaded, and of the TITLES most downloaded those that have the words in their titles.
    """
    if not what.is_same_for_all:
        return _ranked(narrowed(actor, what), what.q)
    last = as_of or audit.latest()
    best: list[tuple[float, int]] = _kept("ranked", what, last, lambda: _ranked(everyones(what), what.q), len)
    if sees_no_more(actor, last):
        return best
    return sorted(best + _ranked(own(actor, what), what.q), reverse=True)


def sees_no_more(actor: "Actor", last: str) -> bool:
    """Whether the asker sees the repositories that everybody sees, as most do; asked again when anything has happened."""
    if not actor.is_authenticated:
        return True
    memory, key = caches["pages"], f"own-{actor.pk}"
    known = memory.get(key)
    if known is None or known[0] != last:
        known = (last, not own(actor, Wanted(with_base_models=True)).exists())
        memory.set(key, known, KEPT_SECONDS)
    return bool(known[1])


def shared(actor: "Actor", key: str, make: Callable[[str], Made], as_of: str = "") -> Made:
    """Return what `make` says that adapters there are: once for all who see no more of them than strangers do, anew for others.

    `make` is given the mark of the last event, which is `as_of` where it is known; what it made is kept until the next one of any kind, and KEPT_SECONDS
    at most. Nothing in it may be about the asker, so `key` tells all that it depends on.
    """
    last = as_of or audit.latest()
    memory, name = caches["pages"], f"{last}:{hashlib.sha256(key.encode()).hexdigest()}"
    is_common = sees_no_more(actor, last)
    if is_common and (before := memory.get(name)) is not None:
        return before
    made = make(last)
    if is_common:
        memory.set(name, made, KEPT_SECONDS)
    return made


def _kept(kind: str, what: Wanted, last: str, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
    """Return what was made before: while nothing has happened on the hub, or, where making it is much work, for KEPT_SECONDS whatever happened."""
    key = f"{kind}-{hashlib.sha256(repr(what).encode()).hexdigest()}"
    now = time.time()
    memory = caches["pages"]
    before = memory.get(key)
    if before is not None and (before[0] == last or (before[2] >= SMALL and now - before[1] < KEPT_SECONDS)):
        return before[3]
    made = make()
    memory.set(key, (last, now, size(made), made), KEPT_SECONDS)
    return made


def _everything() -> Facets:
    public = Facet.objects.filter(adapter__in=everyones(Wanted()), name__in=FACETS)
    counts = _by_name(public.order_by().values_list("name", "value").annotate(n=Count("pk")))
    return Facets(counts, False, sum(number for _, number in counts.get("made", ())))


def _counted(what: Wanted) -> Facets:
    if what.everything and not what.with_base_models:
        return everything()
    if what.by_words_and_facets and everything().total >= shelf.LARGE and (sets := shelf.current()):
        return _on_the_shelf(sets, what)
    apart = [name for name in FACETS if what.facets.get(name) and name not in EVERY]
    rows = _values(what, [name for name in FACETS if name not in apart])
    others = [_values(replace(what, facets={k: v for k, v in what.facets.items() if k != name}), [name]) for name in apart]
    counts = _by_name(rows.union(*others, all=True) if others else rows)
    matches = everyones(what).order_by().values("pk")
    seen = sum(number for _, number in counts.get("made", ())) if "made" not in apart else matches[:FACETED].count()
    return Facets(counts, seen >= FACETED, matches[: COUNTED + 1].count() if seen >= FACETED else seen)


def _on_the_shelf(sets: shelf.Shelf, what: Wanted) -> Facets:
    found = shelf.count(sets, what, COUNTED)
    total = found.total
    if found.is_part:
        total = everyones(what).order_by().values("pk")[: COUNTED + 1].count() if any(what.facets.values()) else COUNTED + 1
    return Facets({name: _largest(numbers) for name, numbers in found.counts.items()}, found.is_part, min(total, COUNTED + 1))


def _values(what: Wanted, names: list[str]) -> QuerySet[Any]:
    newest = everyones(what).order_by("-updated_at", "-pk").values("pk")[:FACETED]
    return Facet.objects.filter(adapter__in=Subquery(newest), name__in=names).order_by().values_list("name", "value").annotate(n=Count("pk"))


def _own(actor: "Actor", what: Wanted) -> tuple[dict[str, Counter[str]], int]:
    """Count what only the actor sees, with one query; nobody has so many of these that the database had to do it."""
    found: dict[int, dict[str, set[str]]] = {}
    for pk, name, value in own(actor, replace(what, facets={})).order_by().values_list("pk", "facets__name", "facets__value")[:OWN_VALUES]:
        found.setdefault(pk, {}).setdefault(name, set()).add(value)
    counts: dict[str, Counter[str]] = {}
    total = 0
    for values in found.values():
        missed = [name for name, chosen in what.facets.items() if not _fits(name, chosen, values.get(name, set()))]
        total += not missed
        for name in FACETS:
            if not missed or (missed == [name] and name not in EVERY):
                counts.setdefault(name, Counter()).update(values.get(name, ()))
    return {name: numbers for name, numbers in counts.items() if numbers}, total


def _fits(name: str, chosen: Any, values: set[str]) -> bool:
    return not chosen or (set(chosen) <= values if name in EVERY else bool(values.intersection(chosen)))


def _by_name(rows: Any) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, dict[str, int]] = {}
    for name, value, number in rows:
        found.setdefault(name, {})[value] = number
    return {name: _largest(numbers) for name, numbers in found.items()}


def _largest(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:VALUES]


def _ranked(rows: QuerySet[Adapter], q: str) -> list[tuple[float, int]]:
    popular = list(rows.order_by("-downloads", "-pk").values_list("pk", flat=True)[:TITLES])
    if len(popular) > fulltext.RANKED:
        # The index does not know where in a text a word stands: the texts themselves are read for that.
        named = set(fulltext.keys(q, among=popular, title=True))
        first, others = popular[: fulltext.RANKED], popular[fulltext.RANKED :]
        popular = [*first, *(pk for pk in others if pk in named)]
    return fulltext.scores(q, among=popular)
