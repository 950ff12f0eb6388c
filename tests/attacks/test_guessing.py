"""Guessing without end: passwords, second factors, links to a new password and access tokens are all slowed down, and the right one comes too late."""

import pytest
from django.core import mail
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import User
from tests.conftest import PASSWORD
from tests.web.conftest import page, text
from tests.web.test_second_factor import SECOND, code, secret

pytestmark = pytest.mark.django_db
__all__ = ["secret"]
LOGIN = "/accounts/login/"


def test_one_password_for_many_accounts(owner: User, friend: User, stranger: User) -> None:
    """From one address, whichever names are tried; what a client claims to be forwarded for does not count."""
    for number in range(12):
        name = ("owner", "friend", "stranger")[number % 3]
        answer = Client(headers={"X-Forwarded-For": f"203.0.113.{number}"}).post(LOGIN, {"login": name, "password": "Summer2026!"})
    assert "Too many" in text(answer)
    assert Client().post(LOGIN, {"login": "owner", "password": PASSWORD}).status_code == 200, "the right one comes too late"


def test_codes_of_an_authenticator_app(secret: str) -> None:
    browser = Client()
    browser.post(LOGIN, {"login": "owner", "password": PASSWORD})
    said = [text(browser.post(SECOND, {"code": f"{number:06d}"})) for number in range(12)]
    assert "Incorrect code" in said[0] and "Too many" in said[-1]
    browser.post(SECOND, {"code": code(secret)})
    assert browser.get("/compositions").status_code == 302, "the right one comes too late"


def test_links_to_a_new_password(owner: User) -> None:
    codes = [Client().post("/accounts/password/reset/", {"email": "owner@example.org"}).status_code for _ in range(25)]
    assert codes[0] == 302 and codes[-1] == 429
    assert len(mail.outbox) <= 20
    one = page(Client().get(f"/accounts/password/reset/key/{owner.pk}-abc123-0123456789abcdef/"))
    other = page(Client().get("/accounts/password/reset/key/zzzz-abc123-0123456789abcdef/"))
    assert "used already" in one and "used already" in other


def test_nobody_learns_who_has_an_account(owner: User) -> None:
    """The answers for an address or a name that is there and for one that is not are the same to the letter."""
    for path, there, missing in (
        ("/accounts/password/reset/", {"email": "owner@example.org"}, {"email": "nobody@example.org"}),
        (LOGIN, {"login": "owner@example.org", "password": "wrong"}, {"login": "nobody@example.org", "password": "wrong"}),
    ):
        answers = [Client().post(path, given) for given in (there, missing)]
        said = [text(answer).replace("owner@", "nobody@") for answer in answers]
        assert said[0] == said[1] and answers[0].status_code == answers[1].status_code
        assert answers[0].headers.get("Location") == answers[1].headers.get("Location")


@pytest.mark.parametrize("address", ["/api/v1/me", "/api/whoami-v2"])
def test_access_tokens(owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    from hub.api.auth import _Guesses

    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"anon": "5/min", "user": "3000/min"}}
    monkeypatch.setattr(_Guesses, "THROTTLE_RATES", {"anon": "5/min"})
    codes = [Client(headers={"Authorization": f"Bearer mdl_{number:064x}"}).get(address).status_code for number in range(8)]
    assert codes == [401] * 5 + [429] * 3
