"""The parts of one LFS upload while it is under way: written to their place in one file as they come, so that nothing is copied in the end."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hub import storage
from hub.errors import HubError
from hub.hf import body

DISK_BLOCK = 512  # bytes; the unit of st_blocks


@dataclass(frozen=True)
class Waiting:
    """A folder with the file and, for each part that has come in full, an empty file named after its number.

    Whoever writes holds the lock of the file for each piece, and looks first whether the file is still here: what became a blob changes no more,
    however late a request is that began to write it before.
    """

    folder: Path

    def has(self, number: int) -> bool:
        """Whether this part has come in full."""
        return self._mark(number).exists()

    def write(self, number: int, stream: body.Body, *, start: int, size: int) -> None:
        """Put a part of exactly `size` bytes at `start`; sent again, it replaces the one that is there. One that breaks off does not count."""
        try:
            with self._writing() as out:
                self._fill(out, stream, start, size)
                with self._still_here(out):
                    self._mark(number).touch()
        except FileNotFoundError as error:
            raise _gone() from error
        except OSError as error:
            raise storage.disk_error(error) from error

    @contextmanager
    def closed(self) -> Iterator[Path]:
        """Give the file, which nobody writes meanwhile."""
        try:
            handle = os.open(self._file, os.O_RDONLY)
        except FileNotFoundError as error:
            raise _gone() from error
        try:
            with self._still_here(handle):
                yield self._file
        finally:
            os.close(handle)

    def drop(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fill(self, out: int, stream: body.Body, start: int, size: int) -> None:
        count = 0
        while data := stream.read(storage.CHUNK):
            if count + len(data) > size:
                raise wrong_length(size)
            with self._still_here(out):
                _write_all(out, data, start + count)
            count += len(data)
        if count != size:
            raise wrong_length(size)

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """Open the file. What broke off and left no whole part, with nobody else at it, is removed."""
        folder = self._entered()
        try:
            out = os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                yield out
            finally:
                os.close(out)
                self._drop_unused(folder)
        finally:
            os.close(folder)

    def _entered(self) -> int:
        """Share the lock of the folder with all who write in it."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # somebody drops it at this moment
                handle = os.open(self.folder, os.O_RDONLY)
                fcntl.flock(handle, fcntl.LOCK_SH)
                if _is_at(handle, self.folder):
                    return handle
                os.close(handle)

    def _drop_unused(self, folder: int) -> None:
        with suppress(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(folder, self.folder) and not any(entry.name.isdigit() for entry in self.folder.iterdir()):
                self.drop()

    @contextmanager
    def _still_here(self, handle: int) -> Iterator[None]:
        """Hold the lock of the file, or raise where it is not the one in the folder any more."""
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if not _is_at(handle, self._file):
                raise _gone()
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)

    @property
    def _file(self) -> Path:
        return self.folder / "parts"

    def _mark(self, number: int) -> Path:
        return self.folder / f"{number:05d}"


def taken(folder: Path) -> int:
    """Return the bytes on the disk under this folder of uploads; a file in which a part is missing takes less than its length."""
    return sum(file.stat().st_blocks * DISK_BLOCK for file in folder.glob("*/parts"))


def wrong_length(size: int) -> HubError:
    """Return what the sender of more or fewer bytes is told."""
    return HubError("content-mismatch", f"This link takes exactly {size} bytes. Nothing was stored.")


def _is_at(handle: int, path: Path) -> bool:
    """Whether what was opened is still what lies at the path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _write_all(out: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(out, view, start)
        view, start = view[written:], start + written


def _gone() -> HubError:
    return HubError("parts-missing", "Nothing of this upload is here any more. Start it again.", status=409)
