"""Signing up, logging in and out, passwords and addresses, in our templates."""

import re

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.test import Client

from hub.models import User
from tests.conftest import PASSWORD
from tests.web.conftest import page, text

NEW = {"username": "newcomer", "email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}


def test_sign_up_works(anonymous: Client) -> None:
    assert "first part of the address" in text(anonymous.get("/accounts/signup/"))
    assert anonymous.post("/accounts/signup/", {**NEW, "username": "NewComer"})["Location"] == "/"
    assert User.objects.get().username == "newcomer"
    assert "newcomer" in page(anonymous.get("/"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"username": "two--hyphens"}, "lower-case letters"),
        ({"username": "with space"}, "lower-case letters"),
        ({"username": "settings"}, "reserved"),
        ({"username": "adapters"}, "reserved"),
        ({"username": "owner"}, "taken"),
        ({"email": "owner@example.org"}, "already"),
        ({"email": "nowhere"}, "valid email"),
        ({"password1": "123", "password2": "123"}, "too short"),
        ({"password2": "other words here"}, "same password"),
    ],
)
def test_bad_sign_ups(anonymous: Client, owner: User, more: dict[str, str], words: str) -> None:
    response = anonymous.post("/accounts/signup/", {**NEW, **more})
    html = page(response)
    assert words in text(response) and 'aria-invalid="true"' in html and 'class="error"' in html
    assert User.objects.count() == 1
    if "username" not in more:
        assert 'value="newcomer"' in html


def test_sign_up_can_be_closed(anonymous: Client, settings) -> None:
    settings.SIGNUP_OPEN = False
    assert "Sign-up is closed" in page(anonymous.get("/accounts/signup/"))
    anonymous.post("/accounts/signup/", NEW)
    assert not User.objects.exists()


def test_log_in_and_out(anonymous: Client, owner: User) -> None:
    for name in ("owner", "OWNER", "owner@example.org"):
        assert anonymous.post("/accounts/login/", {"login": name, "password": PASSWORD})["Location"] == "/"
        assert 'href="/compositions"' in page(anonymous.get("/"))
        assert anonymous.get("/accounts/logout/").status_code == 200
        assert 'href="/compositions"' in page(anonymous.get("/")), "a link alone logs nobody out"
        anonymous.post("/accounts/logout/")
        assert 'href="/compositions"' not in page(anonymous.get("/"))


def test_a_wrong_password(anonymous: Client, owner: User) -> None:
    response = anonymous.post("/accounts/login/", {"login": "owner", "password": "wrong"})
    assert "not correct" in text(response) and 'role="alert"' in page(response)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"])
def test_logging_in_leads_nowhere_else(anonymous: Client, owner: User, target: str) -> None:
    response = anonymous.post("/accounts/login/", {"login": "owner", "password": PASSWORD, "next": target})
    assert response["Location"] == "/"


def test_logging_in_leads_back(anonymous: Client, owner: User) -> None:
    assert 'value="/compose?from=3"' in page(anonymous.get("/accounts/login/?next=/compose%3Ffrom%3D3"))
    assert anonymous.post("/accounts/login/", {"login": "owner", "password": PASSWORD, "next": "/compose"})["Location"] == "/compose"


def test_a_forgotten_password(anonymous: Client, owner: User) -> None:
    assert "Send the link" in page(anonymous.get("/accounts/password/reset/"))
    assert anonymous.post("/accounts/password/reset/", {"email": "owner@example.org"})["Location"] == "/accounts/password/reset/done/"
    assert "Look into your mailbox" in page(anonymous.get("/accounts/password/reset/done/"))
    link = re.search(rf"{settings.PUBLIC_URL}(/\S+)", mail.outbox[0].body)[1]
    form = anonymous.get(link, follow=True)
    assert "Set a new password" in page(form)
    anonymous.post(form.request["PATH_INFO"], {"password1": "another long phrase", "password2": "another long phrase"})
    assert Client().post("/accounts/login/", {"login": "owner", "password": "another long phrase"}).status_code == 302
    assert "used already" in page(anonymous.get(link, follow=True))


def test_change_the_password(as_owner: Client) -> None:
    given = {"oldpassword": PASSWORD, "password1": "another long phrase", "password2": "another long phrase"}
    assert "Your password now" in page(as_owner.get("/accounts/password/change/"))
    assert as_owner.post("/accounts/password/change/", {**given, "oldpassword": "wrong"}).status_code == 200
    as_owner.post("/accounts/password/change/", given)
    assert User.objects.get().check_password("another long phrase")


def test_the_address_page(as_owner: Client) -> None:
    assert "E-mail address" in page(as_owner.get("/accounts/email/"))
    as_owner.post("/accounts/email/", {"action_add": "", "email": "more@example.org"})
    html = page(as_owner.get("/accounts/email/"))
    assert "more@example.org" in html and "not confirmed" in html
    link = re.search(rf"{settings.PUBLIC_URL}(/\S+)", mail.outbox[-1].body)[1]
    assert "Confirm your e-mail address" in page(as_owner.get(link))
    as_owner.post(link)
    assert "more@example.org in use confirmed" in text(as_owner.get("/accounts/email/"))


@pytest.mark.parametrize(
    "name", ["signup", "login", "logout", "password/reset", "password/reset/done", "password/change", "email", "confirm-email", "inactive"]
)
def test_every_account_page_wears_our_clothes(as_owner: Client, anonymous: Client, name: str) -> None:
    for who in (as_owner, anonymous):
        html = page(who.get(f"/accounts/{name}/", follow=True))
        assert 'class="topbar"' in html and "Menu:" not in html


def test_guessing_passwords_is_slowed_down(anonymous: Client, owner: User) -> None:
    for _ in range(30):
        response = anonymous.post("/accounts/login/", {"login": "owner", "password": "guess"})
    said = text(response)
    assert "Too many" in said
    assert "Too many" in text(anonymous.post("/accounts/login/", {"login": "owner", "password": PASSWORD}))


def test_a_link_that_confirms_an_address_may_be_sent_twice(owner: User, anonymous: Client) -> None:
    address = EmailAddress.objects.create(user=owner, email="second@example.org")
    link = f"/accounts/confirm-email/{EmailConfirmationHMAC(address).key}/"
    for _ in range(2):
        assert anonymous.post(link, follow=True).status_code == 200
    address.refresh_from_db()
    assert address.verified and "used already" in page(anonymous.post(link))


def test_a_link_that_is_not_sent_again_so_soon_is_told(as_owner: Client) -> None:
    as_owner.post("/accounts/email/", {"email": "more@example.org", "action_add": ""})
    before = len(mail.outbox)
    said = text(as_owner.post("/accounts/email/", {"email": "more@example.org", "action_send": ""}, follow=True))
    assert len(mail.outbox) == before and "more@example.org was sent a link less than three minutes ago." in said
    cache.clear()  # of the rate limit
    said = text(as_owner.post("/accounts/email/", {"email": "more@example.org", "action_send": ""}, follow=True))
    assert len(mail.outbox) == before + 1 and "less than three minutes" not in said and "more@example.org" in said
