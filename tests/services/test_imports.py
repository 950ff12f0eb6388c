"""Imports of adapters from another hub: what is asked for, what is kept, and what their owner is told where it does not work."""

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from compose_worker import tasks
from hub import storage
from hub.errors import HubError
from hub.models import Adapter, Import, User
from hub.services import adapters, importing, imports
from tests import make, other_hub
from tests.conftest import Upload
from tests.other_hub import SHA, OtherHub
from tests.services.stage import refused, verbs

pytestmark = pytest.mark.django_db(transaction=True)
REPO = "acme/my-lora"
CARD = "---\nlicense: mit\ntags: [tiny]\n---\n# Mine\n\nAnswers tiny questions.\n"


@pytest.fixture
def other(settings: Settings) -> Iterator[OtherHub]:
    """Another hub with one adapter, among files that adapters do not have here."""
    with other_hub.running() as hub:
        settings.IMPORTS, settings.READ_THROUGH_SECONDS, settings.READ_THROUGH_TOKEN = hub.url, 1.0, "operators-own"
        more = {"adapter_model.bin": b"\x80\x02", "train.py": b"print()", "checkpoint-5/adapter_model.safetensors": b"x", "model.safetensors": b"x"}
        hub.models = {REPO: {**make.adapter(card=CARD), **more}}
        yield hub


def bring(row: Import) -> Import:
    """What the worker does with an import."""
    taken = importing.claim(import_id=row.pk)
    if taken is not None:
        try:
            importing.run(row=taken)
        except HubError as error:
            importing.fail(row=taken, code=error.code, message=error.message)
    row.refresh_from_db()
    return row


def ended(owner: User, repo_id: str = REPO, **more: Any) -> Import:
    return bring(imports.submit(actor=owner, repo_id=repo_id, **more))


def test_it_works(other: OtherHub, owner: User) -> None:
    row = imports.submit(actor=owner, repo_id=f" {REPO} ")
    assert (row.status, row.name, row.revision) == ("queued", "my-lora", "main") and not Adapter.objects.exists()
    row = bring(row)
    assert (row.status, row.sha, row.percent) == ("succeeded", SHA, 100), row.error_message
    assert row.left_out == ["adapter_model.bin", "checkpoint-5/adapter_model.safetensors", "model.safetensors", "train.py"]
    adapter = adapters.find(actor=owner, repo_id="owner/my-lora")
    assert row.adapter == adapter and adapter.composable and adapter.licence == "mit" and adapter.base_model == make.BASE
    files = {file.path: file.blob_id for file in adapter.head.files.all()}
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert files["adapter_model.safetensors"] == hashlib.sha256(other.models[REPO]["adapter_model.safetensors"]).hexdigest()
    card = storage.read_text(files["README.md"])
    assert card.startswith(CARD.rstrip()) and f"Imported from [{REPO}]({other.url}/{REPO}) at commit `{SHA}`." in card
    assert adapter.head.message == f"Import {REPO} from 127.0.0.1 at {SHA[:12]}"
    assert [verb for verb in verbs() if verb.startswith("import")] == ["import.submit", "import.succeed"]
    assert not [path for path in other.paths() if path.endswith((".bin", ".py", "/model.safetensors"))]
    assert not [headers for _, headers in other.asked if {"Authorization", "Cookie"} & headers.keys()], "no token goes there"


def test_without_a_card_it_gets_one(other: OtherHub, owner: User) -> None:
    del other.models[REPO]["README.md"]
    assert ended(owner, name="other-name", private=True).status == "succeeded"
    adapter = adapters.find(actor=owner, repo_id="owner/other-name")
    assert adapter.private and f"at commit `{SHA}`" in adapter.card_text


def test_a_second_time_what_is_here_is_not_fetched(other: OtherHub, owner: User) -> None:
    ended(owner)
    asked = len(other.paths("adapter_model.safetensors"))
    assert ended(owner, name="again", revision=SHA).status == "succeeded"
    assert len(other.paths("adapter_model.safetensors")) == asked == 1


