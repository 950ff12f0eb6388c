"""A browser's session at the hub protocol: it changes something only with the CSRF token of its own pages, whoever makes the browser ask."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, Blob, Ref, Revision, User
from hub.models import Upload as Sent
from tests.conftest import Upload

HOST = "http://testserver"
OID = "ab" * 32
LINES = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"key": "header", "value": {"summary": "Forged"}},
        {"key": "file", "value": {"path": "evil.txt", "encoding": "base64", "content": base64.b64encode(b"evil").decode()}},
    )
)
CALLS: dict[str, tuple[str, str, bytes]] = {
    "create": ("POST", "/api/repos/create", b'{"name":"new"}'),
    "delete": ("DELETE", "/api/repos/delete", b'{"name":"sums"}'),
    "move": ("POST", "/api/repos/move", b'{"fromRepo":"owner/sums","toRepo":"owner/moved"}'),
    "settings": ("PUT", "/api/models/owner/sums/settings", b'{"private":true}'),
    "branch": ("POST", "/api/models/owner/sums/branch/dev", b""),
    "tag": ("POST", "/api/models/owner/sums/tag/main", b'{"tag":"v1"}'),
    "preupload": ("POST", "/api/models/owner/sums/preupload/main", b'{"files":[]}'),
    "commit": ("POST", "/api/models/owner/sums/commit/main", LINES),
    "a new adapter": ("POST", "/api/models/owner/new/commit/main?create_repo=1", LINES),
    "batch": ("POST", "/owner/sums.git/info/lfs/objects/batch", b'{"operation":"upload","objects":[{"oid":"' + OID.encode() + b'","size":9}]}'),
    "xet": ("GET", "/api/models/owner/sums/xet-write-token/main", b""),
}


def state() -> tuple[Any, ...]:
    adapters = list(Adapter.objects.order_by("pk").values_list("name", "private", "head_id"))
    return adapters, Revision.objects.count(), Blob.objects.count(), Sent.objects.count(), list(Ref.objects.values_list("name", flat=True))


def files(settings: Settings) -> list[Path]:
    return [path for folder in (settings.BLOBS_DIR, settings.WORK_DIR) for path in Path(folder).rglob("*") if path.is_file()]


def browser(user: User) -> tuple[Client, str]:
    """A browser with a session, and the CSRF token of the pages that it shows."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.get("/upload")
    return client, client.cookies["csrftoken"].value


def ask(client: Client, call: str, **more: Any) -> HttpResponseBase:
    method, address, body = CALLS[call]
    kind = "application/x-ndjson" if body is LINES else "application/json"
    return client.generic(method, address, body, kind, **more)


@pytest.fixture
def session(owner: User, upload: Upload) -> tuple[Client, str]:
    upload(owner, "sums")
    return browser(owner)


@pytest.fixture
def unchanged(session: Any, settings: Settings) -> Iterator[None]:
    """Nothing may change, and nothing may lie around."""
    before = (state(), files(settings))
    yield
    assert (state(), files(settings)) == before


def refused(response: HttpResponseBase) -> bool:
    assert response.headers["X-Error-Message"]
    return (response.status_code, response.headers["X-Error-Code"]) == (403, "csrf-failed")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("call", CALLS)
def test_without_a_token(session: tuple[Client, str], call: str):
    assert refused(ask(session[0], call))


FORGED: dict[str, dict[str, str]] = {
    "an empty token": {"X-CSRFToken": ""},
    "a wrong token": {"X-CSRFToken": "a" * 32},
    "a wrong masked token": {"X-CSRFToken": "a" * 64},
    "no token at all but text": {"X-CSRFToken": "\r\n"},
    "a foreign origin": {"Origin": "https://evil.example"},
    "a look-alike origin": {"Origin": HOST + ".evil.example"},
    "another port": {"Origin": HOST + ":8080"},
    "another scheme": {"Origin": "https://testserver"},
    "a sandbox": {"Origin": "null"},
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("call", ["create", "delete", "commit", "batch"])
def test_forged(session: tuple[Client, str], call: str, headers: dict[str, str]):
    client, token = session
    assert refused(ask(client, call, headers={"X-CSRFToken": token, **headers}))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("call", ["create", "commit"])
def test_the_token_of_another_session(session: tuple[Client, str], stranger: User, call: str):
    _, theirs = browser(stranger)
    assert refused(ask(session[0], call, headers={"X-CSRFToken": theirs, "Origin": HOST}))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("call", ["create", "commit"])
def test_no_cookie_to_compare_with(session: tuple[Client, str], call: str):
    client, token = session
    del client.cookies["csrftoken"]
    assert refused(ask(client, call, headers={"X-CSRFToken": token}))


@pytest.mark.usefixtures("unchanged")
def test_a_token_in_the_body_is_not_looked_for(session: tuple[Client, str]):
    client, token = session
    assert refused(client.post("/api/repos/create", {"csrfmiddlewaretoken": token, "name": "new"}))


@pytest.mark.usefixtures("unchanged")
def test_over_https_a_foreign_page_is_refused_by_its_referer(session: tuple[Client, str]):
    client, token = session
    for referer in ({}, {"Referer": "https://evil.example/x"}, {"Referer": "http://testserver/"}):
        assert refused(ask(client, "create", secure=True, headers={"X-CSRFToken": token, **referer}))


@pytest.mark.usefixtures("unchanged")
def test_a_bad_access_token_is_not_made_good_by_the_session(session: tuple[Client, str]):
    client, token = session
    answer = ask(client, "create", headers={"X-CSRFToken": token, "Authorization": "Bearer mdl_nonsense"})
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (401, "token-invalid")


@pytest.mark.usefixtures("unchanged")
def test_a_csrf_token_without_a_session_is_nobody(session: tuple[Client, str]):
    client, token = session
    del client.cookies["sessionid"]
    assert ask(client, "create", headers={"X-CSRFToken": token}).status_code == 401


@pytest.mark.usefixtures("unchanged")
def test_not_what_belongs_to_others(session: tuple[Client, str], stranger: User):
    client, token = browser(stranger)
    assert ask(client, "commit", headers={"X-CSRFToken": token}).status_code == 403
    assert ask(client, "a new adapter", headers={"X-CSRFToken": token}).status_code == 404


@pytest.mark.usefixtures("unchanged")
def test_a_get_that_gives_a_permission_takes_no_session(session: tuple[Client, str]):
    client, token = session
    assert refused(ask(client, "xet", headers={"X-CSRFToken": token, "Origin": HOST}))


@pytest.mark.parametrize("call", [call for call in CALLS if call != "xet"])
@pytest.mark.parametrize("headers", [{}, {"Origin": HOST}], ids=["no origin", "our origin"])
def test_from_our_own_pages_it_works(session: tuple[Client, str], call: str, headers: dict[str, str]):
    client, token = session
    assert ask(client, call, headers={"X-CSRFToken": token, **headers}).status_code == 200


def test_a_session_still_shows(session: tuple[Client, str], owner: User, upload: Upload):
    upload(owner, "diary", private=True)
    assert session[0].get("/api/models/owner/diary", headers={"Origin": "https://evil.example"}).status_code == 200
