"""A private adapter shows nowhere to anyone but its owner."""

import pytest
from django.test import Client

from hub.models import Adapter, User
from tests.conftest import Upload
from tests.web.conftest import compose, page, submit, text

NAMES = ("hush-plan", "hushtag", "hushword", "Hush")
LISTS = (
    "/",
    "/adapters",
    "/adapters?q=hush",
    "/adapters?q=hushword",
    "/adapters?tag=hushtag",
    "/adapters?owner=owner",
    "/owner",
    "/docs/composition",
)
PAGES = (
    "/owner/hush-plan",
    "/owner/hush-plan?revision=main",
    "/owner/hush-plan/revisions",
    "/owner/hush-plan/zip",
    "/owner/hush-plan/files/README.md",
    "/owner/hush-plan/files/adapter_model.safetensors",
)


@pytest.mark.parametrize("address", LISTS)
def test_lists_do_not_show_it(anonymous: Client, as_stranger: Client, as_owner: Client, secret: Adapter, address: str) -> None:
    for who in (anonymous, as_stranger):
        html = page(who.get(address)).replace('value="hush', "").replace("“hush", "")
        html = html.replace("hushword · ", "").replace("hush · ", "").replace(">hushword <", "").replace(">hush <", "").replace(">hushtag <", "")
        assert not [name for name in NAMES if name in html and f"={name}" not in address], address
        assert "hush-plan" not in html and "inside" not in html


def test_its_owner_sees_it(as_owner: Client, secret: Adapter) -> None:
    for address in ("/", "/adapters", "/adapters?q=hushword", "/adapters?tag=hushtag", "/owner", "/owner/hush-plan"):
        assert "hush-plan" in page(as_owner.get(address)), address
    for address in PAGES:
        assert as_owner.get(address).status_code == 200, address


@pytest.mark.parametrize("address", PAGES)
def test_hidden_is_the_same_as_missing(anonymous: Client, as_stranger: Client, secret: Adapter, address: str) -> None:
    for who in (anonymous, as_stranger):
        hidden, missing = who.get(address), who.get(address.replace("hush-plan", "no-plan"))
        assert hidden.status_code == missing.status_code == 404
        assert text(hidden) == text(missing)


def test_it_cannot_be_liked_or_added_to(as_stranger: Client, secret: Adapter) -> None:
    assert as_stranger.post("/owner/hush-plan/like", {"on": "1"}).status_code == 404
    assert as_stranger.get("/upload?to=owner/hush-plan").status_code == 404
    assert as_stranger.post("/upload?to=owner/hush-plan", {"message": "x"}).status_code == 404
    secret.refresh_from_db()
    assert secret.likes == 0


def test_counts_do_not_tell(anonymous: Client, as_stranger: Client, sums: Adapter, secret: Adapter) -> None:
    for who in (anonymous, as_stranger):
        assert "1 adapter" in text(who.get("/adapters")) and "2 adapter" not in text(who.get("/adapters"))
        assert "1 adapter," in text(who.get("/owner"))


def test_lineage_does_not_tell(anonymous: Client, as_stranger: Client, as_owner: Client, owner: User, friend: User, sums: Adapter, upload: Upload) -> None:
    parent = upload(owner, "was-public", seed=4)
    scores = {"base": {"accuracy": 0.1, "n": 9}, "best_single": {"accuracy": 0.2, "n": 9, "module": "owner/was-public"}, "composed": {"accuracy": 0.3, "n": 9}}
    compose(friend, {sums: 0.5, parent: 0.4}, scores=scores)
    assert "was-public" in page(anonymous.get("/friend/mix"))
    Adapter.objects.filter(pk=parent.pk).update(private=True)
    for who in (anonymous, as_stranger):
        html = page(who.get("/friend/mix"))
        assert "was-public" not in html and parent.head.short not in html and "a private adapter" in html
    assert "was-public" in page(as_owner.get("/friend/mix"))


def test_uses_do_not_tell(anonymous: Client, as_owner: Client, owner: User, sums: Adapter) -> None:
    compose(owner, {sums: 1.0}, name="quiet-mix", private=True, scores={})
    assert "quiet-mix" not in page(anonymous.get("/owner/sums")) and "Used in" not in page(anonymous.get("/owner/sums"))
    assert "quiet-mix" in page(as_owner.get("/owner/sums"))


def test_the_picker_does_not_tell(as_stranger: Client, as_owner: Client, sums: Adapter, secret: Adapter) -> None:
    for address in (
        "/compose",
        "/compose/modules?base_model=tiny/llama",
        "/compose/modules?base_model=tiny/llama&find=hush",
        "/compose/modules?base_model=tiny/llama&modules=owner/hush-plan",
    ):
        assert "hush-plan" not in page(as_stranger.get(address)), address
        assert "hush-plan" in page(as_owner.get(address)), address
    assert as_stranger.get("/compose?module=owner/hush-plan").status_code == 404


def test_a_base_model_that_only_a_private_adapter_has(as_stranger: Client, as_owner: Client, owner: User, upload: Upload, sums: Adapter) -> None:
    upload(owner, "rare", private=True, base="rare/base", seed=5)
    for address in ("/adapters", "/compose"):
        assert "rare/base" not in page(as_stranger.get(address)), address
        assert "rare/base" in page(as_owner.get(address)), address


def test_compositions_are_their_owners(as_stranger: Client, anonymous: Client, as_owner: Client, owner: User, sums: Adapter) -> None:
    job = submit(owner, "owner/sums", name="my-task", description="a hushed description")
    assert "my-task" in page(as_owner.get("/compositions")) and "my-task" not in page(as_stranger.get("/compositions"))
    for path in (f"/compositions/{job.pk}", f"/compositions/{job.pk}/progress", f"/compose?from={job.pk}"):
        assert as_owner.get(path).status_code in (200, 204)
        assert as_stranger.get(path).status_code == 404
        assert anonymous.get(path).status_code == 302
    assert as_stranger.post(f"/compositions/{job.pk}/cancel").status_code == 404
    job.refresh_from_db()
    assert job.status == "queued"
