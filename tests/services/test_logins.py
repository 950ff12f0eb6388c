"""Logins of programs: what two do at once, what is kept, and what is forgotten."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from allauth.idp.oidc.models import Client, Token
from django.db import connection
from django.utils import timezone

from hub.errors import HubError
from hub.models import AccessToken, User
from hub.services import accounts, logins
from tests.program import Program, eager, let_in, whoami
from tests.web.conftest import client

pytestmark = [pytest.mark.usefixtures("eager", "db")]
__all__ = ["eager"]


def at_once(act: Callable[[], dict[str, Any]], times: int = 4) -> list[dict[str, Any]]:
    """Do the same several times at the same moment."""
    start = Barrier(times)

    def one(_: int) -> dict[str, Any]:
        start.wait()
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


@pytest.mark.django_db(transaction=True)
def test_a_code_makes_one_token(owner: User) -> None:
    program = Program()
    client(owner).post(program.page, {"answer": "grant", "name": "laptop", "scope": "write"})
    answers = at_once(program.poll)
    assert sorted(answer.get("error", "token") for answer in answers)[-1] == "token"
    assert sum("access_token" in answer for answer in answers) == AccessToken.objects.count() == Token.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_secret_renews_once(owner: User) -> None:
    program = Program()
    first = let_in(owner, program)
    answers = at_once(lambda: program.renew(first["refresh_token"]))
    assert sorted(answer.get("error", "token") for answer in answers) == ["invalid_grant"] * 3 + ["token"]
    assert AccessToken.objects.count() == 2 and Token.objects.count() == 1
    (fresh,) = (answer for answer in answers if "access_token" in answer)
    assert whoami(fresh["access_token"]) == 200 and "access_token" in program.renew(fresh["refresh_token"])


def test_the_programs_are_registered_once() -> None:
    logins.know_programs()
    logins.know_programs()
    assert Client.objects.get().get_grant_types() == ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]


def test_a_renewed_token_keeps_its_name_and_age(owner: User) -> None:
    program = Program()
    answer = let_in(owner, program, name="laptop")
    AccessToken.objects.update(created=timezone.now() - timedelta(days=6))
    program.renew(answer["refresh_token"])
    (shown,) = accounts.tokens(user=owner)
    assert shown.name == "laptop" and shown.created < timezone.now() - timedelta(days=5)
    assert shown.expiry > timezone.now() + timedelta(days=6)


def test_tokens_that_ended_make_room(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MAX_TOKENS", 1)
    let_in(owner, Program())
    with pytest.raises(HubError, match="Revoke one"):
        accounts.create_token(actor=owner, name="more", scope="read")
    AccessToken.objects.update(expiry=timezone.now())
    with pytest.raises(HubError, match="Revoke one"):  # it can still be renewed
        accounts.create_token(actor=owner, name="more", scope="read")
    Token.objects.update(expires_at=timezone.now())
    accounts.create_token(actor=owner, name="more", scope="read")


def test_nobody_answers_for_others(owner: User) -> None:
    program = Program()
    for actor in (None, User(username="ghost", is_active=False)):
        with pytest.raises(HubError, match="Log in"):
            logins.grant(actor=actor, device_code=program.asked["device_code"], name="x", scope="read")
        with pytest.raises(HubError, match="Log in"):
            logins.deny(actor=actor, device_code=program.asked["device_code"])
    assert program.poll()["error"] == "authorization_pending"
