"""Logging in a program through the browser: whoever does not hold what it takes gets nothing, and leaves nothing behind."""

import time
from datetime import timedelta
from typing import Any

import pytest
from allauth.idp.oidc.models import Client as Registered
from allauth.idp.oidc.models import Token
from django.contrib import admin
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub.models import AccessToken, Event, User
from hub.services import logins
from tests.program import DEVICE_CODE, Program, eager, let_in, send, whoami
from tests.web.conftest import client, page, text

pytestmark = [pytest.mark.usefixtures("eager", "db")]
__all__ = ["eager"]
GRANT = {"answer": "grant", "name": "laptop", "scope": "write"}


def nothing() -> None:
    """No login came of it."""
    assert not AccessToken.objects.exists() and not Token.objects.exists()


# Guessing


def test_guessing_codes(owner: User) -> None:
    program, guesser = Program(), client(owner)
    codes = [guesser.get(f"/login/device?code=BBBB-BB{a}{b}").status_code for a in "BCDFG" for b in "BCDFGH"]
    assert codes == [400] * 20 + [429] * 10
    assert guesser.post(program.page, GRANT).status_code == 429, "the right one comes too late"
    assert program.poll()["error"] == "authorization_pending"


def test_guessing_with_many_accounts_from_one_address(owner: User, friend: User, stranger: User, settings: Settings) -> None:
    settings.IDP_OIDC_RATE_LIMITS = {"device_user_code": "4/m/ip,2/m/user"}
    codes = [client(who).get("/login/device?code=BBBB-BBBB").status_code for who in (owner, owner, friend, friend, stranger)]
    assert codes == [400, 400, 400, 400, 429]


def test_behind_a_proxy_the_address_is_the_askers(owner: User, settings: Settings) -> None:
    settings.IDP_OIDC_RATE_LIMITS = {"device_user_code": "1/m/ip"}
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    guess = lambda forwarded: client(owner).get("/login/device?code=BBBB-BBBB", headers={"X-Forwarded-For": forwarded}).status_code  # noqa: E731
    assert [guess("203.0.113.1"), guess("203.0.113.2"), guess("198.51.100.9, 203.0.113.1")] == [400, 400, 429], "what the asker claims does not count"


