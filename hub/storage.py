"""Content-addressed blobs: written once under their sha256, before any row speaks of them.

They lie on this machine's disk. Where the settings name an S3 bucket (hub.object_store) that is where they lie, and the disk is a cache of it.
"""

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from prometheus_client import Counter

from hub import object_store
from hub.errors import HubError

logger = logging.getLogger(__name__)
CHUNK = 1 << 20
TEMPORARY_SECONDS = 7 * 24 * 3600  # longer than any upload or job takes
FLUSH = 64 * CHUNK  # so much is written before the disk is told to begin, which leaves little for the end
Opener = Callable[[], BinaryIO]
TAKEN = Counter("medley_taken_bytes", "Bytes of files that came and were stored, or were here already.")


@dataclass(frozen=True)
class Stored:
    """What `put` wrote."""

    sha256: str
    size: int


def prepare() -> None:
    """Make the bucket of the settings, if they name one and it is not there."""
    if (bucket := object_store.bucket()) is not None:
        with available():
            bucket.ensure(settings.PUBLIC_URL)


def put(stream: BinaryIO, *, limit: int | None = None, expect: Stored | None = None, check: Callable[[Stored], None] | None = None) -> Stored:
    """Store a stream, hashing while it is written; the same bytes are kept once.

    Raises `file-too-large` over `limit` bytes, `upload-cut-off` when the stream breaks, `storage-full` when the disk is full, and
    `content-mismatch` for bytes that are not those expected, which are not kept; nor are those for which `check` raises.
    """
    folder = Path(settings.WORK_DIR)
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix="blob-")
        try:
            with os.fdopen(handle, "wb") as out:
                stored = _write(stream, out, limit)
                out.flush()
                os.fsync(out.fileno())
            if expect is not None and stored != expect:
                raise _mismatch()
            if check is not None:
                check(stored)
            adopt(Path(temporary), stored)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error) from error
    TAKEN.inc(stored.size)
    return stored


def take(path: Path, expect: Stored, *, copy_of: str = "") -> None:
    """Make a file of the same disk a blob, if its bytes are those expected, and `content-mismatch` otherwise; it is hashed while it moves to the disk."""
    try:
        with path.open("rb") as stream, ThreadPoolExecutor(1) as beside:
            flushing = beside.submit(os.fsync, stream.fileno())
            found = Stored(hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell())
            flushing.result()
        if found != expect:
            raise _mismatch()
        adopt(path, expect, copy_of=copy_of)
    except OSError as error:
        raise disk_error(error) from error
    TAKEN.inc(expect.size)


def _mismatch() -> HubError:
    """Return what a sender is told whose bytes are others than announced."""
    return HubError("content-mismatch", "The bytes that came are not those that were announced, and nothing was stored. Send them again.")


def adopt(path: Path, stored: Stored, *, copy_of: str = "") -> None:
    """Move a file of the same disk into the store; its bytes are on the disk and known to be these. Raises OSError, or `storage-unavailable`.

    Where the bucket has the same bytes under another key, it is not sent them again.
    """
    if (bucket := object_store.bucket()) is not None:
        with available():
            bucket.put(path, stored.sha256, stored.size, copy_of=copy_of)
    target = local_path(stored.sha256)
    if not _is_kept(target, stored.size):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o444)
        path.replace(target)


def local_path(sha256: str) -> Path:
    """Return where the blob lies on this machine, or would lie."""
    return Path(settings.BLOBS_DIR) / object_store.spread(sha256)


def is_here(sha256: str) -> bool:
    """Whether the store has the blob."""
    if local_path(sha256).exists():
        return True
    if (bucket := object_store.bucket()) is None:
        return False
    with available():
        return bucket.has(sha256)


def open_blob(sha256: str) -> BinaryIO:
    """Open a blob for reading; a blob that should be there and is not is a broken store, not a missing file."""
    path = local_path(sha256)
    try:
        if (bucket := object_store.bucket()) is not None:
            _bring(bucket, sha256, path)
        return path.open("rb")
    except OSError as error:
        logger.exception("blob %s cannot be opened", sha256)
        raise _unavailable() from error


def address(sha256: str, *, content_type: str, disposition: str) -> str:
    """Return a link to the bucket by which the asker gets the bytes without us; empty where we send them ourselves."""
    bucket = object_store.bucket()
    if bucket is None or not settings.S3_REDIRECT:
        return ""
    return bucket.address(sha256, content_type=content_type, disposition=disposition, seconds=settings.S3_LINK_SECONDS)


def read_text(sha256: str, limit: int = 1_000_000) -> str:
    """Return the start of a blob as text."""
    with open_blob(sha256) as stream:
        return stream.read(limit).decode("utf-8", "replace")


def link(sha256: str, target: Path) -> None:
    """Make the blob appear at `target` for a program that wants a file there."""
    source = local_path(sha256)
    if object_store.bucket() is not None:
        open_blob(sha256).close()
        target.hardlink_to(source)  # it stays when the cache lets go of the file
        return
    if not source.exists():
        open_blob(sha256)
    target.symlink_to(source)


