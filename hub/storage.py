"""Content-addressed blobs on local disk: written once under their sha256, before any row speaks of them."""

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from prometheus_client import Counter

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


def put(stream: BinaryIO, *, limit: int | None = None, expect: Stored | None = None) -> Stored:
    """Store a stream, hashing while it is written; the same bytes are kept once.

    Raises `file-too-large` over `limit` bytes, `upload-cut-off` when the stream breaks, `storage-full` when the disk is full, and
    `content-mismatch` for bytes that are not those expected, which are not kept.
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
                raise HubError("content-mismatch", "The bytes that came are not those that were announced, and nothing was stored. Send them again.")
            target = local_path(stored.sha256)
            if not _is_kept(target, stored.size):
                target.parent.mkdir(parents=True, exist_ok=True)
                Path(temporary).chmod(0o444)
                Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error) from error
    TAKEN.inc(stored.size)
    return stored


def local_path(sha256: str) -> Path:
    """Return where the blob lies, or would lie."""
    return Path(settings.BLOBS_DIR) / sha256[:2] / sha256[2:4] / sha256


def open_blob(sha256: str) -> BinaryIO:
    """Open a blob for reading; a blob that should be there and is not is a broken store, not a missing file."""
    try:
        return local_path(sha256).open("rb")
    except OSError as error:
        logger.exception("blob %s cannot be opened", sha256)
        raise HubError("storage-unavailable", "The file store does not answer right now. Try again in a minute.", status=503) from error


def read_text(sha256: str, limit: int = 1_000_000) -> str:
    """Return the start of a blob as text."""
    with open_blob(sha256) as stream:
        return stream.read(limit).decode("utf-8", "replace")


def link(sha256: str, target: Path) -> None:
    """Make the blob appear at `target` for a program that wants a file there."""
    source = local_path(sha256)
    if not source.exists():
        open_blob(sha256)
    target.symlink_to(source)


def hashes() -> Iterator[str]:
    """Yield the sha256 of everything that lies in the store, in no order."""
    for path in Path(settings.BLOBS_DIR).glob("??/??/*"):
        yield path.name


def discard(sha256: str, *, before: float) -> int:
    """Remove bytes that nobody has put since `before` (seconds since 1970), and return how many; somebody may put them again at any moment.

    They are moved aside before they are looked at: whoever puts them now either finds them gone and writes them anew, or has marked them already.
    """
    path, aside = local_path(sha256), Path(settings.WORK_DIR) / f"discarded-{sha256}-{os.getpid()}"
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


def sweep() -> None:
    """Remove temporary files, and folders of jobs, whose process died before it could."""
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
    return HubError("storage-unavailable", "The file store does not answer right now. Try again in a minute.", status=503)
