"""Fetches the bytes of base models that lie upstream, each once however many ask, and lets readers follow while they arrive.

A reader gets the last bytes only after all of them were found to be the announced ones: what was not verified is never a complete file for anyone.
"""

import hashlib
import io
import json
import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import connection, transaction
from filelock import FileLock, Timeout

from hub import safetensors_header, storage
from hub.errors import HubError
from hub.models import Adapter, Blob, Pending
from hub.services import hosted, upstream

logger = logging.getLogger(__name__)
HELD_BACK = 1 << 16  # bytes at a file's end that wait for its hash
POLL_SECONDS = 0.05
FAULT_SECONDS = 10.0  # that a failure is told again without asking again


def open_blob(blob: Blob, *, whole: bool) -> BinaryIO:
    """Open bytes that are here, or on their way. `whole` is for readers up to the file's end; others wait until all of it is verified."""
    pending = None if storage.local_path(blob.sha256).exists() else Pending.objects.filter(blob=blob).first()
    if pending is None:
        return storage.open_blob(blob.sha256)
    _begin(pending)
    until = time.monotonic() + 3 * settings.READ_THROUGH_SECONDS
    while not storage.is_here(blob.sha256):
        _raise_fault(blob.sha256)
        if whole and _part(blob.sha256).exists() and _part(blob.sha256).stat().st_size:
            with suppress(FileNotFoundError):
                return _Growing(blob)  # type: ignore[return-value]
        if time.monotonic() > until:
            raise HubError("upstream-slow", "This file is on its way here from another hub, and not complete yet. Ask again in a minute.", status=503)
        time.sleep(POLL_SECONDS)
    return storage.open_blob(blob.sha256)


def require(blobs: Iterable[str]) -> None:
    """Refuse what needs all of these bytes to be here."""
    if hosted.awaited(blobs):
        text = "Not all of this model's files are here yet. Download it with a Hugging Face client, which fetches them."
        raise HubError("not-fetched", text, status=409)


def _begin(pending: Pending) -> None:
    """Start fetching, unless somebody does already or has just failed."""
    _raise_fault(pending.blob_id)
    _root().mkdir(parents=True, exist_ok=True)
    # Another thread lets go of it; a process that dies lets go by dying.
    lock = FileLock(_root() / f"{pending.blob_id}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    if storage.is_here(pending.blob_id):
        lock.release()
        return
    for path in (_part(pending.blob_id), _fault(pending.blob_id)):
        path.unlink(missing_ok=True)
    threading.Thread(target=_run, args=(pending, lock), name=f"fetch-{pending.blob_id[:8]}", daemon=True).start()


def _run(pending: Pending, lock: FileLock) -> None:
    part = _part(pending.blob_id)
    try:
        _fetch(pending, part)
        _settle(pending)
    except (HubError, OSError) as error:
        fault = error if isinstance(error, HubError) else storage.disk_error(error)
        logger.warning("%s of %s could not be fetched: %s", pending.path, pending.repo_id, fault.message)
        with suppress(OSError):
            _fault(pending.blob_id).write_text(json.dumps([fault.code, fault.message, fault.status]))
    finally:
        part.unlink(missing_ok=True)
        lock.release()
        connection.close()


def _fetch(pending: Pending, part: Path) -> None:
    """Write the bytes to `part`, and move it into the store if they are the announced ones and sound weights."""
    digest, size = hashlib.sha256(), 0
    with upstream.content(pending.repo_id, pending.sha, pending.path, pending.blob.size) as pieces, part.open("xb") as out:
        for piece in pieces:
            size += len(piece)
            digest.update(piece)
            out.write(piece)
            out.flush()
    if size != pending.blob.size:
        raise upstream.unavailable(f"the connection broke off inside {pending.path}")
    if digest.hexdigest() != pending.blob_id:
        raise upstream.unavailable(f"the bytes of {pending.path} are not those that it announced")
    if pending.path.endswith(".safetensors"):
        with part.open("rb") as stream:
            safetensors_header.read(stream, pending.path)
    storage.adopt(part, storage.Stored(pending.blob_id, size))


def _settle(pending: Pending) -> None:
    """Note that the bytes are here, and that models which waited for nothing else are whole."""
    with transaction.atomic():
        Pending.objects.filter(pk=pending.pk).delete()
        for adapter in Adapter.objects.base_models().filter(head__files__blob=pending.blob_id).select_related("owner", "head").distinct():
            hosted.announce(adapter)


def _raise_fault(sha256: str) -> None:
    """Raise what the last attempt failed with, if that was a moment ago."""
    with suppress(FileNotFoundError, ValueError):
        path = _fault(sha256)
        if time.time() - path.stat().st_mtime < FAULT_SECONDS:
            code, message, status = json.loads(path.read_text())
            raise HubError(code, message, status=status)


def _root() -> Path:
    return Path(settings.WORK_DIR) / "fetch"


def _part(sha256: str) -> Path:
    return _root() / f"{sha256}.part"


def _fault(sha256: str) -> Path:
    return _root() / f"{sha256}.fault"


class _Growing(io.RawIOBase):
    """A file that is being fetched, as far as it has come; reading waits for more."""

    def __init__(self, blob: Blob) -> None:
        self._sha256, self._size = blob.sha256, blob.size
        self._file = _part(blob.sha256).open("rb")
        self._verified = False

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place that may not have come yet."""
        return self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        """Return some of the next bytes; fail where the rest does not come, or is not what was announced."""
        at, silent_since = self._file.tell(), time.monotonic()
        before = self._come()
        while (there := self._come()) <= at < self._size:
            if there > before:
                before, silent_since = there, time.monotonic()
            self._check(time.monotonic() - silent_since)
            time.sleep(POLL_SECONDS)
        return self._file.read(min(size, there - at) if size >= 0 else there - at)

    def close(self) -> None:
        """Close the file behind it."""
        self._file.close()
        super().close()

    def _come(self) -> int:
        """Return how many bytes may be handed out."""
        if self._verified or storage.local_path(self._sha256).exists():
            self._verified = True
            return self._size
        return max(0, min(Path(f"/dev/fd/{self._file.fileno()}").stat().st_size, self._size) - HELD_BACK)

    def _check(self, silence: float) -> None:
        is_gone = not _part(self._sha256).exists() and not storage.local_path(self._sha256).exists()
        if is_gone or silence > 3 * settings.READ_THROUGH_SECONDS:
            raise OSError("the file that was being fetched did not come to its end")
