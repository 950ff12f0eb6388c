"""What holds for every address of the table: no other site's form changes anything, no answer can be framed, run scripts or be kept by a cache of others."""

import re
from collections.abc import Iterator

import pytest
from django.conf import settings as site
from django.core import mail
from django.core.cache import caches
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import AccessToken, Adapter, User
from tests.attacks import hidden, routes
from tests.attacks.routes import UNSAFE, Route
from tests.attacks.test_hidden import GUARDED, names_a_thing, names_the_known, state, values
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

# They look at no session: a link, or a code that only a program has, is the permission.
SESSIONLESS = {"hf-oauth-device", "hf-oauth-token", "hf-lfs-file", "hf-lfs-part", "hf-lfs-complete", "hf-xet-telemetry"}
SESSIONLESS |= {"hf-xet-chunk", "hf-xet-xorb", "hf-xet-shard", "hf-xet-grant", "hf-xet-shard-v2"}
SESSIONLESS |= {r.name for r in routes.of("hub.api") if r.name.startswith("api-worker-")}
# POST only to ask: they change nothing, and anyone may send them.
ASKING = {"hf-paths-info", "hf-validate"}
NOTHING_TO_CHANGE = {"api-no-such-address", "healthz", "live", "metrics"}
ASKING |= {r.name for r in routes.of("hub.hf") if r.view.__module__ == "hub.hf.outside"}


def address(route: Route, stage: hidden.Stage) -> str:
    """An address of the owner's, or of whatever everyone knows."""
    if names_a_thing(route):
        return route.at(**values(route, stage, stage.there))
    if names_the_known(route):
        return route.at(**GUARDED)
    return route.at(**dict.fromkeys(route.parameters, "1" * 32))


def browser(user: User) -> Client:
    """A browser that holds cookies, as another site's page would use it."""
    made = Client(enforce_csrf_checks=True)
    made.force_login(user)
    made.cookies["csrftoken"] = "a" * 32
    return made


def test_forms_of_other_sites() -> None:
    """With the owner's session and without the token of our own page, nothing is changed through any address of any door."""
    stage = hidden.stage()
    mine = browser(stage.owner)
    before, odd, refused = state(), [], 0
    for route in routes.every():
        if route.name in SESSIONLESS | ASKING:
            continue
        for method in UNSAFE if route.room in ("hub.api", "hub.hf") else ("POST", "DELETE"):
            answer = mine.generic(method, address(route, stage), "a=1&csrfmiddlewaretoken=" + "c" * 32 + "d" * 32, "application/x-www-form-urlencoded")
            refused += answer.status_code == 403
            # REST framework looks for the token in the body, and of a form it reads none (415).
            if answer.status_code not in (403, 405, 415) and route.name not in NOTHING_TO_CHANGE:
                odd.append(f"{method} {route.name}: {answer.status_code}")
    assert odd == [] and refused > 100
    for path in routes.admin():
        assert mine.post(path, {"a": "1"}).status_code in (302, 403), path
    after = state()
    assert [table for table in before if before[table] != after[table]] == []


def test_only_doors_with_a_check_of_their_own_do_without_djangos() -> None:
    for route in routes.every():
        if getattr(route.view, "csrf_exempt", False):
            assert route.room in ("hub.api", "hub.hf", "drf_spectacular.views"), route.name


def answers(stage: hidden.Stage) -> Iterator[tuple[str, HttpResponseBase]]:
    """Every address read by a stranger and by the owner."""
    owner, _ = hidden.clients(stage.owner)
    for route in routes.every():
        for client in (Client(), owner):
            yield route.name, client.get(address(route, stage))
    for path in ("/nothing/here", "/owner/absent", "/%2e%2e/%2e%2e/etc/passwd"):
        yield path, Client().get(path)