def test_the_bytes_of_others_are_not_taken_by_their_hash(other: OtherHub, owner: User, stranger: User, upload: Upload) -> None:
    """A hub that lies about a hash gives nobody a private file that lies here under it."""
    upload(owner, "secret", private=True)
    weights = other.models[REPO]["adapter_model.safetensors"]
    other.bytes = lambda path, data: data[:-4] + b"\0\0\0\1" if data == weights else data
    row = ended(stranger)
    assert (row.status, row.error_code) == ("failed", "upstream-unavailable") and "not those that it announced" in row.error_message
    assert not Adapter.objects.filter(owner=stranger).exists()


@pytest.mark.parametrize(
    "repo_id",
    ["", "name", "a/b/c", "https://huggingface.co/a/b", "huggingface.co/a/b", "../etc", "a/..", "a/b..c", "a/b--c", "a/b?x=1", "a/b#c", "a/%2e", "a\\b/c",
     "a/b\nc", "[::1]/x", "a@b/c", "127.0.0.1:80/x", "a/é", "a /b", "a/" + "b" * 97],
)  # fmt: skip
def test_only_ids(other: OtherHub, owner: User, repo_id: str) -> None:
    with refused("repo-id-invalid", 400):
        imports.submit(actor=owner, repo_id=repo_id)
    assert not other.asked and not Import.objects.exists()


@pytest.mark.parametrize("revision", ["../main", "a//b", "a b", "main?x", "-x", "é", "a" * 101])
def test_only_revisions(other: OtherHub, owner: User, revision: str) -> None:
    with refused("revision-invalid", 400):
        imports.submit(actor=owner, repo_id=REPO, revision=revision)


def test_who_may(other: OtherHub, owner: User, stranger: User, upload: Upload, settings: Settings) -> None:
    upload(owner, "taken")
    with refused("forbidden", 403):
        imports.submit(actor=owner, repo_id=REPO, owner="stranger")
    with refused("name-taken", 409):
        imports.submit(actor=owner, repo_id=REPO, name="Taken")
    row = imports.submit(actor=owner, repo_id=REPO, owner="owner")
    with refused("name-taken", 409):
        imports.submit(actor=owner, repo_id=REPO)
    with refused("not-found", 404):
        imports.find(actor=stranger, import_id=row.pk)
    with refused("not-found", 404):
        imports.cancel(actor=stranger, row=row)
    for number in range(imports.MAX_ACTIVE - 1):
        imports.submit(actor=owner, repo_id=REPO, name=f"more-{number}")
    with refused("too-many-imports", 429):
        imports.submit(actor=owner, repo_id=REPO, name="one-more")
    settings.IMPORTS = ""
    with refused("imports-off", 403):
        imports.submit(actor=stranger, repo_id=REPO)


