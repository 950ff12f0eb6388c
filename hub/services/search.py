"""Lists adapters and base models: search, filters, counts by filter, sorting and stable paging."""

import base64
import binascii
import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    DateTimeField,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThan

from hub.errors import HubError
from hub.models import Adapter, BaseModel, Facet
from hub.models.adapters import belongs_to
from hub.services import audit, fulltext, kept, numbers, tallies, texts
from hub.services.narrowing import FACETS, PARENT, Wanted, narrowed, wanted
from hub.services.tag_synonyms import SYNONYMS
from hub.services.tallies import COUNTED, Facets

__all__ = ["COUNTED", "FACETS", "PARENT", "Facets", "Page", "adapters", "base_models", "facets", "in_use", "tags"]

if TYPE_CHECKING:
    from hub.models.adapters import Actor

RELEVANCE = "relevance"
SORTS = {RELEVANCE: "score", "recent": "updated_at", "downloads": "downloads", "likes": "likes", "trending": "trend", "created": "created_at"}
MAX_LIMIT = 100
LARGEST = 2**31 - 1  # number of likes or downloads


@dataclass(frozen=True)
class Page:
    """One page of a listing; `next` is the cursor of the page after it, or empty. A `total` of COUNTED + 1 stands for all that are more."""

    items: list[Adapter]
    next: str
    total: int


def adapters(
    *,
    actor: "Actor",
    sort: str = "",
    limit: int = 30,
    cursor: str = "",
    counted: bool = True,
    whole: bool = False,
    tags: bool = True,
    as_of: str = "",
    **given: Any,
) -> Page:
    """List adapters that the actor may see, narrowed as `wanted` says: the most relevant first where words are looked for, else the newest.

    Where nobody asks how many there are, `counted` saves the query; `whole` loads facts, labels and card data too, which lists for people do not show;
    short lists do not show `tags` either. `as_of` is `audit.latest()` where it is known already.
    """
    what = wanted(**given)
    sort = sort or (RELEVANCE if what.q else "recent")
    if sort not in SORTS:
        raise HubError("sort-invalid", f"Sort by one of: {', '.join(SORTS)}.", fields={"sort": f"One of: {', '.join(SORTS)}."})
    if not 1 <= limit <= MAX_LIMIT:
        raise HubError("limit-invalid", f"The limit is a number from 1 to {MAX_LIMIT}.", fields={"limit": f"1 to {MAX_LIMIT}."})
    rows = narrowed(actor, what)
    total = rows.order_by().values("pk")[: COUNTED + 1].count() if counted else 0
    if sort == RELEVANCE and what.q:
        return _by_relevance(actor, what, limit, cursor, total, whole, as_of)
    column = SORTS["recent" if sort == RELEVANCE else sort]
    if cursor:
        rows = rows.filter(_after(column, cursor))
    found = list(rows.for_listing(whole=whole, tags=tags).order_by(f"-{column}", "-pk")[: limit + 1])
    more = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], _cursor(getattr(more, column), more.pk) if more else "", total)


def facets(*, actor: "Actor", as_of: str = "", **given: Any) -> Facets:
    """Count the adapters that the actor may see by facet, narrowed as `wanted` says."""
    return tallies.facets(actor, wanted(**given), as_of)


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
    if not tallies.sees_no_more(actor, audit.latest()):
        own = Adapter.objects.adapters().visible_to(actor).filter(belongs_to(actor), private=True, head__isnull=False)
        rows = Facet.objects.filter(name="tag", adapter__in=own).order_by().values_list("value").annotate(n=Count("pk"))
        found.update(dict(rows))
    return found


def _by_relevance(actor: "Actor", what: Wanted, limit: int, cursor: str, total: int, whole: bool, as_of: str) -> Page:
    """The best matches; the cursor says how many lie before. Who may see them is asked of each page anew, but not whether they still fit: a ranking may be
    a minute old."""
    offset = _offset(cursor)
    best = tallies.ranked(actor, what, as_of)
    chosen = [pk for _, pk in best[offset : offset + limit]]
    found = {row.pk: row for row in narrowed(actor, replace(what, q="", facets={})).filter(pk__in=chosen).for_listing(whole=whole)}
    return Page([found[pk] for pk in chosen if pk in found], _cursor(offset + limit, 0) if len(best) > offset + limit else "", total)


def _cursor(value: Any, pk: int) -> str:
    raw = json.dumps([value.isoformat() if isinstance(value, datetime) else value, pk])
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _after(column: str, cursor: str) -> LessThan:
    """Match what comes after a row, as (column, id) < (value, pk): the database begins there, where it would walk to the place through an OR."""
    try:
        value, pk = json.loads(base64.urlsafe_b64decode(cursor[:400] + "=" * (-len(cursor) % 4)))
        if column in ("updated_at", "created_at"):
            place = Value(datetime.fromisoformat(value).astimezone(UTC), DateTimeField())
        else:
            place = Value(max(-1, min(int(value), LARGEST)), IntegerField())
        return LessThan(_pair(F(column), F("pk")), _pair(place, Value(max(-1, min(int(pk), BigIntegerField.MAX_BIGINT)), BigIntegerField())))
    except (ValueError, TypeError, binascii.Error, OverflowError, UnicodeDecodeError) as error:
        raise _wrong_cursor() from error


def _pair(*parts: Any) -> Func:
    return Func(*parts, template="(%(expressions)s)", output_field=TextField())


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
