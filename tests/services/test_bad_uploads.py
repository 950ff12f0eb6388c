"""Uploads that are refused or break, and change nothing."""

import errno
import io
import json
import os
import pickle
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from hub import adapter_format, storage
from hub.models import Adapter, Blob, Event, Revision, RevisionFile, User
from hub.services import adapters, intake
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import refused


def leftovers(settings: Settings) -> list[str]:
    """Temporary files that a broken upload left behind."""
    return [path.name for path in Path(settings.WORK_DIR).iterdir()]


def broken(kind: str) -> dict[str, bytes]:
    """An upload that must be refused, by what is wrong with it."""
    good = make.adapter()
    weights = good["adapter_model.safetensors"]
    length = int.from_bytes(weights[:8], "little")
    header = weights[8 : 8 + length]
    nan = bytearray(weights)
    nan[-4:] = b"\x00\x00\xc0\x7f"
    overlapping = header.replace(b"[0,512]", b"[1,513]", 1)
    changed = {
        "truncated": weights[:-10],
        "oversized header": (10**9).to_bytes(8, "little") + weights[8:],
        "overlapping": len(overlapping).to_bytes(8, "little") + overlapping + weights[8 + length :],
        "lying": weights + b"more",
        "nan": bytes(nan),
        "empty": b"",
        "not safetensors": b"hello",
    }
    if kind in changed:
        return {**good, "adapter_model.safetensors": changed[kind]}
    return {
        "mismatch": {**good, "adapter_config.json": make.adapter(rank=8)["adapter_config.json"]},
        "no config": {"adapter_model.safetensors": weights},
        "no weights": {"adapter_config.json": good["adapter_config.json"]},
        "pickle": {"adapter_config.json": good["adapter_config.json"], "adapter_model.bin": pickle.dumps([1])},
        "pickle pt": {"weights.pt": pickle.dumps([1])},
        "pickle as text": {"notes.txt": pickle.dumps([1])},
        "binary text": {"notes.txt": b"a\x00b"},
        "traversal": {"../secret.txt": b"x"},
        "absolute": {"/etc/passwd.txt": b"x"},
        "backslash": {"..\\secret.txt": b"x"},
        "nul": {"a\x00.txt": b"x"},
        "reserved": {"con.txt": b"x"},
        "git": {".git/config.txt": b"x"},
        "case": {"a.txt": b"x", "A.txt": b"y"},
        "file and folder": {"a.txt": b"x", "a.txt/b.txt": b"y"},
        "program": {"run.sh": b"rm"},
        "bad card": {"README.md": b"---\ntags: [\n---\n"},
        "bad config": {**good, "adapter_config.json": b"{nope"},
    }[kind]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("truncated", "weights-invalid"),
        ("oversized header", "weights-invalid"),
        ("overlapping", "weights-invalid"),
        ("lying", "weights-invalid"),
        ("empty", "weights-invalid"),
        ("not safetensors", "weights-invalid"),
        ("nan", "weights-not-finite"),
        ("mismatch", "config-mismatch"),
        ("bad config", "config-invalid"),
        ("no config", "config-missing"),
        ("no weights", "weights-missing"),
        ("pickle", "file-type-refused"),
        ("pickle pt", "file-type-refused"),
        ("pickle as text", "text-invalid"),
        ("binary text", "text-invalid"),
        ("traversal", "path-invalid"),
        ("absolute", "path-invalid"),
        ("backslash", "path-invalid"),
        ("nul", "path-invalid"),
        ("reserved", "path-invalid"),
        ("git", "path-invalid"),
        ("case", "path-duplicate"),
        ("file and folder", "path-conflict"),
        ("program", "file-type-refused"),
        ("bad card", "card-invalid"),
    ],
)
def test_a_bad_upload_changes_nothing(owner: User, upload: Upload, settings: Settings, kind: str, code: str) -> None:
    adapter = upload(owner, "mine", seed=3)
    empty = adapters.create(actor=owner, name="empty")
    complete = kind in ("no config", "no weights")  # on top of an adapter that has both, they are no fault
    for target in (empty,) if complete else (adapter, empty):
        with refused(code, 400):
            commit(target, broken(kind))
    assert Revision.objects.count() == 1 and Blob.objects.count() == 2 and not leftovers(settings)
    assert Adapter.objects.get(name="mine").head == adapter.head


