"""Codes of authenticator apps, recovery codes and sessions: they guard the account's door and leave tokens and device logins as they are."""

import re
import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.core import mail
from django.test import Client, override_settings

from hub.models import AccessToken, User
from hub.services import accounts
from hub.web.accounts import SecretsAdapter
from tests.conftest import PASSWORD
from tests.web.conftest import page, text

LOGIN, SECOND = "/accounts/login/", "/accounts/2fa/authenticate/"


def code(secret: str, *, periods: int = 0) -> str:
    """What an authenticator app shows now, or some periods of 30 seconds later."""
    return totp.format_hotp_value(totp.hotp_value(secret, int(time.time()) // 30 + periods))


def logged_in(secret: str = "", name: str = "owner") -> Client:
    """A browser in which somebody has logged in, and has said just now that it is them."""
    browser = Client()
    browser.post(LOGIN, {"login": name, "password": PASSWORD})
    if secret:
        browser.post(SECOND, {"code": code(secret)})
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return browser


@pytest.fixture
def secret(owner: User) -> str:
    """The secret of the owner's authenticator app, set up through the pages."""
    browser = logged_in()
    shown = re.search(r'id="secret" value="(\w+)"', page(browser.get("/accounts/2fa/totp/activate/")))
    assert shown is not None
    assert "Incorrect code" in text(browser.post("/accounts/2fa/totp/activate/", {"code": "000000"}))
    assert browser.post("/accounts/2fa/totp/activate/", {"code": code(shown[1])}).status_code == 302
    totp.TOTP(Authenticator.objects.get(type="totp"))  # it can be read back
    return shown[1]


def test_setting_up_asks_for_the_password_again(as_owner: Client) -> None:
    assert as_owner.get("/accounts/2fa/totp/activate/")["Location"].startswith("/accounts/reauthenticate/")
    assert "Give your password once more" in text(as_owner.get("/accounts/2fa/totp/activate/", follow=True))


def test_the_secret_is_not_in_the_database_as_it_is(secret: str) -> None:
    stored = Authenticator.objects.get(type="totp").data["secret"]
    assert secret not in stored and SecretsAdapter().decrypt(stored) == secret
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[]):
        assert SecretsAdapter().decrypt(stored) not in (secret, SecretsAdapter().decrypt(stored)), "with another key no code is right"


def test_the_password_alone_is_not_enough(secret: str, sums: object) -> None:
    browser = Client()
    assert browser.post(LOGIN, {"login": "owner", "password": PASSWORD})["Location"] == SECOND
    for address in ("/compositions", "/settings/tokens", "/accounts/2fa/", "/login/device", "/admin/", "/upload"):
        assert browser.get(address).status_code == 302, address
    assert browser.post("/owner/sums/like", {"on": "1"})["Location"].startswith("/accounts/login")
    browser.get("/api/v1/me")
    assert browser.get("/api/v1/me").status_code == 401
    assert "Incorrect code" in text(browser.post(SECOND, {"code": "000000"})) and browser.get("/compositions").status_code == 302
    assert 'class="topbar"' in page(browser.get(SECOND))
    browser.post(SECOND, {"code": code(secret)})
    assert browser.get("/compositions").status_code == 200


def test_clocks_may_differ_by_half_a_minute(secret: str) -> None:
    def let_in(periods: int) -> bool:
        browser = Client()
        browser.post(LOGIN, {"login": "owner", "password": PASSWORD})
        return browser.post(SECOND, {"code": code(secret, periods=periods)}).status_code == 302

    assert not let_in(-3) and not let_in(3)
    assert let_in(-1)


def test_tokens_and_programs_go_on(secret: str, owner: User) -> None:
    _, token = accounts.create_token(actor=owner, name="laptop", scope="write")
    api = Client(headers={"Authorization": f"Bearer {token}"})
    assert api.get("/api/v1/me").json()["username"] == "owner" and api.get("/api/whoami-v2").json()["name"] == "owner"
    assert api.get("/settings/tokens").status_code == 302 and api.get("/accounts/2fa/").status_code == 302, "a token opens no page"
    assert AccessToken.objects.count() == 1


def test_recovery_codes_work_once(secret: str) -> None:
    browser = logged_in(secret)
    browser.post("/accounts/2fa/recovery-codes/generate/")
    spare = re.findall(r"\b\d{8}\b", page(browser.get("/accounts/2fa/recovery-codes/")))
    assert len(spare) == 10 and "10 of 10" in text(browser.get("/accounts/2fa/"))
    for status in (200, 302):
        other = Client()
        other.post(LOGIN, {"login": "owner", "password": PASSWORD})
        other.post(SECOND, {"code": spare[0]})
        assert other.get("/compositions").status_code == status


def test_turning_it_off(secret: str) -> None:
    browser = logged_in(secret)
    assert "Turn it off" in page(browser.get("/accounts/2fa/totp/deactivate/"))
    browser.post("/accounts/2fa/totp/deactivate/")
    assert mail.outbox[-1].to == ["owner@example.org"] and "deactivated" in mail.outbox[-1].body.lower()
    assert logged_in().get("/compositions").status_code == 200


def test_nobody_gets_at_another_ones_keys(secret: str, friend: User) -> None:
    as_friend = logged_in(name="friend")
    key = Authenticator.objects.create(user=User.objects.get(username="owner"), type="webauthn", data={"name": "phone", "credential": {}})
    for what in ("edit", "remove"):
        assert as_friend.get(f"/accounts/2fa/webauthn/keys/{key.pk}/{what}/").status_code == 404
        assert as_friend.post(f"/accounts/2fa/webauthn/keys/{key.pk}/{what}/", {"name": "mine"}).status_code == 404
    assert Authenticator.objects.filter(pk=key.pk, data__name="phone").exists()


def test_sessions(owner: User) -> None:
    here, there = logged_in(), logged_in()
    assert "Log out everywhere else" in page(here.get("/accounts/sessions/"))
    here.post("/accounts/sessions/")
    assert here.get("/compositions").status_code == 200 and there.get("/compositions").status_code == 302
    assert "nowhere else" in text(here.get("/accounts/sessions/"))


def test_the_pages_of_settings(owner: User) -> None:
    browser = logged_in()
    for address in (
        "/settings/profile",
        "/accounts/email/",
        "/accounts/password/change/",
        "/accounts/2fa/",
        "/accounts/2fa/webauthn/",
        "/accounts/2fa/webauthn/add/",
    ):
        html = page(browser.get(address))
        assert 'aria-label="Settings"' in html and 'aria-current="page"' in html, address
    assert "data-passkey hidden" in page(browser.get("/accounts/2fa/webauthn/add/")) and "Use a passkey" in page(Client().get(LOGIN))
    assert page(Client().get(LOGIN)).count("/accounts/password/reset/") == 1


def test_a_profile(as_owner: Client, anonymous: Client, owner: User) -> None:
    given = {"display_name": "Field <b>Notes</b>", "about": "Small\nadapters.", "website": "https://example.org/notes"}
    as_owner.post("/settings/profile", given)
    html = page(anonymous.get("/owner"))
    assert "Field &lt;b&gt;Notes&lt;/b&gt;" in html and "Small adapters." in html and 'href="https://example.org/notes" rel="nofollow' in html
    for website in ("javascript:alert(1)", "ftp://example.org", "example.org", "data:text/html,x"):
        assert "begins with https://" in text(as_owner.post("/settings/profile", {**given, "website": website}))
    assert as_owner.post("/settings/profile", {**given, "about": "x" * 501}).status_code == 400
    assert User.objects.get(pk=owner.pk).website == "https://example.org/notes"
    assert anonymous.get("/settings/profile").status_code == 302