CHANGES: dict[str, tuple[Any, str, str]] = {
    "missing": (lambda hub: hub.models.clear(), "import-not-found", "does not exist, or is private"),
    "gated": (lambda hub: setattr(hub, "listing", lambda found: {**found, "gated": "manual"}), "import-gated", "is gated"),
    "no adapter": (lambda hub: hub.models.update({REPO: other_hub.model()}), "import-not-an-adapter", "no adapter_config.json"),
    "pickled": (lambda hub: hub.models[REPO].pop("adapter_model.safetensors"), "import-no-weights", "pickle"),
    "broken weights": (lambda hub: hub.models[REPO].update({"adapter_model.safetensors": b"\x80\x04" + bytes(99)}), "weights-invalid", "adapter_model"),
    "a link for a config": (lambda hub: hub.models[REPO].update({"adapter_config.json": b"../../../etc/passwd"}), "config-invalid", "adapter_config"),
    "led inside": (lambda hub: setattr(hub, "redirect", lambda path: "http://169.254.169.254/latest"), "upstream-unavailable", "redirects to a place"),
    "led to a port": (lambda hub: setattr(hub, "redirect", lambda path: "https://huggingface.co:22/x"), "upstream-unavailable", "redirects to a place"),
    "led to a file": (lambda hub: setattr(hub, "redirect", lambda path: "file:///etc/passwd"), "upstream-unavailable", ""),
    "endless": (lambda hub: setattr(hub, "bytes", lambda path, data: data + b" " * 9), "upstream-unavailable", "more bytes than it announced"),
    "cut off": (lambda hub: setattr(hub, "bytes", lambda path, data: data[:-1]), "upstream-unavailable", "not those that it announced"),
    "hostile names": (
        lambda hub: setattr(hub, "listing", lambda found: {**found, "siblings": [{**f, "rfilename": f"../{f['rfilename']}"} for f in found["siblings"]]}),
        "import-not-an-adapter",
        "",
    ),
    "down": (lambda hub: setattr(hub, "status", 503), "upstream-unavailable", "it answers 503"),
}


@pytest.mark.parametrize(("change", "code", "words"), CHANGES.values(), ids=CHANGES.keys())
def test_what_cannot_be_imported_says_why(other: OtherHub, owner: User, change: Any, code: str, words: str) -> None:
    change(other)
    row = ended(owner)
    assert (row.status, row.error_code) == ("failed", code), row.error_message
    assert words in row.error_message and row.error_message.endswith((".", '"'))
    assert not Adapter.objects.exists() and "Authorization" not in str(other.asked)


def test_too_large(other: OtherHub, owner: User, settings: Settings) -> None:
    settings.MAX_WEIGHTS_BYTES = 100
    row = ended(owner)
    assert row.error_code == "import-too-large" and not other.paths("/resolve/"), "nothing was fetched"


def test_cancelled_and_taken_over(other: OtherHub, owner: User, settings: Settings) -> None:
    row = imports.submit(actor=owner, repo_id=REPO)
    taken = importing.claim(import_id=row.pk)
    assert taken is not None and importing.claim(import_id=row.pk) is None
    imports.cancel(actor=owner, row=row)
    with pytest.raises(importing.LostClaim):
        importing.run(row=taken)
    importing.fail(row=taken, code="late", message="Late.")
    row.refresh_from_db()
    assert row.status == "cancelled" and not Adapter.objects.exists()
    left = imports.submit(actor=owner, repo_id=REPO)
    importing.claim(import_id=left.pk)
    assert importing.ring() == 0
    Import.objects.filter(pk=left.pk).update(heartbeat_at="2026-01-01T00:00Z", rung_at=None)
    assert importing.ring() == 1 and bring(left).status == "succeeded"
    with refused("already-over", 409):
        imports.cancel(actor=owner, row=left)


def test_whoever_took_the_name_meanwhile_keeps_it(other: OtherHub, owner: User, upload: Upload) -> None:
    row = imports.submit(actor=owner, repo_id=REPO)
    upload(owner, "my-lora")
    row = bring(row)
    assert (row.status, row.error_code) == ("failed", "name-taken") and Adapter.objects.count() == 1


def test_the_worker_brings_it_over_beside_other_work(other: OtherHub, owner: User) -> None:
    row = imports.submit(actor=owner, repo_id=REPO)
    gone = imports.submit(actor=owner, repo_id="acme/gone")
    assert [tasks.fetch(row.pk), tasks.fetch(gone.pk)] == ["begun", "begun"]
    for thread in threading.enumerate():
        if thread.name.startswith("import-"):
            thread.join(20)
    row.refresh_from_db()
    gone.refresh_from_db()
    assert (row.status, gone.status, gone.error_code) == ("succeeded", "failed", "import-not-found")
    assert tasks.fetch(row.pk) == "nothing-to-do"
