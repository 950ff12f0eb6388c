"""The chunks of stored bytes, so that a client that has the same bytes need not send them again."""

from hub.models import Blob, ChunkIndex, User
from hub.services import uploads

MIN_SIZE = 1_000_000  # bytes; sending less again costs no one anything
CANDIDATES = 20


def remember(*, blob: Blob, first: str, chunks: bytes) -> None:
    """Note how a blob was cut."""
    if blob.size >= MIN_SIZE:
        ChunkIndex.objects.get_or_create(blob=blob, defaults={"first": first, "chunks": chunks})


def find(*, user: User, first: str) -> ChunkIndex | None:
    """Return the newest bytes that begin with this chunk and that the user sent or may read."""
    rows = ChunkIndex.objects.filter(first=first).order_by("-pk").defer("chunks")[:CANDIDATES]
    return next((row for row in rows if uploads.owned(user=user, sha256=row.blob_id)), None)
