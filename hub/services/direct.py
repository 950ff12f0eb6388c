"""Uploads that go straight to the bucket: links for their parts, and what becomes of them when all of them have come."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hub import object_store, staging, storage
from hub.errors import HubError
from hub.models import Blob, DirectUpload, User
from hub.services import quotas, uploads


@dataclass(frozen=True)
class Part:
    """Where to send a part, and whether it has come already."""

    address: str
    is_there: bool


def part_size(size: int, *, multipart: bool) -> int:
    """Return the bytes of each part of a file of this size, or 0 where it goes through the site: nobody reaches the bucket, or it is too large."""
    if not size or not settings.S3_REDIRECT or object_store.bucket() is None:
        return 0
    part = max(settings.LFS_PART_BYTES, staging.LEAST_PART, -(-size // staging.MAX_PARTS))
    if multipart and size > part:
        return part
    return size if size <= staging.LARGEST_PART else 0


def offer(*, user: User, sha256: str, size: int, part: int, seconds: int) -> list[Part]:
    """Return where to send each part, in order. An upload that was begun goes on; none is returned where all of it had come and is a blob now."""
    row = _begun(user, sha256, size, part)
    found = staging.parts(_upload(row))
    if found is None:  # it was joined, and then something failed
        if finish(user=user, sha256=sha256) is not None:
            return []
        row.delete()
        row, found = _begun(user, sha256, size, part), {}
    DirectUpload.objects.filter(pk=row.pk).update(created_at=timezone.now())
    return list(_links(row, found, seconds))


def finish(*, user: User, sha256: str) -> Blob | None:
    """Make what has come in full a blob of its sender, or raise `parts-missing` or `content-mismatch`; None where nothing is on its way."""
    row = DirectUpload.objects.filter(user=user, sha256=sha256).order_by("-created_at").first()
    if row is None:
        return None
    found = staging.parts(_upload(row))
    if found is not None:
        _check_complete(row, found)
        staging.join(_upload(row), found)
    try:
        taken = staging.take(_upload(row), storage.Stored(row.sha256, row.size))
    except HubError as error:
        if error.code == "content-mismatch":
            row.delete()
        raise
    if not taken:  # somebody else has just made it a blob, or its bytes are gone
        return uploads.owned(user=user, sha256=sha256)
    with transaction.atomic():
        row.delete()
        return uploads.remember(user=user, stored=storage.Stored(row.sha256, row.size))


def abort_old(*, hours: float = uploads.KEEP_HOURS) -> int:
    """Remove uploads that nobody has finished in time, and what lies in the bucket of ones that no row speaks of; return how many."""
    if object_store.bucket() is None:
        return 0
    limit = timezone.now() - timedelta(hours=hours)
    old = list(DirectUpload.objects.filter(created_at__lt=limit))
    for row in old:
        staging.drop(_upload(row))
        row.delete()
    strays = [one for one in staging.left(limit) if not DirectUpload.objects.filter(key=one.key).exists()]
    for one in strays:
        staging.drop(one)
    return len(old) + len(strays)


def _begun(user: User, sha256: str, size: int, part: int) -> DirectUpload:
    """Return the upload of these bytes by this person; begun where there is none."""
    named = {"user": user, "sha256": sha256, "size": size, "part": part}
    if row := DirectUpload.objects.filter(**named).first():
        return row
    quotas.check_pending(user, size)
    made = staging.begin()
    row, is_new = DirectUpload.objects.get_or_create(**named, defaults={"key": made.key, "upload": made.upload})
    if not is_new:  # asked for twice at one time
        staging.drop(made)
    return row


def _links(row: DirectUpload, found: dict[int, tuple[int, str]], seconds: int) -> Iterator[Part]:
    for number in range(1, row.parts + 1):
        size = row.size_of(number)
        yield Part(staging.link(_upload(row), number, size, seconds=seconds), found.get(number, (-1, ""))[0] == size)


def _check_complete(row: DirectUpload, found: dict[int, tuple[int, str]]) -> None:
    """Refuse to join what is not every part once, each of its length."""
    wrong = [number for number in range(1, row.parts + 1) if found.get(number, (-1, ""))[0] != row.size_of(number)]
    if wrong or len(found) > row.parts:
        text = ", ".join(f"{number:05d}" for number in wrong[:5])
        raise HubError("parts-missing", f"{len(wrong)} of {row.parts} parts have not come: {text}. Send them, then complete again.")


def _upload(row: DirectUpload) -> staging.Upload:
    return staging.Upload(row.key, row.upload)