def test_headers_of_every_answer() -> None:
    pages = 0
    for name, answer in answers(hidden.stage()):
        kind = answer.headers.get("Content-Type", "")
        assert answer.status_code < 500 or answer.status_code == 501, name
        if name in ("healthz", "live"):
            continue  # they are answered before anything else looks at the request
        assert answer["X-Content-Type-Options"] == "nosniff" and answer["X-Request-Id"], name
        if name != "preview":  # pictures of public adapters; those of others are in tests.web.test_previews
            assert re.search("private|no-store", answer["Cache-Control"]) and "public" not in answer["Cache-Control"], name
        if kind.startswith(("text/html", "application/xhtml", "image/svg", "text/xml", "application/xml")):
            pages += 1
            assert kind == "text/html; charset=utf-8" and answer["X-Frame-Options"] == "DENY", name
            rules = dict(re.findall(r"([a-z-]+) ([^;]+)", answer["Content-Security-Policy"]))
            assert rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'", name
            assert rules["default-src"] == rules["form-action"] == "'self'" and not re.search(r"unsafe|\*|http:|https:|data:", rules["script-src"]), name
        elif not answer.streaming:
            assert not answer.content.lstrip().startswith(b"<"), f"{name} sends markup as {kind}"
        for cookie in answer.cookies.values():
            assert cookie["samesite"] == "Lax", name
    assert pages > 100


def test_pages_of_a_person_are_marked_as_theirs() -> None:
    """Whatever stands between must not hand one person's page to another."""
    stage = hidden.stage()
    owner, _ = hidden.clients(stage.owner)
    for path in ("/", "/adapters", f"/owner/{stage.there['name']}", "/compositions", "/settings/tokens", "/owner/sums", "/api/v1/me", "/api/whoami-v2"):
        answer = owner.get(path)
        assert answer.status_code == 200 and re.search("private|no-store", answer["Cache-Control"]), path


