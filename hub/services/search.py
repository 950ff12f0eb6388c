"""Lists adapters and base models: search, filters, counts by filter, sorting and stable paging."""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from hub.errors import HubError
from hub.models import Adapter, BaseModel, Facet, Parent
from hub.models.adapters import belongs_to
from hub.services import accounts, fulltext, index, kept, numbers, texts
from hub.services.tag_synonyms import SYNONYMS

if TYPE_CHECKING:
    from hub.models.adapters import Actor

RELEVANCE = "relevance"
SORTS = {RELEVANCE: "score", "recent": "updated_at", "downloads": "downloads", "likes": "likes", "trending": "trend", "created": "created_at"}
FACETS = ("made", "base_model", "task", "tag", "licence", "language", "peft_type", "rank")  # what lists are narrowed by and show counts of
EVERY = frozenset(["tag"])  # an adapter has several: all that were chosen must be there; of the other facets, any
MAX_CHOICES = 20
MAX_LIMIT = 100
COUNTED = 10_000  # more matches than these are not counted
FACETED = 5_000  # of more matches, the counts by facet are of the newest so many
FACET_VALUES = 30  # of each facet, the most frequent
FACET_SECONDS = 60  # how long the counts of the whole catalogue are kept
PARENT = "base_model:merge:"  # as Hugging Face labels a model made from others


@dataclass(frozen=True)
class Page:
    """One page of a listing; `next` is the cursor of the page after it, or empty. A `total` of COUNTED + 1 stands for all that are more."""

    items: list[Adapter]
    next: str
    total: int


@dataclass(frozen=True)
class Wanted:
    """What a listing is narrowed by. `facets` holds values by the names in FACETS, `labelled` words as Hugging Face clients filter by."""

    q: str = ""
    owner: str = ""
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    composable: bool | None = None
    labelled: Sequence[str] = ()
    with_base_models: bool = False
    gated: bool | None = None
    archived: bool | None = None
    readable: bool = False  # only those whose files the asker may have

    @property
    def everything(self) -> bool:
        """Whether nothing is narrowed."""
        return (
            not (self.q or self.owner or self.labelled or any(self.facets.values()))
            and self.composable is self.gated is self.archived is None
            and not self.readable
        )


@dataclass(frozen=True)
class Facets:
    """Values with their numbers of adapters by facet; `sampled` where they were counted on the newest FACETED matches only."""

    counts: Mapping[str, list[tuple[str, int]]]
    sampled: bool


def wanted(
    *,
    q: str = "",
    owner: str = "",
    composable: bool | None = None,
    gated: bool | None = None,
    archived: bool | None = None,
    readable: bool = False,
    labelled: Iterable[str] = (),
    with_base_models: bool = False,
    facets: Mapping[str, Sequence[str]] | None = None,
    **one: str,
) -> Wanted:
    """Gather what a listing is narrowed by; a facet may be given by its name with one value, or in `facets` with several."""
    chosen = {name: [value for value in dict.fromkeys(values) if value] for name, values in (facets or {}).items()}
    for name, value in one.items():
        if value:
            chosen[name] = [*chosen.get(name, []), value]
    if unknown := sorted(chosen.keys() - set(FACETS)):
        raise HubError("filter-invalid", f"There is no filter {unknown[0][:40]!r}. Filter by: {', '.join(FACETS)}.")
    if sum(map(len, chosen.values())) > MAX_CHOICES:
        raise HubError("too-many-filters", f"A list takes at most {MAX_CHOICES} filters at once.")
    chosen["tag"] = [value.lower() for value in chosen.get("tag", ())]
    return Wanted(q.strip(), owner, chosen, composable, tuple(labelled), with_base_models, gated, archived, readable)


def adapters(*, actor: "Actor", sort: str = "", limit: int = 30, cursor: str = "", counted: bool = True, **narrowed: Any) -> Page:
    """List adapters that the actor may see, narrowed as `wanted` says: the most relevant first where words are looked for, else the newest.

    Where nobody asks how many there are, `counted` saves the query.
    """
    what = wanted(**narrowed)
    sort = sort or (RELEVANCE if what.q else "recent")
    if sort not in SORTS:
        raise HubError("sort-invalid", f"Sort by one of: {', '.join(SORTS)}.", fields={"sort": f"One of: {', '.join(SORTS)}."})
    if not 1 <= limit <= MAX_LIMIT:
        raise HubError("limit-invalid", f"The limit is a number from 1 to {MAX_LIMIT}.", fields={"limit": f"1 to {MAX_LIMIT}."})
    rows = _narrowed(actor, what)
    total = rows.order_by().values("pk")[: COUNTED + 1].count() if counted or what.q else 0
    if sort == RELEVANCE and what.q:
        return _by_relevance(rows, what.q, limit, cursor, total)
    column = SORTS["recent" if sort == RELEVANCE else sort]
    if cursor:
        rows = rows.filter(_after(column, cursor))
    found = list(rows.for_listing().order_by(f"-{column}", "-pk")[: limit + 1])
    more = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], _cursor(getattr(more, column), more.pk) if more else "", total)


