"""The page of a gated adapter: the button, the answer, and the owner's settings."""

from urllib.parse import quote

import pytest
from django.test import Client

from hub.models import AccessRequest, Adapter, User
from hub.services import adapters
from tests.conftest import Upload
from tests.web.conftest import page, text

FILE = "/owner/gated/files/adapter_config.json"


@pytest.fixture
def gated(owner: User, upload: Upload) -> Adapter:
    """A public adapter whose owner lets in whom they accept."""
    return adapters.update(actor=owner, adapter=upload(owner, "gated", card="# Gated\n\nFor those who ask.\n"), gated="manual")


def test_asking_and_being_let_in(gated: Adapter, as_owner: Client, as_stranger: Client) -> None:
    shown = page(as_stranger.get("/owner/gated"))
    assert "Ask for access" in shown and "For those who ask." in shown and "/owner/gated/zip" not in shown
    assert "Ask for access first" in shown and "Compose with it" not in shown
    assert as_stranger.post("/owner/gated/access").headers["Location"] == "/owner/gated"
    waiting = text(as_stranger.get("/owner/gated"))
    assert "has not answered yet" in waiting and 'action="/owner/gated/access"' not in waiting
    assert "1 person asks for the files" in text(as_owner.get("/owner/gated"))
    settings = page(as_owner.get("/owner/gated/settings"))
    assert 'aria-label="Accept stranger"' in settings
    answer = as_owner.post("/owner/gated/settings/access", {"user": "stranger", "status": "accepted"})
    assert answer.headers["Location"] == "/owner/gated/settings"
    settings = page(as_owner.get("/owner/gated/settings"))
    assert 'aria-label="Accept stranger"' not in settings and 'aria-label="Reject stranger"' in settings
    shown = page(as_stranger.get("/owner/gated"))
    assert "/owner/gated/zip" in shown and 'id="gate"' not in shown and "Compose with it" in shown
    assert as_stranger.get(FILE).status_code == 200
    as_owner.post("/owner/gated/settings/access", {"user": "stranger", "status": "rejected"})
    assert "has rejected your request" in text(as_stranger.get("/owner/gated"))
    refused = as_stranger.get(FILE)
    assert "/owner/gated" in page(refused, 403) and "You may not do this" in text(refused)


def test_whoever_asks(gated: Adapter, owner: User, as_stranger: Client) -> None:
    adapters.update(actor=owner, adapter=gated, gated="auto")
    assert "you have it at once" in text(as_stranger.get("/owner/gated"))
    assert "You may have its files now." in text(as_stranger.post("/owner/gated/access", follow=True))
    assert as_stranger.get("/owner/gated/zip").status_code == 200


def test_nobody_is_led_to_the_login_and_back(gated: Adapter, anonymous: Client) -> None:
    assert "Ask for access" in page(anonymous.get("/owner/gated"))
    for method, address in (("get", FILE), ("get", "/owner/gated/zip"), ("post", "/owner/gated/access")):
        answer = getattr(anonymous, method)(address)
        assert answer.status_code == 302 and answer.headers["Location"].startswith("/accounts/login/")
    assert quote(FILE, safe="") in anonymous.get(FILE).headers["Location"]


def test_settings(gated: Adapter, as_owner: Client) -> None:
    for given, kept in (("auto", "auto"), ("manual", "manual"), ("", ""), ("auto", "auto")):
        assert as_owner.post("/owner/gated/settings", {"gated": given, "private": "", "tags": ""}).status_code == 302
        assert Adapter.objects.get().gated == kept
    assert as_owner.post("/owner/gated/settings", {"private": "", "tags": "a"}).status_code == 302
    assert Adapter.objects.get().gated == "auto", "a form without the field opens nothing"
    assert 'class="error"' in page(as_owner.post("/owner/gated/settings", {"gated": "never", "private": "", "tags": ""}), 400)
    assert "gated" in text(as_owner.get("/adapters"))


def test_bad_answers(gated: Adapter, as_owner: Client, as_friend: Client, as_stranger: Client) -> None:
    as_stranger.post("/owner/gated/access")
    for given, status in (
        ({"user": "stranger", "status": "king"}, 400),
        ({"user": "friend", "status": "accepted"}, 404),
        ({"user": "\x00", "status": "accepted"}, 404),
        ({}, 404),
    ):
        assert as_owner.post("/owner/gated/settings/access", given).status_code == status
    assert as_friend.post("/owner/gated/settings/access", {"user": "stranger", "status": "accepted"}).status_code == 403
    assert AccessRequest.objects.get().status == "pending"
    assert as_owner.post("/owner/gated/access").status_code == 400
    assert as_stranger.get("/owner/gated/access").status_code == 405