def test_asking_without_end() -> None:
    http = Client()
    answers = [send(http, "device", client_id=logins.HF) for _ in range(31)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert answers[-1].json()["error"] == "slow_down" and answers[-1]["Retry-After"]


def test_asking_too_fast(settings: Settings) -> None:
    settings.IDP_OIDC_DEVICE_CODE_INTERVAL = 3
    program = Program()
    assert [program.poll()["error"], program.poll()["error"]] == ["authorization_pending", "slow_down"]


# The person's part


def test_a_form_of_another_site(owner: User) -> None:
    program, victim = Program(), Client(enforce_csrf_checks=True)
    victim.force_login(owner)
    assert victim.post(program.page, GRANT).status_code == 403
    assert program.poll()["error"] == "authorization_pending"


def test_a_link_alone_answers_nothing(owner: User) -> None:
    program = Program()
    client(owner).get(f"{program.page}&answer=grant&name=laptop&scope=write")
    assert program.poll()["error"] == "authorization_pending"
    nothing()


def test_nobody_answers() -> None:
    program = Program()
    assert Client().post(program.page, GRANT)["Location"].startswith("/accounts/login/")
    assert program.poll()["error"] == "authorization_pending"


@pytest.mark.parametrize(
    "given", ["CALL 555 0100 NOW", "<script>alert(1)</script>", "A" * 5000, "\x00", "\u200b\u202e", "BCDF-GHJK&next=https://evil.example/"]
)
def test_texts_of_strangers(owner: User, given: str) -> None:
    said = client(owner).get("/login/device", {"code": given, "next": "https://evil.example/", "user_code": given, "message": given})
    assert said.status_code in (200, 400) and "Location" not in said
    html = page(said, said.status_code)
    assert "555" not in html and "alert(1)" not in html and "evil" not in html and "A" * 9 not in html


def test_a_program_cannot_call_itself_something(owner: User) -> None:
    program = Program()
    program.http = Client(headers={"User-Agent": "Your hub's operator"})
    assert program.ask(client_name="Your hub's operator")["error"] == "invalid_request"
    program.asked = program.ask()
    assert "operator" not in text(client(owner).get(program.page))


def test_the_page_cannot_be_framed_or_kept(owner: User) -> None:
    said = client(owner).get(Program().page)
    assert said["X-Frame-Options"] == "DENY" and "frame-ancestors 'none'" in said["Content-Security-Policy"]
    assert "no-store" in said["Cache-Control"]


# Codes


def test_a_code_is_answered_once(owner: User, stranger: User) -> None:
    program = Program()
    client(owner).post(program.page, GRANT)
    assert client(stranger).post(program.page, GRANT).status_code == 400
    assert client(owner).post(program.page, {"answer": "deny"}).status_code == 400
    assert "access_token" in program.poll() and AccessToken.objects.get().user == owner


def test_a_code_is_used_once(owner: User) -> None:
    program = Program()
    let_in(owner, program)
    assert program.poll()["error"] == "expired_token"
    assert AccessToken.objects.count() == 1


def test_a_code_is_not_used_twice_at_once(owner: User) -> None:
    program = Program()
    client(owner).post(program.page, GRANT)
    with logins.alone(program.asked["device_code"]) as held:
        assert held and program.poll()["error"] == "slow_down"
        nothing()
    assert "access_token" in program.poll()


def test_a_refused_code_stays_refused(owner: User) -> None:
    program = Program()
    client(owner).post(program.page, {"answer": "deny"})
    assert program.poll()["error"] == "access_denied"
    assert client(owner).post(program.page, GRANT).status_code == 400
    assert "access_token" not in program.poll()
    nothing()


def test_a_code_becomes_too_old(owner: User, settings: Settings) -> None:
    settings.IDP_OIDC_DEVICE_CODE_EXPIRES_IN = 1
    asked, granted = Program(), Program()
    client(owner).post(granted.page, GRANT)
    time.sleep(1.1)
    assert client(owner).post(asked.page, GRANT).status_code == 400
    assert [asked.poll()["error"], granted.poll()["error"]] == ["expired_token"] * 2
    nothing()


@pytest.mark.parametrize("code", ["", "x", "\x00", "%", "a" * 300])
def test_codes_that_nobody_was_given(code: str) -> None:
    assert Program().poll(device_code=code)["error"] in ("expired_token", "invalid_request")
    nothing()


def test_the_persons_code_is_not_the_programs(owner: User) -> None:
    program = Program()
    client(owner).post(program.page, GRANT)
    assert program.poll(device_code=program.asked["user_code"])["error"] == "expired_token"
    nothing()


def test_another_program_cannot_use_the_code(owner: User) -> None:
    program = Program()
    Registered.objects.create(id="other", name="Other", type="public", scopes="read\nwrite", default_scopes="write", grant_types=DEVICE_CODE)
    client(owner).post(program.page, GRANT)
    assert program.poll(client_id="other")["error"] == "invalid_grant"
    assert program.poll(client_id="unknown")["error"] == "invalid_client"
    nothing()


# Scopes


@pytest.mark.parametrize("scope", ["openid", "read openid", "admin", "write admin", "WRITE", "email profile"])
def test_scopes_that_are_not_there(scope: str) -> None:
    program = Program()
    assert program.ask(scope=scope)["error"] == "invalid_scope"
    assert program.poll()["error"] == "authorization_pending"


def test_more_than_the_program_asked_for(owner: User) -> None:
    program = Program(scope="read")
    assert client(owner).post(program.page, GRANT).status_code == 400
    assert let_in(owner, program, scope="read")["scope"] == "read"


@pytest.mark.parametrize("scope", ["write", "read write", "openid"])
def test_more_than_the_person_gave(owner: User, scope: str) -> None:
    program = Program()
    client(owner).post(program.page, {**GRANT, "scope": "read"})
    assert program.poll(scope=scope)["error"] == "invalid_request"
    nothing()
    answer = program.poll()
    assert answer["scope"] == "read" and AccessToken.objects.get().scope == "read"
    assert program.renew(answer["refresh_token"], scope=scope)["error"] == "invalid_request"
    again = program.renew(answer["refresh_token"])
    assert again["scope"] == "read"
    http = Client(headers={"Authorization": f"Bearer {again['access_token']}"})
    assert http.post("/api/repos/create", {"name": "mine"}, content_type="application/json").status_code == 403
    assert http.post("/api/v1/adapters", {"name": "mine"}, content_type="application/json").status_code == 403


# Renewing


def test_a_spent_secret(owner: User) -> None:
    program = Program()
    first = let_in(owner, program)
    second = program.renew(first["refresh_token"])
    assert program.renew(first["refresh_token"])["error"] == "invalid_grant"
    assert whoami(second["access_token"]) == 200
    assert program.renew(second["access_token"])["error"] == "invalid_grant", "a token is no secret to renew with"
    assert whoami(second["refresh_token"]) == 401, "and the other way round"


def test_the_old_token_ends_soon(owner: User) -> None:
    program = Program()
    first = let_in(owner, program)
    program.renew(first["refresh_token"])
    old = AccessToken.objects.exclude(renewed_by=None).get()
    assert old.expiry <= timezone.now() + logins.GRACE
    AccessToken.objects.filter(pk=old.pk).update(expiry=timezone.now() - timedelta(seconds=1))
    assert whoami(first["access_token"]) == 401


def test_secrets_pile_up_nowhere(owner: User) -> None:
    program = Program()
    answer = let_in(owner, program)
    for _ in range(5):
        answer = program.renew(answer["refresh_token"])
    assert AccessToken.objects.count() == 2 and Token.objects.count() == 1


def test_a_login_that_was_not_used_for_long(owner: User) -> None:
    program = Program()
    answer = let_in(owner, program)
    Token.objects.update(expires_at=timezone.now())
    assert program.renew(answer["refresh_token"])["error"] == "invalid_grant"
    AccessToken.objects.update(expiry=timezone.now())
    assert "laptop" not in text(client(owner).get("/settings/tokens"))
    let_in(owner, Program(), name="again")
    assert [token.name for token in AccessToken.objects.all()] == ["again"] and Token.objects.count() == 1


def test_revoked_on_the_admin_pages(owner: User) -> None:
    program = Program()
    first = let_in(owner, program)
    second = program.renew(first["refresh_token"])
    boss = client(User.objects.create_superuser(username="boss", email="boss@example.org", password="x"))
    digest = AccessToken.objects.exclude(refresh_digest="").get().digest
    assert boss.post(f"/admin/hub/accesstoken/{digest}/delete/", {"post": "yes"}).status_code == 302
    assert [whoami(answer["access_token"]) for answer in (first, second)] == [401, 401]
    assert program.renew(second["refresh_token"])["error"] == "invalid_grant"
    assert Registered not in admin.site._registry and Token not in admin.site._registry


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_closed_account(owner: User, when: str) -> None:
    program = Program()
    client(owner).post(program.page, GRANT)
    if when == "before":
        User.objects.update(is_active=False)
        assert program.poll()["error"] == "access_denied"
        nothing()
        return
    answer = program.poll()
    User.objects.update(is_active=False)
    assert whoami(answer["access_token"]) == 401
    assert program.renew(answer["refresh_token"])["error"] == "invalid_grant"


# Addresses and traces


def test_the_address_is_the_one_that_the_program_used(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["hub.example", "10.0.0.5"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for headers, start in (({"Host": "10.0.0.5:8000"}, "http://10.0.0.5:8000"), ({"Host": "hub.example", "X-Forwarded-Proto": "https"}, "https://hub.example")):
        asked = send(Client(headers=headers), "device", client_id=logins.HF).json()
        assert asked["verification_uri"] == f"{start}/login/device"
        assert asked["verification_uri_complete"] == f"{start}/login/device?code={asked['user_code']}"
    assert send(Client(headers={"Host": "evil.example"}), "device", client_id=logins.HF).status_code == 400


def test_secrets_are_kept_as_hashes_and_written_nowhere(owner: User, caplog: Any) -> None:
    program = Program()
    first = let_in(owner, program)
    second = program.renew(first["refresh_token"])
    texts = {answer[name] for answer in (first, second) for name in ("access_token", "refresh_token")}
    assert len(texts) == 4
    rows = [str(row) for row in (*AccessToken.objects.values(), *Token.objects.values(), *Event.objects.values())]
    assert not any(secret in place for secret in (*texts, program.asked["device_code"]) for place in (*rows, caplog.text))
    assert Event.objects.filter(verb="token.create", data__program=logins.HF_NAME).count() == 1


def test_answers_are_not_kept_by_anything_between(owner: User) -> None:
    for answer in (send(Client(), "device", client_id=logins.HF), send(Client(), "token", client_id=logins.HF, grant_type="refresh_token", refresh_token="x")):
        assert "no-store" in answer["Cache-Control"] and answer["X-Request-Id"]


def test_the_list_of_programs_mends_itself(owner: User) -> None:
    Program()
    Registered.objects.update(scopes="openid", type="confidential", grant_types="authorization_code", redirect_uris="https://evil.example/")
    answer = let_in(owner, Program())
    row = Registered.objects.get()
    assert whoami(answer["access_token"]) == 200 and (row.redirect_uris, row.type, row.get_scopes()) == ("", "public", ["read", "write"])
    assert not row.check_secret("!")