def facets(*, actor: "Actor", **narrowed: Any) -> Facets:
    """Count the adapters that the actor may see by facet, each facet as if nothing were chosen in it (but for those of which all choices must hold)."""
    what = wanted(**narrowed)
    if what.everything:
        return Facets(_of_all(actor), False)
    ids = list(_narrowed(actor, what).order_by("-updated_at", "-pk").values_list("pk", flat=True)[:FACETED])
    counts = _counted(Facet.objects.filter(adapter__in=ids, name__in=FACETS))
    for name in FACETS:
        if what.facets.get(name) and name not in EVERY:
            rest = replace(what, facets={k: v for k, v in what.facets.items() if k != name})
            others = _narrowed(actor, rest).order_by("-updated_at", "-pk").values("pk")[:FACETED]
            counts[name] = _counted(Facet.objects.filter(adapter__in=Subquery(others), name=name)).get(name, [])
    return Facets(counts, len(ids) == FACETED)


def base_models(*, actor: "Actor") -> QuerySet[BaseModel]:
    """List base models with `adapters`, the number of visible adapters on each; those without any, without a worker and not hosted are left out.

    Of the very common ones it is the number of public adapters, as it was a while ago.
    """
    mine = Adapter.objects.adapters().visible_to(actor).filter(base_model=OuterRef("name"), head__isnull=False).order_by().values("base_model")
    is_known = Q(adapters__gt=0) | Q(available_at__isnull=False) | Q(repository__private=False, repository__taken_down=False)
    counted = Coalesce(Subquery(mine.annotate(n=Count("pk")).values("n")), Value(0))
    common = {name: number for name, number in numbers.of("base_model").items() if number >= kept.SMALL}
    count = Case(*(When(name=name, then=Value(number)) for name, number in common.items()), default=counted) if common else counted
    return BaseModel.objects.annotate(adapters=count).select_related("repository__owner").filter(is_known).order_by("-adapters", "name")


def tags(*, actor: "Actor", q: str, limit: int = 10) -> list[tuple[str, int]]:
    """Suggest tags in use for the beginning of one, or for another word for it, with the number of visible adapters that carry them; frequent ones first."""
    start = texts.storable(" ".join(q.lower().split()), 50)
    meant = {tag for word, others in SYNONYMS.items() if start and word.startswith(start) for tag in others}
    fitting = [
        (value, n) for value, n in in_use(actor=actor).items() if value in meant or value.startswith(start) or f" {start}" in value or f"-{start}" in value
    ]
    return sorted(fitting, key=lambda item: (-item[1], item[0]))[:limit]


def in_use(*, actor: "Actor") -> Counter[str]:
    """Return the tags of the adapters that the actor may see, with how many carry them; of a large catalogue as it was a while ago, but for their own."""
    found = Counter(numbers.of("tag"))
    if actor.is_authenticated:
        own = Adapter.objects.adapters().visible_to(actor).filter(belongs_to(actor), private=True, head__isnull=False)
        rows = Facet.objects.filter(name="tag", adapter__in=own).order_by().values_list("value").annotate(n=Count("pk"))
        found.update(dict(rows))
    return found


def _narrowed(actor: "Actor", what: Wanted, *, title: bool = False) -> Any:
    """The adapters that the actor may see and that fit; with `title`, the words must be in the name."""
    seen = Adapter.objects.readable_by(actor) if what.readable else Adapter.objects.visible_to(actor)
    rows = seen.filter(Q(head__isnull=False) | belongs_to(actor))
    if not what.with_base_models:
        rows = rows.adapters()
    if what.q:
        rows = rows.filter(fulltext.matching(what.q, title=title))
    if what.owner:
        rows = rows.filter(owner__in=accounts.named(what.owner))
    if what.composable is not None:
        rows = rows.filter(composable=what.composable)
    if what.gated is not None:
        rows = rows.exclude(gated="") if what.gated else rows.filter(gated="")
    if what.archived is not None:
        rows = rows.filter(archived_at__isnull=not what.archived)
    for name, values in what.facets.items():
        chosen = [texts.storable(value, 250) for value in values]
        for group in [[value] for value in chosen] if name in EVERY else [chosen] if chosen else []:
            rows = rows.filter(Exists(Facet.objects.filter(adapter=OuterRef("pk"), name=name, value__in=group)))
    for label in what.labelled:
        rows = rows.filter(_labelled(actor, texts.storable(label, 250)))
    return rows


