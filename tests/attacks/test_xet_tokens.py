"""Who may begin and carry on an upload by Xet."""

import time
from typing import Any

import pytest
from django.core import signing
from django.test import Client

from hub.hf import xet
from hub.models import User
from hub.services import accounts, adapters
from tests.attacks.test_xet import RAW, SOUND
from tests.hf.test_xet import Sender, pending
from tests.raw_xet import whole


@pytest.fixture
def sender(owner: User) -> Sender:
    adapters.create(actor=owner, name="sums")
    return Sender(owner)


ADDRESS = "/api/models/owner/sums/xet-write-token/main"


def ask(user: User | None, scope: str = "write") -> Any:
    headers = {"Authorization": f"Bearer {accounts.create_token(actor=user, name='test', scope=scope)[1]}"} if user else {}
    return Client(headers=headers).get(ADDRESS)


def test_nobody(sender: Sender):
    assert ask(None).status_code == 401


def test_a_token_that_may_only_read(sender: Sender):
    assert ask(sender.user, "read").status_code == 403


def test_a_stranger(sender: Sender, stranger: User):
    assert ask(stranger).status_code == 403


def test_a_stranger_does_not_learn_of_a_private_adapter(sender: Sender, stranger: User):
    adapter = adapters.find(actor=sender.user, repo_id="owner/sums")
    adapters.update(actor=sender.user, adapter=adapter, private=True)
    answer = ask(stranger)
    assert answer.status_code == 404
    missing = Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=stranger, name='test', scope='write')[1]}"})
    assert missing.get("/api/models/owner/none/xet-write-token/main").content == answer.content


def carry_on(sender: Sender, token: str) -> int:
    sender.cas = Client(headers={"Authorization": f"Bearer {token}"} if token else {})
    codes = {sender.send(SOUND).status_code, sender.finish(whole(SOUND)).status_code, sender.ask(RAW).status_code}
    assert pending() == []
    assert len(codes) == 1
    return codes.pop()


@pytest.mark.parametrize("token", ["", "x", "é", "a:b:c", pytest.param(signing.dumps(1, salt="another"), id="another salt")])
def test_forged_tokens(sender: Sender, token: str):
    assert carry_on(sender, token) == 401


def test_an_expired_token(sender: Sender, monkeypatch: pytest.MonkeyPatch):
    token = sender.token
    later = time.time() + xet.TOKEN_SECONDS + 5
    monkeypatch.setattr(signing.time, "time", lambda: later)
    assert carry_on(sender, token) == 401


def test_an_access_token_is_no_upload_token(sender: Sender):
    assert carry_on(sender, accounts.create_token(actor=sender.user, name="test", scope="write")[1]) == 401


def test_an_upload_token_is_no_access_token(sender: Sender):
    assert sender.cas.get(ADDRESS).status_code == 401
    assert sender.cas.get("/api/v1/me").status_code == 401


def test_an_account_that_was_closed(sender: Sender):
    token = sender.token
    User.objects.filter(pk=sender.user.pk).update(is_active=False)
    assert carry_on(sender, token) == 401