def test_a_path_twice(owner: User, upload: Upload) -> None:
    twice = [adapters.Incoming("a.txt", io.BytesIO(data)) for data in (b"1", b"2")]
    with refused("path-duplicate", 400):
        adapters.commit(actor=owner, adapter=upload(owner, "mine"), files=twice)


def test_a_path_that_meets_an_old_one(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", card="# One\n")
    with refused("path-duplicate", 400):
        commit(adapter, {"readme.md": b"# Two\n"})


def test_a_refused_kind_is_not_even_stored(owner: User, own_store: Path) -> None:
    adapter = adapters.create(actor=owner, name="mine")
    with refused("file-type-refused", 400):
        commit(adapter, {"notes.txt": b"fine", "model.bin": b"\x80\x02"})
    assert not own_store.exists()


def test_too_large(owner: User, settings: Settings) -> None:
    adapter = adapters.create(actor=owner, name="mine")
    with refused("file-too-large", 413):
        commit(adapter, {"notes.txt": b"x" * 10_000_001})
    settings.MAX_WEIGHTS_BYTES = 100
    with refused("file-too-large", 413):
        commit(adapter, make.adapter())
    assert not Revision.objects.exists() and not leftovers(settings)


def test_the_limit_of_weights_is_the_setting(owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAX_WEIGHTS_BYTES = 3 * 2**30
    monkeypatch.setattr(storage, "put", lambda stream, limit, **more: storage.Stored("0" * 64, 2**31 + 1))
    assert intake.store(adapters.Incoming("adapter_model.safetensors", io.BytesIO()), owner).size > adapter_format.MAX_WEIGHTS_BYTES


class BrokenStream(io.BytesIO):
    """An upload that is cut off in the middle."""

    def read(self, size: int | None = -1) -> bytes:
        """Give one piece, then break."""
        if self.tell():
            raise ConnectionResetError("the client went away")
        return super().read(100)


def test_an_upload_cut_off_in_the_middle(owner: User, upload: Upload, settings: Settings, own_store: Path) -> None:
    adapter = upload(owner, "mine")
    before = sorted(own_store.rglob("*"))
    with refused("upload-cut-off", 400):
        adapters.commit(actor=owner, adapter=adapter, files=[adapters.Incoming("notes.txt", BrokenStream(b"x" * 1000))])
    assert Revision.objects.count() == 1 and not leftovers(settings) and sorted(own_store.rglob("*")) == before


@pytest.mark.parametrize(
    ("number", "code", "status"), [(errno.ENOSPC, "storage-full", 507), (errno.EDQUOT, "storage-full", 507), (errno.EIO, "storage-unavailable", 503)]
)
def test_a_full_disk(owner: User, upload: Upload, settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int, code: str, status: int) -> None:
    adapter = upload(owner, "mine")
    rows = [m.objects.count() for m in (Revision, RevisionFile, Blob, Event)]

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with refused(code, status):
            commit(adapter, {"notes.txt": b"one more"})
    assert [m.objects.count() for m in (Revision, RevisionFile, Blob, Event)] == rows
    assert not leftovers(settings)
    assert commit(adapter, {"notes.txt": b"one more"}).files.count() == 3, "and when there is room again, it works"


def test_a_blob_that_vanished(owner: User, upload: Upload, own_store: Path) -> None:
    adapter = upload(owner, "mine")
    row = adapter.head.files.get(path="adapter_model.safetensors")
    storage.local_path(row.blob_id).unlink()
    with refused("storage-unavailable", 503):
        commit(adapter, {"adapter_config.json": json.dumps(make.config(lora_dropout=0.1)).encode()})
    assert Adapter.objects.get().head == adapter.head
    assert commit(adapter, {**make.adapter(), "README.md": b"# Hi\n"}).files.count() == 3, "sending the bytes again mends the store"
