"""Lists adapters and base models: filters, sorting and stable paging."""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from hub import labels
from hub.errors import HubError
from hub.models import Adapter, BaseModel, Download, Parent
from hub.services import accounts, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

SORTS = {"recent": "updated_at", "downloads": "downloads", "likes": "likes", "trending": "trend", "created": "created_at"}
MAX_LIMIT = 100
MAX_WORDS = 8
MAX_QUERY = 200  # characters
PARENT = "base_model:merge:"  # as Hugging Face labels a model made from others


@dataclass(frozen=True)
class Page:
    """One page of a listing; `next` is the cursor of the page after it, or empty."""

    items: list[Adapter]
    next: str
    total: int


def adapters(
    *,
    actor: "Actor",
    q: str = "",
    base_model: str = "",
    tag: str = "",
    owner: str = "",
    made: str = "",
    composable: bool | None = None,
    labelled: Iterable[str] = (),
    with_base_models: bool = False,
    sort: str = "recent",
    limit: int = 30,
    cursor: str = "",
) -> Page:
    """List adapters that the actor may see. `made` is "uploaded", "composed" or empty; `labelled` are words as Hugging Face clients filter by."""
    if sort not in SORTS:
        raise HubError("sort-invalid", f"Sort by one of: {', '.join(SORTS)}.", fields={"sort": f"One of: {', '.join(SORTS)}."})
    if not 1 <= limit <= MAX_LIMIT:
        raise HubError("limit-invalid", f"The limit is a number from 1 to {MAX_LIMIT}.", fields={"limit": f"1 to {MAX_LIMIT}."})
    rows = Adapter.objects.visible_to(actor).filter(_words(q))
    if not with_base_models:
        rows = rows.adapters()
    rows = rows.filter(Q(head__isnull=False) | Q(owner_id=actor.pk or 0))
    for column, value in (("base_model", base_model), ("tags__name", tag.lower())):
        if value:
            rows = rows.filter(**{column: texts.storable(value)})
    if owner:
        rows = rows.filter(owner__in=accounts.named(owner))
    if made:
        rows = rows.filter(composed=made == "composed")
    if composable is not None:
        rows = rows.filter(composable=composable)
    for label in labelled:
        rows = rows.filter(_labelled(actor, texts.storable(label, labels.MAX_LABEL)))
    total = rows.count()
    if sort == "trending":
        rows = rows.annotate(trend=_trend())
    column = SORTS[sort]
    if cursor:
        rows = rows.filter(_after(column, cursor))
    found = list(rows.for_listing().order_by(f"-{column}", "-pk")[: limit + 1])
    more = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], _cursor(getattr(more, column), more.pk) if more else "", total)


def base_models(*, actor: "Actor") -> QuerySet[BaseModel]:
    """List base models with `adapters`, the number of visible adapters on each; those without any, without a worker and not hosted are left out."""
    mine = Adapter.objects.adapters().visible_to(actor).filter(base_model=OuterRef("name"), head__isnull=False).order_by().values("base_model")
    is_known = Q(adapters__gt=0) | Q(available_at__isnull=False) | Q(repository__private=False)
    count = Coalesce(Subquery(mine.annotate(n=Count("pk")).values("n")), Value(0))
    return BaseModel.objects.annotate(adapters=count).select_related("repository__owner").filter(is_known).order_by("-adapters", "name")


def popular_tags(*, actor: "Actor", limit: int = 20) -> list[tuple[str, int]]:
    """List the tags in use with the number of visible adapters that carry them."""
    rows = (
        Adapter.objects.adapters()
        .visible_to(actor)
        .filter(tags__isnull=False, head__isnull=False)
        .order_by()
        .values("tags__name")
        .annotate(n=Count("pk"))
        .order_by("-n", "tags__name")
    )
    return [(row["tags__name"], row["n"]) for row in rows[:limit]]


def catalogue_counts() -> dict[str, int]:
    """Count what everyone may see: adapters, the composed ones among them, and their bytes."""
    rows = Adapter.objects.adapters().filter(private=False).published()
    return rows.aggregate(adapters=Count("pk"), composed=Count("pk", filter=Q(composed=True)), size=Coalesce(Sum("size"), Value(0)))


def _words(q: str) -> Q:
    condition = Q()
    for word in texts.storable(q, MAX_QUERY).split()[:MAX_WORDS]:
        owner, slash, name = word.partition("/")
        here = Q(name__icontains=word) | Q(owner__username__icontains=word) | Q(summary__icontains=word) | Q(card_text__icontains=word)
        here |= Q(pk__in=Adapter.tags.through.objects.filter(tag__name__icontains=word).values("adapter_id"))
        if slash:
            here |= Q(owner__username__iexact=owner, name__icontains=name)
        condition &= here
    return condition


def _labelled(actor: "Actor", label: str) -> Q:
    """Match one label: computed from the files, given by the owner, or the name of a parent of a composed adapter."""
    here = Q(labels__icontains=labels.needle(label)) | Q(pk__in=Adapter.tags.through.objects.filter(tag__name=label.lower()).values("adapter_id"))
    if label.startswith(PARENT):
        parents = Parent.objects.filter(repo_id=label.removeprefix(PARENT)).filter(Q(adapter=None) | Q(adapter__in=Adapter.objects.visible_to(actor)))
        here |= Q(head__in=parents.values("revision"))
    return here


def _trend() -> Any:
    week = timezone.now().date() - timedelta(days=7)
    recent = Download.objects.filter(adapter=OuterRef("pk"), day__gte=week).order_by().values("adapter").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(recent), Value(0))


def _cursor(value: Any, pk: int) -> str:
    raw = json.dumps([value.isoformat() if isinstance(value, datetime) else value, pk])
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _after(column: str, cursor: str) -> Q:
    try:
        value, pk = json.loads(base64.urlsafe_b64decode(cursor[:400] + "=" * (-len(cursor) % 4)))
        value = datetime.fromisoformat(value).astimezone(UTC) if column in ("updated_at", "created_at") else int(value)
        return Q(**{f"{column}__lt": value}) | Q(**{column: value, "pk__lt": int(pk)})
    except (ValueError, TypeError, binascii.Error, OverflowError, UnicodeDecodeError) as error:
        raise HubError("cursor-invalid", "This cursor is not one of ours, or belongs to another sort order. Start from the first page.") from error
