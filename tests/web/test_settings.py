"""The access tokens page."""

import re

from django.contrib.sessions.models import Session
from django.test import Client

from hub.models import AccessToken, User
from hub.services import accounts
from tests.web.conftest import page, text

TOKEN = re.compile(r"mdl_[0-9a-zA-Z]{40,}")


def test_it_works(as_owner: Client, owner: User) -> None:
    assert "You have none yet" in page(as_owner.get("/settings/tokens"))
    response = as_owner.post("/settings/tokens", {"name": "laptop", "scope": "write"})
    found = TOKEN.findall(page(response))
    assert len(set(found)) == 1 and "Copy it now." in text(response)
    row = AccessToken.objects.get()
    assert (row.user, row.name, row.scope) == (owner, "laptop", "write")
    me = Client(headers={"Authorization": f"Bearer {found[0]}"}).get("/api/v1/adapters?owner=owner")
    assert me.status_code == 200


def test_it_is_shown_once(as_owner: Client) -> None:
    response = as_owner.post("/settings/tokens", {"name": "laptop", "scope": "read"})
    token = TOKEN.search(page(response))[0]
    assert "no-store" in response["Cache-Control"]
    later = page(as_owner.get("/settings/tokens"))
    assert token not in later and "laptop" in later and TOKEN.search(later) is None
    assert all(token not in str(session.get_decoded()) for session in Session.objects.all())


def test_bad_names(as_owner: Client) -> None:
    for given in ({"name": "", "scope": "read"}, {"name": "x" * 61, "scope": "read"}, {"name": "a", "scope": "all"}, {"name": "a"}):
        assert 'class="error"' in page(as_owner.post("/settings/tokens", given), 400)
    assert not AccessToken.objects.exists()


def test_revoke(as_owner: Client, as_stranger: Client, owner: User) -> None:
    token, said = accounts.create_token(actor=owner, name="old-box", scope="read")
    assert as_stranger.post("/settings/tokens/revoke", {"digest": token.digest}).status_code == 404
    assert as_stranger.get("/settings/tokens").status_code == 200 and "old-box" not in page(as_stranger.get("/settings/tokens"))
    assert AccessToken.objects.count() == 1
    assert as_owner.post("/settings/tokens/revoke", {"digest": token.digest})["Location"] == "/settings/tokens"
    assert not AccessToken.objects.exists()
    assert Client(headers={"Authorization": f"Bearer {said}"}).get("/api/v1/adapters").status_code == 401


def test_only_for_people_with_an_account(anonymous: Client) -> None:
    assert anonymous.get("/settings/tokens")["Location"] == "/accounts/login/?next=%2Fsettings%2Ftokens"
    assert anonymous.post("/settings/tokens/revoke", {"digest": "x"})["Location"].startswith("/accounts/login/")
