"""The pages of imports: the form, the list, progress, and what others see of it."""

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Import, User
from tests.conftest import Upload
from tests.web.conftest import page, text


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.IMPORTS = "https://hub.example"


def test_it_works(as_owner: Client, owner: User, upload: Upload) -> None:
    assert "hub.example" in page(as_owner.get("/upload/import")) and "/upload/import" in page(as_owner.get("/upload"))
    answer = as_owner.post("/upload/import", {"repo_id": "acme/my-lora", "private": "1"})
    row = Import.objects.get()
    assert answer["Location"] == f"/upload/import/{row.pk}" and row.private
    assert "Waiting for a worker" in text(as_owner.get(answer["Location"]))
    assert "acme/my-lora" in text(as_owner.get("/upload/import"))
    Import.objects.update(status="running", total=2_000_000, done=500_000, sha="c" * 40)
    live = as_owner.get(f"/upload/import/{row.pk}/progress")
    assert live.status_code == 200 and "500 kB of 2.00 MB" in text(live) and "cccccccccccc" in text(live)
    adapter = upload(owner, "my-lora")
    Import.objects.update(status="succeeded", adapter=adapter, done=2_000_000)
    over = as_owner.get(f"/upload/import/{row.pk}/progress")
    assert over.status_code == 286 and "It is published as owner/my-lora" in text(over)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"repo_id": ""}, "Give the id of an adapter."),
        ({"repo_id": "https://hub.example/a/b"}, "Addresses are not taken."),
        ({"repo_id": "a/b", "revision": "../x"}, "a branch, a tag or a commit"),
        ({"repo_id": "a/b", "name": "a b"}, "letters, digits, hyphens"),
        ({"repo_id": "a/sums"}, "exists already"),
    ],
)
def test_what_is_refused_keeps_what_was_typed(as_owner: Client, owner: User, upload: Upload, given: dict[str, str], words: str) -> None:
    upload(owner, "sums")
    html = page(as_owner.post("/upload/import", given), 400)
    assert words in html and all(f'value="{value}"' in html for value in given.values() if value) and not Import.objects.exists()


def test_a_failure_is_told(as_owner: Client, owner: User) -> None:
    row = Import.objects.create(owner=owner, repo_id="a/b", revision="main", name="b", status="failed", error_code="x", error_message="It <is> gated.")
    assert "It &lt;is&gt; gated." in page(as_owner.get(f"/upload/import/{row.pk}")) and 'value="a/b"' in page(as_owner.get("/upload/import?repo_id=a/b"))


def test_cancelling(as_owner: Client, owner: User) -> None:
    row = Import.objects.create(owner=owner, repo_id="a/b", revision="main", name="b")
    assert "Cancelled. Nothing was published." in text(as_owner.post(f"/upload/import/{row.pk}/cancel", follow=True))


def test_they_are_their_owners(as_stranger: Client, anonymous: Client, owner: User) -> None:
    row = Import.objects.create(owner=owner, repo_id="a/b", revision="main", name="b")
    for path in ("", "/progress"):
        assert as_stranger.get(f"/upload/import/{row.pk}{path}").status_code == 404
        assert anonymous.get(f"/upload/import/{row.pk}{path}").status_code == 302
    assert as_stranger.post(f"/upload/import/{row.pk}/cancel").status_code == 404
    assert "a/b" not in page(as_stranger.get("/upload/import"))


def test_turned_off(as_owner: Client, settings: Settings) -> None:
    settings.IMPORTS = ""
    assert "This hub does not import" in page(as_owner.get("/upload/import"))
    assert "turned imports off" in page(as_owner.post("/upload/import", {"repo_id": "a/b"}), 400) and not Import.objects.exists()