def _by_relevance(rows: Any, q: str, limit: int, cursor: str, total: int) -> Page:
    """The best of the most downloaded matches, those in the title always among them; the cursor says how many pages lie before."""
    offset = _offset(cursor)
    popular = rows.order_by("-downloads", "-pk").values("pk")[: fulltext.RANKED]
    if total > fulltext.RANKED:
        named = rows.filter(fulltext.matching(q, title=True)).order_by("-downloads", "-pk").values("pk")[: fulltext.RANKED]
        rows = Adapter.objects.filter(Q(pk__in=Subquery(popular)) | Q(pk__in=Subquery(named)))
    found = list(rows.annotate(score=fulltext.relevance(q)).for_listing().order_by("-score", "-pk")[offset : offset + limit + 1])
    return Page(found[:limit], _cursor(offset + limit, 0) if len(found) > limit else "", total)


def _of_all(actor: "Actor") -> dict[str, list[tuple[str, int]]]:
    """Counts of the whole catalogue: those of the public part are kept for a while, the private ones of the actor and their organisations are added."""
    seen = Facet.objects.filter(name__in=FACETS, adapter__head__isnull=False, adapter__kind=Adapter.Kind.ADAPTER, adapter__taken_down=False)
    counts: dict[str, list[tuple[str, int]]] = cache.get_or_set("facets", lambda: _counted(seen.filter(adapter__private=False)), FACET_SECONDS) or {}
    if not actor.is_authenticated:
        return counts
    own = _counted(seen.filter(belongs_to(actor, "adapter__owner"), adapter__private=True))
    merged = {}
    for name in counts.keys() | own.keys():
        numbers = dict(counts.get(name, ()))
        for value, number in own.get(name, ()):
            numbers[value] = numbers.get(value, 0) + number
        merged[name] = _largest(numbers)
    return merged


def _counted(rows: QuerySet[Facet]) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, dict[str, int]] = {}
    for name, value, number in rows.order_by().values_list("name", "value").annotate(n=Count("pk")):
        found.setdefault(name, {})[value] = number
    return {name: _largest(numbers) for name, numbers in found.items()}


def _largest(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:FACET_VALUES]


def _labelled(actor: "Actor", label: str) -> Q:
    """Match one label: computed from the files, given by the owner, or the name of a parent of a composed adapter."""
    here = Q(Exists(Facet.objects.filter(adapter=OuterRef("pk"), name=index.LABEL, value=" ".join(label.lower().split()))))
    if label.startswith(PARENT):
        parents = Parent.objects.filter(repo_id=label.removeprefix(PARENT)).filter(Q(adapter=None) | Q(adapter__in=Adapter.objects.visible_to(actor)))
        here |= Q(head__in=parents.values("revision"))
    return here


def _cursor(value: Any, pk: int) -> str:
    raw = json.dumps([value.isoformat() if isinstance(value, datetime) else value, pk])
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _after(column: str, cursor: str) -> Q:
    try:
        value, pk = json.loads(base64.urlsafe_b64decode(cursor[:400] + "=" * (-len(cursor) % 4)))
        value = datetime.fromisoformat(value).astimezone(UTC) if column in ("updated_at", "created_at") else int(value)
        return Q(**{f"{column}__lt": value}) | Q(**{column: value, "pk__lt": int(pk)})
    except (ValueError, TypeError, binascii.Error, OverflowError, UnicodeDecodeError) as error:
        raise _wrong_cursor() from error


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        value, _ = json.loads(base64.urlsafe_b64decode(cursor[:400] + "=" * (-len(cursor) % 4)))
        if isinstance(value, int) and 0 < value <= 2 * fulltext.RANKED:
            return value
    except (ValueError, TypeError, binascii.Error, UnicodeDecodeError):
        pass
    raise _wrong_cursor()


def _wrong_cursor() -> HubError:
    return HubError("cursor-invalid", "This cursor is not one of ours, or belongs to another sort order. Start from the first page.")
