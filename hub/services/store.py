"""Looks after the store: removes what nothing speaks of any more, and compares rows with bytes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from hub import storage
from hub.errors import HubError
from hub.models import Blob, Pending, RevisionFile, Upload

KEEP_HOURS = 25.0  # longer than bytes may wait for the commit that names them (uploads.KEEP_HOURS)
BATCH = 500


@dataclass(frozen=True)
class Pruned:
    """What pruning has done: rows marked for the next time, blobs and strays (bytes without a row) removed, bytes freed."""

    condemned: int = 0
    blobs: int = 0
    strays: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Fault:
    """Something in the store that is not as a row says."""

    sha256: str
    what: str  # missing, wrong-size, wrong-hash
    used_by: tuple[str, ...]


def unused() -> QuerySet[Blob]:
    """The blobs that no revision and no unfinished upload speaks of."""
    return Blob.objects.filter(~Exists(RevisionFile.objects.filter(blob=OuterRef("pk"))), ~Exists(Upload.objects.filter(blob=OuterRef("pk"))))


def prune(*, hours: float = KEEP_HOURS) -> Pruned:
    """Remove what has been unused for `hours`; safe while uploads, commits and jobs run.

    Twice looked, once removed: a row that nothing uses is marked, and goes when it is still unused `hours` later. Whoever names it again meanwhile takes the
    mark back in the same statement that makes sure of the row (`uploads.keep`), and bytes that were put again meanwhile stay (`storage.discard`).
    """
    now = timezone.now()
    limit = now - timedelta(hours=hours)
    blobs, freed = 0, 0
    while gone := _remove_rows(limit):
        blobs += len(gone)
        freed += sum(storage.discard(sha256, before=limit.timestamp()) for sha256 in gone)
    Blob.objects.exclude(condemned_at=None).exclude(pk__in=unused().values("pk")).update(condemned_at=None)
    condemned = unused().filter(condemned_at=None, created_at__lt=limit).update(condemned_at=now)
    strays = 0
    for sha256 in _strays():
        size = storage.discard(sha256, before=limit.timestamp())
        strays, freed = strays + (size > 0), freed + size
    return Pruned(condemned, blobs, strays, freed)


def check(*, hashes: bool = True) -> Iterator[Fault]:
    """Compare every row with its bytes. Bytes of a base model that lie upstream still are not missed."""
    awaited = Pending.objects.filter(blob=OuterRef("pk"))
    for blob in Blob.objects.filter(~Exists(awaited)).order_by("pk").iterator(BATCH):
        if what := _compare(blob, hashes=hashes):
            yield Fault(blob.sha256, what, _users(blob))


@transaction.atomic
def _remove_rows(limit: datetime) -> list[str]:
    """Remove some of the rows that were marked before `limit` and are unused still; return which."""
    # Locked first, then looked at again: a commit that took the mark back has been waited for, and its rows are seen.
    locked = list(Blob.objects.select_for_update().filter(condemned_at__lt=limit).order_by("pk").values_list("pk", flat=True)[:BATCH])
    gone = list(unused().filter(pk__in=locked).values_list("pk", flat=True))
    Blob.objects.filter(pk__in=set(locked) - set(gone)).update(condemned_at=None)
    Blob.objects.filter(pk__in=gone).delete()
    return gone


def _strays() -> Iterator[str]:
    """Yield what lies in the store without a row: bytes of refused or broken uploads."""
    batch: list[str] = []
    for sha256 in storage.hashes():
        batch.append(sha256)
        if len(batch) == BATCH:
            yield from _without_row(batch)
            batch = []
    yield from _without_row(batch)


def _without_row(batch: list[str]) -> set[str]:
    return set(batch) - set(Blob.objects.filter(pk__in=batch).values_list("pk", flat=True))


def _compare(blob: Blob, *, hashes: bool) -> str:
    try:
        stream = storage.open_blob(blob.sha256)
    except HubError:
        return "missing"
    digest, size = hashlib.sha256(), 0
    with stream:
        if not hashes:
            size = stream.seek(0, 2)
        while hashes and (chunk := stream.read(storage.CHUNK)):
            digest.update(chunk)
            size += len(chunk)
    if size != blob.size:
        return "wrong-size"
    return "wrong-hash" if hashes and digest.hexdigest() != blob.sha256 else ""


def _users(blob: Blob) -> tuple[str, ...]:
    """Name the files of repositories that are these bytes, at most five of them."""
    rows = RevisionFile.objects.filter(blob=blob).select_related("revision__adapter__owner").order_by("pk")[:5]
    return tuple(f"{row.adapter.repo_id}@{row.revision.sha[:12]}:{row.path}" for row in rows)