def test_the_cookie_of_a_session(owner: User, settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    client = Client()
    client.post("/accounts/login/", {"login": "owner", "password": PASSWORD}, secure=True)
    session, form = client.cookies["sessionid"], client.cookies["csrftoken"]
    assert session["httponly"] and session["secure"] and session["samesite"] == "Lax" and not session["domain"]
    assert form["secure"] and form["samesite"] == "Lax"


def test_a_session_that_was_planted(owner: User) -> None:
    """Whoever gives somebody a session cookie before they log in has nothing afterwards, and logging out ends what was copied."""
    victim, attacker = Client(), Client()
    victim.get("/accounts/login/")
    session = victim.session
    session["planted"] = "yes"
    session.save()
    planted = session.session_key
    victim.cookies[site.SESSION_COOKIE_NAME] = planted
    victim.post("/accounts/login/", {"login": "owner", "password": PASSWORD})
    now = victim.cookies[site.SESSION_COOKIE_NAME].value
    assert victim.get("/api/v1/me").status_code == 200 and now != planted
    attacker.cookies[site.SESSION_COOKIE_NAME] = planted
    assert attacker.get("/api/v1/me").status_code == 401
    thief = Client()
    thief.cookies[site.SESSION_COOKIE_NAME] = now
    assert thief.get("/api/v1/me").status_code == 200
    victim.post("/accounts/logout/")
    assert thief.get("/api/v1/me").status_code == 401 and thief.get("/settings/tokens").status_code == 302


def test_a_changed_password_ends_other_sessions(owner: User) -> None:
    here, elsewhere = Client(), Client()
    for client in (here, elsewhere):
        client.post("/accounts/login/", {"login": "owner", "password": PASSWORD})
    here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": "another long phrase", "password2": "another long phrase"})
    assert here.get("/api/v1/me").status_code == 200 and elsewhere.get("/api/v1/me").status_code == 401


def test_nobody_but_staff_sees_the_admin_pages(owner: User, admin_client: Client) -> None:
    member = Client()
    member.force_login(owner)
    for path in routes.admin():
        for client in (Client(), member):
            answer = client.get(path)
            assert answer.status_code in (302, 403) and b"admin/hub" not in answer.content.lower(), path
    assert admin_client.get("/admin/hub/adapter/").status_code == 200


TARGETS = ["https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "https:evil.example"]
TARGETS += ["http://testserver@evil.example/", "/%09/evil.example", "\t//evil.example", "https://evil.example%2f@testserver/", "ht\ntps://evil.example"]


def test_nothing_leads_elsewhere(owner: User, admin_user: User) -> None:
    """`next` and its kin, wherever somebody is sent on."""
    for target in TARGETS:
        for path in ("/accounts/login/", "/accounts/signup/", "/accounts/logout/", "/admin/login/"):
            client = Client()
            if "logout" in path:
                client.force_login(owner)
            name = "admin" if "admin" in path else "owner"
            password = "password" if name == "admin" else PASSWORD
            new = {"username": f"new{len(User.objects.all())}", "email": f"{len(User.objects.all())}@example.org", "password1": PASSWORD, "password2": PASSWORD}
            given = new if "signup" in path else {"login": name, "username": name, "password": password}
            answer = client.post(path, {**given, "next": target})
            to = answer.headers.get("Location", "/")
            assert to.startswith("/") and not re.match(r"/[/\\\s]", to), (path, target, to)
    for path in ("//evil.example/x", "//evil.example/x/commit/main", "/\\evil.example/tree/main", "/%5cevil.example/x/blob/main/a", "//evil.example/%2e%2e"):
        to = Client().get(path).headers.get("Location", "/")
        assert to.startswith("/") and not re.match(r"/[/\\]", to), (path, to)


def test_links_in_mails_do_not_follow_the_host_of_a_request(owner: User, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.PUBLIC_URL = "https://hub.example"
    for address_ in ("owner@example.org", "nobody@example.org"):
        Client(headers={"Host": "evil.example", "X-Forwarded-Host": "worse.example"}).post("/accounts/password/reset/", {"email": address_})
    assert len(mail.outbox) == 2
    for sent in mail.outbox:
        assert "https://hub.example/accounts/" in sent.body and "evil.example" not in sent.body + sent.subject and "worse" not in sent.body


def test_a_kept_page_cannot_be_poisoned(sums: Adapter, owner: User, settings: Settings, memory: None) -> None:
    """What one stranger's request put into the page must not be in the next one's, whatever it sent along."""
    settings.ALLOWED_HOSTS = ["testserver", "other.example"]
    token = AccessToken.objects.create(user=owner, name="t", scope="write")[1]
    mine, bare = Client(), Client()
    mine.force_login(owner)
    hostile: list[dict[str, str]] = [
        {"Host": "other.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "444", "X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"},
        {"HX-Request": "true", "HX-Target": "evil", "HX-Boosted": "true"},
        {"Accept": "application/json"},
        {"Accept-Language": "xx-evil", "User-Agent": "evil<script>", "Referer": "https://evil.example/"},
        {"Authorization": f"Bearer {token}"},
        {"Cookie": "messages=evil; theme=evil"},
        {"Cookie": "csrftoken=evilevilevilevilevilevilevilevil"},
        {"Range": "bytes=0-10"},
        {"If-None-Match": "*"},
    ]
    for path in ("/", "/adapters?q=sums", "/owner/sums"):
        caches["pages"].clear()
        clean = Client().get(path)
        for headers in hostile:
            caches["pages"].clear()
            bare.get(path, headers=headers)
            mine.get(path, headers=headers)
            after = Client().get(path)
            assert (after.status_code, strip(after)) == (200, strip(clean)), (path, headers)
            assert b"evil" not in after.content and b"Log out" not in after.content and not after.cookies
        caches["pages"].clear()
        assert b"Log out" in mine.get(path).content and b"Log out" not in Client().get(path).content


def strip(answer: HttpResponseBase) -> bytes:
    return re.sub(rb'nonce="[^"]+"|"X-CSRFToken": "\w+"|<time .*?</time>', b"", answer.content)
