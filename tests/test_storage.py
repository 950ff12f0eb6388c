"""The blob store: written once, whole or not at all."""

import errno
import hashlib
import io
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from hub import storage
from tests.services.stage import at_once, refused

DATA = b"some bytes" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


def on_disk(folder: Path) -> list[str]:
    """The names of all files below a folder."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_it_works(own_store: Path, settings: Settings) -> None:
    stored = storage.put(io.BytesIO(DATA))
    assert stored == storage.Stored(SHA, len(DATA))
    assert storage.local_path(SHA) == own_store / SHA[:2] / SHA[2:4] / SHA
    with storage.open_blob(SHA) as stream:
        assert stream.read() == DATA
    assert on_disk(own_store) == [SHA] and on_disk(settings.WORK_DIR) == []


def test_nothing_at_all_is_bytes_too(own_store: Path) -> None:
    assert storage.put(io.BytesIO(b"")) == storage.Stored(hashlib.sha256(b"").hexdigest(), 0)
    assert storage.open_blob(hashlib.sha256(b"").hexdigest()).read() == b""


def test_the_same_bytes_are_written_once(own_store: Path) -> None:
    storage.put(io.BytesIO(DATA))
    before = storage.local_path(SHA).stat()
    storage.put(io.BytesIO(DATA))
    after = storage.local_path(SHA).stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
    assert not stat.S_IMODE(after.st_mode) & 0o222, "a blob is not for writing"


def test_the_same_bytes_at_once(own_store: Path, settings: Settings) -> None:
    outcomes = at_once(*[lambda: storage.put(io.BytesIO(DATA))] * 6)
    assert outcomes == [storage.Stored(SHA, len(DATA))] * 6
    assert on_disk(own_store) == [SHA] and on_disk(settings.WORK_DIR) == []


def test_a_damaged_blob_is_mended_by_the_next_upload(own_store: Path) -> None:
    storage.put(io.BytesIO(DATA))
    path = storage.local_path(SHA)
    path.chmod(0o644)
    path.write_bytes(DATA[:10])
    storage.put(io.BytesIO(DATA))
    assert path.read_bytes() == DATA


def test_larger_than_a_piece(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CHUNK", 7)
    assert storage.put(io.BytesIO(DATA)).sha256 == SHA
    assert storage.open_blob(SHA).read() == DATA


def test_over_the_limit(own_store: Path, settings: Settings) -> None:
    assert storage.put(io.BytesIO(DATA), limit=len(DATA)).size == len(DATA)
    with refused("file-too-large", 413):
        storage.put(io.BytesIO(DATA + b"x"), limit=len(DATA))
    assert on_disk(own_store) == [SHA] and on_disk(settings.WORK_DIR) == []


class Cut(io.BytesIO):
    """A stream that breaks after its first piece."""

    def read(self, size: int | None = -1) -> bytes:
        """Give ten bytes, then break."""
        if self.tell():
            raise ConnectionResetError("gone")
        return super().read(10)


def test_a_stream_that_breaks(own_store: Path, settings: Settings) -> None:
    with refused("upload-cut-off", 400):
        storage.put(Cut(DATA))
    assert on_disk(own_store) == on_disk(settings.WORK_DIR) == []


FAILING = ["fsync", "write", "mkstemp", "mkdir", "replace"]


def break_disk(patch: pytest.MonkeyPatch, step: str, number: int) -> None:
    """Let one step of a write fail."""

    def fail(*args: Any, **more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    class Full(io.FileIO):
        write = fail  # type: ignore[assignment]

    places: dict[str, tuple[Any, str, Any]] = {
        "fsync": (os, "fsync", fail),
        "write": (os, "fdopen", lambda handle, mode: Full(handle, mode)),
        "mkstemp": (tempfile, "mkstemp", fail),
        "mkdir": (Path, "mkdir", fail),
        "replace": (Path, "replace", fail),
    }
    patch.setattr(*places[step])


@pytest.mark.parametrize("step", FAILING)
@pytest.mark.parametrize(
    ("number", "code", "status"),
    [
        (errno.ENOSPC, "storage-full", 507),
        (errno.EDQUOT, "storage-full", 507),
        (errno.EIO, "storage-unavailable", 503),
        (errno.EROFS, "storage-unavailable", 503),
    ],
)
def test_a_disk_that_does_not_take_it(own_store: Path, settings: Settings, step: str, number: int, code: str, status: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        break_disk(patch, step, number)
        with refused(code, status):
            storage.put(io.BytesIO(DATA))
    assert on_disk(own_store) == on_disk(settings.WORK_DIR) == []
    assert storage.put(io.BytesIO(DATA)).sha256 == SHA


def test_a_disk_that_fails_while_more_is_written(own_store: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk tells an error once only: where it is told before the end, it still counts."""
    told: list[int] = []

    def once(number: int) -> None:
        if not told:
            told.append(number)
            raise OSError(errno.EIO, "a bad sector")

    monkeypatch.setattr(storage, "CHUNK", 1000)
    monkeypatch.setattr(storage, "FLUSH", 2000)
    monkeypatch.setattr(os, "fdatasync", once)
    with refused("storage-unavailable", 503):
        storage.put(io.BytesIO(DATA))
    assert told and on_disk(own_store) == on_disk(settings.WORK_DIR) == []
    assert storage.put(io.BytesIO(DATA)).sha256 == SHA


def test_a_missing_blob_is_a_broken_store(caplog: pytest.LogCaptureFixture) -> None:
    with refused("storage-unavailable", 503):
        storage.open_blob(SHA)
    assert SHA in caplog.text
    with refused("storage-unavailable", 503):
        storage.read_text(SHA)


def test_read_text(own_store: Path) -> None:
    sha = storage.put(io.BytesIO("caf\u00e9".encode() + b"\xff")).sha256
    assert storage.read_text(sha) == "caf\u00e9\ufffd"
    assert storage.read_text(sha, 3) == "caf"


def test_link(own_store: Path, tmp_path: Path) -> None:
    storage.put(io.BytesIO(DATA))
    storage.link(SHA, tmp_path / "adapter_model.safetensors")
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == DATA
    with refused("storage-unavailable", 503):
        storage.link("0" * 64, tmp_path / "other")
    assert not (tmp_path / "other").is_symlink()
