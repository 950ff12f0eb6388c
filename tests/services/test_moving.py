"""A hub that was exported and imported is the same hub."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from hub import storage
from hub.errors import HubError
from hub.models import AccessToken, Adapter, Blob, Composition, Neighbour, Pending, Profile, Revision, RevisionFile, User
from hub.models import Upload as Sent
from hub.services import accounts, adapters, moving, quotas, search, social, store
from tests.conftest import PASSWORD, Upload, commit, person
from tests.rows import fill
from tests.services.stage import measured

QUIET = lambda line: None  # noqa: E731


def rows() -> dict[str, list[Any]]:
    """Every row that moves, as it is."""
    return {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in moving.tables()}


def empty() -> None:
    """Make this hub one that was just migrated."""
    with connection.cursor() as cursor:
        names = [model._meta.db_table for model in reversed(moving.tables())]
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(names)} CASCADE")
        else:
            cursor.execute("PRAGMA foreign_keys = OFF")
            for name in [*names, *(model._meta.db_table for model in moving.LEFT_OUT)]:
                cursor.execute(f"DELETE FROM {name}")
            cursor.execute("PRAGMA foreign_keys = ON")
    for sha256 in list(storage.hashes()):
        storage.local_path(sha256).unlink()


@pytest.fixture
def hub(transactional_db: None, owner: User, friend: User, upload: Upload) -> Adapter:
    """A hub with something in every corner."""
    sums = upload(owner, "sums", tags=("maths",))
    secret = upload(friend, "secret", private=True, seed=1)
    measured(sums, 1, 0), measured(secret, 0.8, 0.6)
    commit(sums, {"notes.txt": b"more"})
    social.like(actor=friend, adapter=sums, on=True)
    accounts.create_token(actor=owner, name="mine", scope="write")
    return sums


# What no export holds, and why: made anew from the rest, uploads that nobody committed, what ends with the process or the browser, Django's own lists.
STAY = {
    *("hub.SearchText", "hub.Facet", "hub.Holding"),
    *("hub.Upload", "hub.DirectUpload", "hub.Worker"),
    *("sessions.Session", "usersessions.UserSession", "admin.LogEntry"),
    *("auth.Permission", "contenttypes.ContentType"),
}


def test_every_table_moves_or_stays_behind_on_purpose() -> None:
    assert {model._meta.label for model in apps.get_models()} == {model._meta.label for model in moving.tables()} | STAY
    assert not STAY & {model._meta.label for model in moving.tables()}


@pytest.mark.django_db(transaction=True)
def test_everything_comes_back(hub: Adapter, tmp_path: Path) -> None:
    awaited = Blob.objects.create(sha256="f" * 64, size=5)
    RevisionFile.objects.create(revision=hub.head, path="awaited.bin", blob=awaited)
    Pending.objects.create(blob=awaited, repo_id="acme/base", sha="0" * 40, path="awaited.bin")
    fill(moving.tables())
    fill(moving.LEFT_OUT)
    quotas.mend()
    social.refresh_trends()
    before, blobs = rows(), sorted(storage.hashes())
    assert all(before.values()), "a row of every table"
    moving.export_to(tmp_path / "out", QUIET)
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0, "it holds hashes of passwords"
    empty()
    done = moving.import_from(tmp_path / "out", QUIET)
    assert rows() == before and not Sent.objects.exists() and list(quotas.differences()) == [] and done.rows == sum(map(len, before.values()))
    assert sorted(storage.hashes()) == blobs and list(store.check()) == []
    found = search.adapters(actor=User.objects.get(username="friend"), q="maths").items
    assert [adapter.repo_id for adapter in found] == ["owner/sums"], "it is indexed"
    assert User.objects.get(username="owner").check_password(PASSWORD)
    later = adapters.create(actor=User.objects.get(username="owner"), name="later", private=False)
    assert later.pk > max(row["id"] for row in before["hub.Adapter"]), "the database counts on"
    assert person("newcomer").pk


@pytest.mark.django_db(transaction=True)
def test_what_is_known_of_bytes_that_nobody_has_stays_behind(hub: Adapter, friend: User, tmp_path: Path) -> None:
    Adapter.objects.filter(name="secret").update(head=None)
    Adapter.objects.get(name="secret").delete()
    assert Profile.objects.count() == 2 and Neighbour.objects.count() == 4
    moving.export_to(tmp_path / "out", QUIET)
    empty()
    moving.import_from(tmp_path / "out", QUIET)
    assert [row.revisions.first().adapter.name for row in Profile.objects.all()] == ["sums"] and Neighbour.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_second_export_writes_what_is_new(hub: Adapter, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    moving.export_to(folder, QUIET)
    old = {path: path.stat().st_mtime_ns for path in folder.glob("blobs/*/*/*")}
    commit(hub, {"notes.txt": b"again"})
    moving.export_to(folder, QUIET)
    now = {path: path.stat().st_mtime_ns for path in folder.glob("blobs/*/*/*")}
    assert old.items() < now.items() and len(now) == len(old) + 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("no-json", "export-missing"),
        ("version", "export-version"),
        ("blob-gone", "blob-missing"),
        ("blob-changed", "content-mismatch"),
        ("row-cut", "export-damaged"),
        ("rows-gone", "export-damaged"),
    ],
)
def test_a_damaged_export_changes_nothing(hub: Adapter, tmp_path: Path, damage: str, code: str) -> None:
    folder = tmp_path / "out"
    moving.export_to(folder, QUIET)
    empty()
    weights = Path(next(iter(sorted(folder.glob("blobs/*/*/*"), key=lambda path: -path.stat().st_size))))
    likes = folder / "rows" / "hub.like.jsonl"
    if damage == "no-json":
        (folder / "hub.json").unlink()
    elif damage == "version":
        about = json.loads((folder / "hub.json").read_text())
        (folder / "hub.json").write_text(json.dumps({**about, "migration": "0001_initial"}))
    elif damage == "blob-gone":
        weights.unlink()
    elif damage == "blob-changed":
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    elif damage == "row-cut":
        likes.write_text(likes.read_text()[:-20])
    else:
        likes.unlink()
    with pytest.raises(HubError) as refused:
        moving.import_from(folder, QUIET)
    assert refused.value.code == code
    assert not User.objects.exists() and not Revision.objects.exists() and not Blob.objects.exists() and not AccessToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_into_a_hub_that_is_in_use(hub: Adapter, tmp_path: Path) -> None:
    moving.export_to(tmp_path / "out", QUIET)
    with pytest.raises(CommandError, match=r"^hub-not-empty: "):
        call_command("import_hub", tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(CommandError, match=r"^folder-not-empty: "):
        call_command("export_hub", tmp_path / "other")
    assert Composition.objects.count() == 0 and Adapter.objects.count() == 2
