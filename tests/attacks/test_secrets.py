"""No log line holds what lets its reader in: whatever way a secret comes along, whatever goes wrong with the request, in both formats."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest
from django.core import mail
from django.core.exceptions import SuspiciousOperation
from django.test import Client

from hub import logs
from hub.models import User
from hub.services import accounts, adapters, search
from tests.attacks import hidden
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """All that is logged, at the lowest level that an operator may set, as the site writes it."""
    made, out = logs.config(request.param, "DEBUG", requests=True), io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.config.DictConfigurator(made).configure_formatter(made["formatters"]["line"]))  # type: ignore[attr-defined]
    levels = {"": "DEBUG", **{name: values["level"] for name, values in made["loggers"].items()}}
    before = {name: logging.getLogger(name).level for name in levels}
    logging.getLogger().addHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    yield out
    logging.getLogger().removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def asks(token: str, session: str) -> Iterator[tuple[Client, str, str, object, str]]:
    """Requests that carry secrets in every place that there is: client, method, address, body and its type."""
    program, bare = Client(headers={"Authorization": f"Bearer {token}"}), Client()
    browser = Client(headers={"Cookie": f"sessionid={session}"})
    odd = Client(headers={"Authorization": f"Basic {token}", "X-Token": token, "Referer": f"http://testserver/?token={token}", "Host": f"{token}.example"})
    form, kind = f"token={token}&password={PASSWORD}", "application/x-www-form-urlencoded"
    for client in (program, browser, odd, bare):
        for address in (f"/api/v1/adapters?token={token}", f"/adapters?q={token}", "/api/v1/me", "/api/models/owner/absent", f"/owner/absent?token={token}"):
            yield client, "GET", address, "", "text/plain"
        for address in ("/api/v1/adapters", "/api/repos/create", "/settings/tokens", "/accounts/login/", "/api/v1/nothing"):
            yield client, "POST", address, form, kind
            yield client, "POST", address, json.dumps({"name": token, "token": token}), "application/json"
    yield bare, "PUT", f"/lfs/file/{token}", "x", "application/octet-stream"
    yield bare, "GET", f"/accounts/password/reset/key/1-{token}/", "", "text/plain"
    yield bare, "GET", f"/accounts/confirm-email/{token}/", "", "text/plain"
    yield bare, "POST", "/oauth/token", f"grant_type=refresh_token&client_id=x&refresh_token={token}", kind


class Odd(RuntimeError):
    """A fault whose sentence has nothing of the request in it."""


@pytest.mark.parametrize("fault", [None, Odd, SuspiciousOperation, OSError])
def test_nothing_of_it_is_written(written: io.StringIO, monkeypatch: pytest.MonkeyPatch, owner: User, fault: type[Exception] | None) -> None:
    token = accounts.create_token(actor=owner, name="t", scope="write")[1]
    browser = Client()
    browser.force_login(owner)
    session = browser.session.session_key
    link = hidden.clients(owner)[1].post("/owner/sums.git/info/lfs/objects/batch?create_repo=1", BATCH, "application/json")
    signed = link.json()["objects"][0]["actions"]["upload"]["href"].rpartition("/")[2] if link.status_code == 200 else ""
    assert session and signed
    if fault is not None:

        def broken(*args: object, **more: object) -> None:
            raise fault("it broke")

        for module, name in ((search, "adapters"), (adapters, "find"), (accounts, "find_owner"), (adapters, "create")):
            monkeypatch.setattr(module, name, broken)
    for client, method, address, body, kind in asks(token, session):
        client.raise_request_exception = False
        client.generic(method, address, body, kind)
    Client(raise_request_exception=False).put(f"/lfs/file/{signed}", b"other", "application/octet-stream")
    logged = written.getvalue()
    assert logged.count("\n") > 20 and (fault is not Odd or "it broke" in logged), logged[:2000]
    for secret in (token, token[4:20], session, PASSWORD, signed, signed[:30]):
        assert secret not in logged, next(line for line in logged.splitlines() if secret in line)


BATCH = json.dumps({"operation": "upload", "objects": [{"oid": "a" * 64, "size": 5}]})


def test_nor_what_came_of_a_login(written: io.StringIO, owner: User) -> None:
    browser = Client()
    browser.post("/accounts/login/", {"login": "owner", "password": PASSWORD})
    made = browser.post("/settings/tokens", {"name": "laptop", "scope": "write"})
    [token] = [word for word in made.content.decode().replace('"', " ").replace("<", " ").replace(">", " ").split() if word.startswith("mdl_")][:1]
    browser.post("/accounts/password/reset/", {"email": "owner@example.org"})
    key = mail.outbox[-1].body.rpartition("/key/")[2].split("/")[0]
    Client().get(f"/accounts/password/reset/key/{key}/", follow=True)
    logged = written.getvalue()
    assert "request" in logged
    for secret in (token, browser.session.session_key, key, key.partition("-")[2], PASSWORD):
        assert secret and secret not in logged
