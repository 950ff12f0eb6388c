"""Keeps what a worker elsewhere has fetched, modules and base models, in a folder that stays below a number of bytes."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

logger = logging.getLogger(__name__)


class Mismatch(Exception):
    """What came is not what was announced."""


class Cache:
    """Files by their sha256 and base models by name and revision. What was not used for the longest goes first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit
        self.scratch = folder / "jobs"
        self._files, self._bases = folder / "files", folder / "bases"
        shutil.rmtree(self.scratch, ignore_errors=True)  # of a process that was killed
        for path in (self.scratch, self._files, self._bases):
            path.mkdir(parents=True, exist_ok=True)

    def file(self, sha256: str, size: int, chunks: Callable[[], Iterable[bytes]]) -> Path:
        """Return the file with this hash, fetched from `chunks` where it is not here; raises `Mismatch` for other bytes."""
        path = self._files / sha256
        if path.exists():
            os.utime(path)
            return path
        self._make_room(size)
        handle, temporary = tempfile.mkstemp(dir=self._files, prefix=".")
        try:
            digest, came = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as out:
                for chunk in chunks():
                    came += len(chunk)
                    if came > size:
                        break
                    digest.update(chunk)
                    out.write(chunk)
            if came != size or digest.hexdigest() != sha256:
                raise Mismatch(f"{sha256[:12]} came with {came} bytes instead of {size}, or with other ones")
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return path

    def base(self, name: str, revision: str, fetch: Callable[[Path], None]) -> Path:
        """Return the folder of a base model, filled by `fetch` where it is not here, whole or not at all."""
        path = self._bases / f"{name.replace('/', '--')}@{revision}"
        if path.is_dir():
            os.utime(path)
            return path
        unfinished = Path(tempfile.mkdtemp(dir=self._bases, prefix="."))
        try:
            fetch(unfinished)
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self._make_room(0, spare=path)
        return path

    def _make_room(self, size: int, spare: Path | None = None) -> None:
        """Let go of the oldest until there is room. A job that runs holds its files by links of its own."""
        kept = [path for path in (*self._files.iterdir(), *self._bases.iterdir()) if not path.name.startswith(".")]
        found = sorted(((path.stat().st_mtime, _size(path), path) for path in kept), key=lambda row: row[:2])
        left = sum(row[1] for row in found) + size
        for _, own, path in found:
            if left <= self._limit:
                return
            if path != spare:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                left -= own
        if left > self._limit:
            logger.warning("the cache needs %d MB, more than its limit of %d MB", left // 1_000_000, self._limit // 1_000_000)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
