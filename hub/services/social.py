"""Likes and download counts."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, OuterRef, Prefetch, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from hub.errors import not_found
from hub.models import Adapter, Download, Like, User
from hub.services import access, audit, notifications, prepared

if TYPE_CHECKING:
    from hub.models.adapters import Actor

BATCH = 500  # adapters of which the trend is written by one statement
FORGOTTEN = 5_000  # downloads by one


@transaction.atomic
def like(*, actor: "Actor", adapter: Adapter, on: bool) -> Adapter:
    """Set or take back the actor's like."""
    user = access.require_login(actor)
    if not Adapter.objects.visible_to(user).filter(pk=adapter.pk).exists():
        raise not_found()
    # One at a time: of two deletions of the same row at once, each would count it; and an adapter that was deleted meanwhile takes no likes.
    if Adapter.objects.select_for_update(of=("self",)).filter(pk=adapter.pk).first() is None:
        raise not_found()
    if on:
        row, changed = Like.objects.get_or_create(user=user, adapter=adapter)
    else:
        changed = bool(Like.objects.filter(user=user, adapter=adapter).delete()[0])
    if changed:
        Adapter.objects.filter(pk=adapter.pk).update(likes=F("likes") + (1 if on else -1))
        adapter.refresh_from_db(fields=["likes"])
        audit.record(user, "adapter.like" if on else "adapter.unlike", adapter)
        if on:
            notifications.liked(like=row)
        else:
            notifications.unliked(adapter=adapter)
    return adapter


def is_liked(*, actor: "Actor", adapter: Adapter) -> bool:
    """Say whether the actor likes the adapter."""
    return actor.is_authenticated and prepared.first(_liked, user=actor.pk, adapter=adapter.pk) is not None


def _liked(user: int, adapter: int) -> QuerySet[Like, tuple[int]]:
    return Like.objects.filter(user=user, adapter=adapter).order_by().values_list("pk")


@dataclass(frozen=True)
class Liked:
    """A page of what somebody likes; `next` is the cursor of the page after it, or empty."""

    items: list[Adapter]
    next: str


def liked_by(*, actor: "Actor", person: User, limit: int, cursor: str = "") -> Liked:
    """List what a person likes, as far as the actor may see it, the latest like first."""
    rows = Like.objects.filter(user=person, adapter__in=Adapter.objects.visible_to(actor)).order_by("-pk")
    if cursor:
        rows = rows.filter(pk__lt=int(cursor)) if cursor.isascii() and cursor.isdigit() and len(cursor) < 19 else rows.none()
    found = list(rows.prefetch_related(Prefetch("adapter", Adapter.objects.for_listing()))[: limit + 1])
    return Liked([row.adapter for row in found[:limit]], str(found[limit - 1].pk) if len(found) > limit else "")


def count_download(*, adapter: Adapter, client: str) -> None:
    """Count one fetch of the weights; a client counts once a day. `client` is a user's id or an address and is kept only as a keyed hash."""
    digest = hmac.new(settings.SECRET_KEY.encode(), client.encode(), hashlib.sha256).hexdigest()[:32]
    today = timezone.now().date()
    if Download.objects.filter(adapter=adapter, client=digest, day=today).exists():
        return  # without taking the database's write lock
    with transaction.atomic():
        _, new = Download.objects.get_or_create(adapter=adapter, client=digest, day=today)
        if new:
            Adapter.objects.filter(pk=adapter.pk).update(downloads=F("downloads") + 1, trend=F("trend") + 1)


def refresh_trends() -> None:
    """Count the downloads of the last seven days anew, where there are or were any, and forget who fetched what before that: the sums are kept."""
    week = timezone.now().date() - timedelta(days=7)
    while old := list(Download.objects.filter(day__lt=week).order_by("day").values_list("pk", flat=True)[:FORGOTTEN]):
        Download.objects.filter(pk__in=old).delete()
    recent = Download.objects.filter(adapter=OuterRef("pk"), day__gte=week).order_by().values("adapter").annotate(n=Count("pk")).values("n")
    counted = Adapter.objects.annotate(now=Coalesce(Subquery(recent), Value(0)))
    lively = counted.filter(Q(trend__gt=0) | Q(pk__in=Download.objects.filter(day__gte=week).values("adapter"))).exclude(trend=F("now"))
    found: dict[int, list[int]] = {}
    for pk, now in lively.values_list("pk", "now"):
        found.setdefault(now, []).append(pk)
    for now, pks in found.items():  # a few statements for thousands of rows, each over before anybody has waited for it
        for start in range(0, len(pks), BATCH):
            Adapter.objects.filter(pk__in=pks[start : start + BATCH]).update(trend=now)