def hashes() -> Iterator[str]:
    """Yield the sha256 of everything that lies in the store, in no order."""
    if (bucket := object_store.bucket()) is not None:
        with available():
            yield from bucket.names()
        return
    for path in Path(settings.BLOBS_DIR).glob("??/??/*"):
        yield path.name


def discard(sha256: str, *, before: float) -> int:
    """Remove bytes that nobody has put since `before` (seconds since 1970), and return how many; somebody may put them again at any moment.

    They are moved aside before they are looked at: whoever puts them now either finds them gone and writes them anew, or has marked them already.
    """
    path, aside = local_path(sha256), Path(settings.WORK_DIR) / f"discarded-{sha256}-{os.getpid()}"
    if (bucket := object_store.bucket()) is not None:
        with available():
            size = bucket.discard(sha256, before=before)
        if size:
            path.unlink(missing_ok=True)
        return size
    try:
        path.rename(aside)
    except FileNotFoundError:
        return 0
    found = aside.stat()
    if found.st_mtime >= before:
        aside.replace(path)
        return 0
    aside.unlink()
    return found.st_size


def _is_kept(path: Path, size: int) -> bool:
    """Say whether the bytes are here already, and mark that somebody wants them."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _bring(bucket: object_store.Bucket, sha256: str, path: Path) -> None:
    """Copy a blob from the bucket to this machine, unless it is here; what does not hash to its name is a broken store."""
    try:
        os.utime(path)  # the cache lets go of what was not used for the longest
    except FileNotFoundError:
        pass
    else:
        return
    handle, temporary = tempfile.mkstemp(dir=settings.WORK_DIR, prefix="blob-")
    os.close(handle)
    try:
        with available():
            found = bucket.fetch(sha256, Path(temporary))
        with Path(temporary).open("rb") as stream:
            if not found or hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                raise FileNotFoundError(errno.ENOENT, "the bucket does not have these bytes", sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(temporary).chmod(0o444)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def shrink_cache() -> int:
    """Let go of what was not used for the longest where the disk is a cache and holds more than S3_CACHE_BYTES; return how many bytes went."""
    if object_store.bucket() is None:
        return 0
    found = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in Path(settings.BLOBS_DIR).glob("??/??/*")), key=lambda row: row[:2])
    surplus = sum(size for _, size, _ in found) - settings.S3_CACHE_BYTES
    gone = 0
    for _, size, path in found:
        if gone >= surplus:
            break
        path.unlink(missing_ok=True)
        gone += size
    return gone


@contextmanager
def available(*passed: type[object_store.Unavailable]) -> Iterator[None]:
    """Turn a bucket that does not answer into the error its user sees, but for what the caller wants to hear."""
    try:
        yield
    except passed:
        raise
    except object_store.Unavailable as error:
        logger.exception("the bucket does not answer")
        raise _unavailable() from error


def _unavailable() -> HubError:
    return HubError("storage-unavailable", "The file store does not answer right now. Try again in a minute.", status=503)


def sweep() -> None:
    """Remove temporary files, and folders of jobs, whose process died before it could; let go of what the cache holds too much of."""
    shrink_cache()
    limit = time.time() - TEMPORARY_SECONDS
    for path in Path(settings.WORK_DIR).iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime >= limit:
                continue
            if path.is_file():
                path.unlink()
            elif path.name.startswith("job-"):
                shutil.rmtree(path, ignore_errors=True)


def full(error: BaseException) -> HubError:
    """Return what a sender is told of a full disk, and log it."""
    logger.error("the store is full: %s", error)
    return HubError("storage-full", "The hub's disk is full, and nothing was stored. Tell its operator, then try again.", status=507)


def is_full(error: BaseException) -> bool:
    """Say whether this is what a full disk, or a used up quota, raises."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _write(stream: BinaryIO, out: BinaryIO, limit: int | None) -> Stored:
    """Write a stream while one thread hashes what was read and another one moves to the disk what was written: a large file waits for the slowest."""
    digest, size, flushed = hashlib.sha256(), 0, 0
    hashing: Future[None] | None = None
    flushing: Future[None] | None = None
    with ThreadPoolExecutor(2) as beside:
        while chunk := _read(stream):
            size += len(chunk)
            if limit is not None and size > limit:
                raise HubError("file-too-large", f"The file is larger than the limit of {limit / 1e6:.0f} MB.", status=413)
            _result(hashing)
            hashing = beside.submit(digest.update, chunk)
            out.write(chunk)
            if size - flushed >= FLUSH and (flushing is None or flushing.done()):
                _result(flushing)
                flushing, flushed = beside.submit(os.fdatasync, out.fileno()), size
        _result(hashing)
        _result(flushing)
    return Stored(digest.hexdigest(), size)


def _result(task: "Future[None] | None") -> None:
    """Raise what went wrong beside; the disk says an error once only."""
    if task is not None:
        task.result()


def _read(stream: BinaryIO) -> bytes:
    try:
        return stream.read(CHUNK)
    except OSError as error:
        raise HubError("upload-cut-off", "The upload broke off before the file was complete, and nothing was stored. Send it again.") from error


def disk_error(error: OSError) -> HubError:
    """Turn a failed write into the error its sender sees."""
    if is_full(error):
        return full(error)
    logger.error("the store cannot be written: %s", error, exc_info=error)
    return _unavailable()
