"""Pruning removes what nothing speaks of and nothing else; checking finds every kind of damage."""

import hashlib
import io
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from hub import storage
from hub.models import Adapter, Blob, RevisionFile, User
from hub.services import adapters, profiles, store, uploads
from tests.conftest import commit
from tests.services.stage import profile_of

OLD = 100 * 3600


def age(*hashes: str, seconds: float = OLD) -> None:
    """Make bytes, and what is known of them, older than they are."""
    for sha256 in hashes:
        then = time.time() - seconds
        os.utime(storage.local_path(sha256), (then, then))
    Blob.objects.filter(pk__in=hashes).update(created_at=timezone.now() - timedelta(seconds=seconds))
    Blob.objects.filter(pk__in=hashes).exclude(condemned_at=None).update(condemned_at=timezone.now() - timedelta(seconds=seconds))


def put(data: bytes) -> str:
    """Store bytes that no row speaks of."""
    return storage.put(io.BytesIO(data)).sha256


def is_there(sha256: str) -> bool:
    """Whether the bytes lie in the store."""
    return storage.local_path(sha256).exists()


@pytest.fixture
def left(sums: Adapter, owner: User) -> list[str]:
    """The blobs of an adapter that was deleted long ago."""
    found = list(RevisionFile.objects.filter(revision__adapter=sums).values_list("blob_id", flat=True))
    Adapter.objects.filter(pk=sums.pk).update(head=None)
    sums.delete()
    age(*found)
    return found


def test_what_nothing_speaks_of_goes_at_the_second_look(left: list[str]) -> None:
    assert store.prune() == store.Pruned(condemned=len(left))
    assert all(is_there(sha256) for sha256 in left), "the first look only marks"
    assert store.prune().blobs == 0, "and a second one right after it removes nothing"
    age(*left)
    done = store.prune()
    assert done.blobs == len(left) and done.bytes > 0
    assert not any(is_there(sha256) for sha256 in left) and not Blob.objects.filter(pk__in=left).exists()


def test_what_was_measured_of_it_goes_with_it(sums: Adapter) -> None:
    row, blobs = profile_of(sums), list(RevisionFile.objects.values_list("blob_id", flat=True))
    taken = profiles.claim(profile_id=row.pk)
    Adapter.objects.filter(pk=sums.pk).update(head=None)
    sums.delete()
    for _ in range(2):
        age(*blobs)
        store.prune()
    assert profiles.status(profile_id=row.pk) == "gone" and taken is not None
    assert not profiles.finish(profile=taken, matrices=[], values=[], fingerprint=[]), "a worker was at it"


def test_what_is_in_use_stays(sums: Adapter) -> None:
    used = list(RevisionFile.objects.values_list("blob_id", flat=True))
    age(*used)
    for _ in range(3):
        assert store.prune(hours=0) == store.Pruned()
    assert all(is_there(sha256) for sha256 in used) and list(store.check()) == []


def test_a_commit_takes_the_mark_back(left: list[str], owner: User) -> None:
    store.prune()
    age(*left)
    adapter = adapters.create(actor=owner, name="again", private=False)
    commit(adapter, {"README.md": b"# again"})
    readme = RevisionFile.objects.get(revision__adapter=adapter).blob_id
    uploads.keep([storage.Stored(sha256, Blob.objects.get(pk=sha256).size) for sha256 in left[:1]])
    RevisionFile.objects.create(revision=adapter.revisions.get(), path="kept.bin", blob_id=left[0])
    assert store.prune().blobs == len(left) - 1
    assert is_there(left[0]) and is_there(readme)


def test_a_mark_that_somebody_forgot_is_taken_back(sums: Adapter) -> None:
    used = list(RevisionFile.objects.values_list("blob_id", flat=True))
    Blob.objects.update(condemned_at=timezone.now() - timedelta(days=30))
    assert store.prune().blobs == 0
    assert all(is_there(sha256) for sha256 in used) and not Blob.objects.exclude(condemned_at=None).exists()


def test_an_unfinished_upload_stays(owner: User) -> None:
    data = b"on its way"
    sha256 = hashlib.sha256(data).hexdigest()
    uploads.receive(user=owner, stream=io.BytesIO(data), sha256=sha256, size=len(data))
    age(sha256)
    assert store.prune(hours=0) == store.Pruned() and is_there(sha256)


def test_strays_go_when_nobody_has_put_them_again(db: None) -> None:
    young, old, again = put(b"young"), put(b"old"), put(b"again")
    age(old, again)
    assert put(b"again") == again, "somebody sends the same bytes, and has no row yet"
    assert store.prune() == store.Pruned(strays=1, bytes=len(b"old"))
    assert (is_there(young), is_there(old), is_there(again)) == (True, False, True)


def test_bytes_put_between_the_look_and_the_removal_stay(left: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    store.prune()
    age(*left)
    data = storage.local_path(left[0]).read_bytes()
    discard = storage.discard

    def late(sha256: str, *, before: float) -> int:
        if sha256 == left[0]:
            storage.put(io.BytesIO(data))
        return discard(sha256, before=before)

    monkeypatch.setattr(storage, "discard", late)
    store.prune()
    assert is_there(left[0]) and storage.local_path(left[0]).read_bytes() == data and not is_there(left[1])


def test_every_kind_of_damage_is_found_and_named(sums: Adapter, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check_store")
    assert capsys.readouterr().out == "Every blob is there and is what its row says.\n"
    files = {row.path: row.blob_id for row in RevisionFile.objects.filter(revision=sums.head)}
    _damage(storage.local_path(files["README.md"]), flip=True)
    _damage(storage.local_path(files["adapter_config.json"]), flip=False)
    storage.local_path(files["adapter_model.safetensors"]).unlink()
    head = sums.head
    assert head is not None
    found = {fault.sha256: fault for fault in store.check()}
    assert {path: found[sha256].what for path, sha256 in files.items() if sha256 in found} == {
        "README.md": "wrong-hash",
        "adapter_config.json": "wrong-size",
        "adapter_model.safetensors": "missing",
    }
    assert found[files["README.md"]].used_by == (f"owner/sums@{head.sha[:12]}:README.md",)
    assert {fault.what for fault in store.check(hashes=False)} == {"wrong-size", "missing"}
    with pytest.raises(SystemExit, match="1"):
        call_command("check_store")
    assert "missing" in capsys.readouterr().out


def _damage(path: Path, *, flip: bool) -> None:
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    if flip:
        data[-1] ^= 1
    path.write_bytes(bytes(data) if flip else bytes(data[:-1]))
