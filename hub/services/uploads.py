"""Bytes that came ahead of the commit that will name them: who sent which, and for how long that is remembered."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from django.db import transaction
from django.utils import timezone

from hub import storage
from hub.errors import HubError
from hub.models import Adapter, Blob, RevisionFile, Upload, User
from hub.services import access, hosted, quotas

KEEP_HOURS = 24.0


def receive(*, user: User, stream: BinaryIO, sha256: str, size: int) -> Blob:
    """Store a stream that must have this hash and size, and remember who sent it. Anything else is refused and leaves nothing."""
    _check(user, size)
    return remember(user=user, stored=storage.put(stream, limit=size, expect=storage.Stored(sha256, size)))


def take(*, user: User, path: Path, sha256: str, size: int) -> Blob:
    """Make a file of the store's disk a blob, as `receive` does a stream; it is moved away only if it is what it must be."""
    _check(user, size)
    stored = storage.Stored(sha256, size)
    storage.take(path, stored)
    return remember(user=user, stored=stored)


def _check(user: User, size: int) -> None:
    """Refuse what is too large for this person, or more than may wait for its commit."""
    if size > (limit := access.largest_file(user)):
        raise HubError("file-too-large", f"The file is larger than the limit of {limit / 1e6:.0f} MB.", status=413)
    quotas.check_pending(user, size)


@transaction.atomic
def remember(*, user: User, stored: storage.Stored) -> Blob:
    """Note that `user` has sent these bytes in full; the caller has hashed and stored them. What was noted too long ago is forgotten."""
    quotas.locked(user)
    forget_old()
    [blob] = keep([stored])
    _, new = Upload.objects.get_or_create(user=user, blob=blob)
    if new:
        quotas.check_pending(user, 0)
    else:
        Upload.objects.filter(user=user, blob=blob).update(created_at=timezone.now())
    return blob


def keep(stored: Iterable[storage.Stored]) -> list[Blob]:
    """Write the rows of these bytes, or take back that they were to go; call it in the transaction that writes what speaks of them."""
    sizes = sorted({one.sha256: one.size for one in stored}.items())  # in one order everywhere: two transactions never wait for each other
    rows = [Blob(sha256=sha256, size=size, condemned_at=None) for sha256, size in sizes]
    return Blob.objects.bulk_create(rows, update_conflicts=True, update_fields=["condemned_at"], unique_fields=["sha256"])


def owned(*, user: User, sha256: str) -> Blob | None:
    """Return the bytes with this hash if the user sent them or may read them anyway; None is the same for missing and for hidden ones."""
    blob = Blob.objects.filter(sha256=sha256).first()
    if blob is None:
        return None
    if Upload.objects.filter(user=user, blob=blob).exists():
        return blob
    if hosted.awaited([blob.sha256]):
        return None  # anyone may read it, and its bytes are not here yet
    readable = RevisionFile.objects.filter(blob=blob, revision__adapter__in=Adapter.objects.readable_by(user))
    return blob if readable.exists() else None


def forget_old(*, hours: float = KEEP_HOURS) -> int:
    """Forget uploads that no commit named in time, and return how many."""
    limit = timezone.now() - timedelta(hours=hours)
    return Upload.objects.filter(created_at__lt=limit).delete()[0]
