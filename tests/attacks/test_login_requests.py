"""What the two addresses by which programs log in do not take, and what of the provider behind them is not there."""

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from hub.models import User
from hub.services import logins
from tests.attacks.test_logins import nothing
from tests.program import DEVICE_CODE, eager, send

pytestmark = [pytest.mark.usefixtures("eager", "db")]
__all__ = ["eager"]


@pytest.mark.parametrize(
    "grant", ["authorization_code", "password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "", DEVICE_CODE.upper()]
)
def test_other_grants(owner: User, grant: str) -> None:
    fields = {"client_id": logins.HF, "username": "owner", "password": "correct horse battery", "code": "x", "redirect_uri": "https://evil.example/"}
    for sent in (fields, {"client_id": logins.HF}):
        assert send(Client(), "token", grant_type=grant, **sent).json()["error"] in ("unsupported_grant_type", "invalid_request")
    nothing()


@pytest.mark.parametrize(
    "name", ["authorization", "token", "revoke", "device_code", "userinfo", "introspect", "client_registration", "configuration", "logout"]
)
def test_the_rest_of_the_provider_is_not_there(name: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(f"idp:oidc:{name}")


@pytest.mark.parametrize(
    "path",
    [
        *("/.well-known/openid-configuration", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"),
        *("/identity/o/authorize", "/identity/o/api/token", "/identity/o/api/clients", "/identity/o/logout"),
        *("/oauth/authorize", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo", "/oauth/clients", "/oauth/register"),
    ],
)
def test_nor_are_its_addresses(path: str) -> None:
    assert {Client().get(path).status_code, Client().post(path).status_code} <= {401, 404, 405}


# Damaged requests

PLAIN = "application/x-www-form-urlencoded"
HF = f"client_id={logins.HF}"


@pytest.mark.parametrize(
    ("query", "body", "kind"),
    [
        ("", "", PLAIN),
        ("", "client_id=", PLAIN),
        ("", "client_id=%00", PLAIN),
        ("", "client_id=%FF%FE", PLAIN),
        ("", f"{HF}&{HF}", PLAIN),
        ("", f"{HF}&scope=read&scope=write", PLAIN),
        ("", f"{HF}&resource=x", PLAIN),
        ("", f"{HF}&client_secret=x", PLAIN),
        ("", f"{HF}&scope={'x' * 400}", PLAIN),
        ("", "client_id=unknown", PLAIN),
        (f"?{HF}", "", PLAIN),
        (f"?{HF}", HF, PLAIN),
        ("", '{"client_id": 1}', "application/json"),
        ("", f"--x\r\nContent-Disposition: form-data; name=client_id\r\n\r\n{logins.HF}\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        ("", HF, "text/plain"),
    ],
)
@pytest.mark.parametrize("where", ["device", "token"])
def test_damaged_forms(where: str, query: str, body: str, kind: str) -> None:
    answer = Client().post(f"/oauth/{where}{query}", body, content_type=kind)
    assert answer.status_code in (400, 401) and isinstance(answer.json()["error"], str)
    nothing()


@pytest.mark.parametrize("header", ["Basic !!!", "Basic eDp5", "Bearer x", "Basic", "\x7f"])
def test_what_else_comes_along_does_not_count(owner: User, header: str) -> None:
    http = Client(headers={"Authorization": header})
    http.force_login(owner)
    asked = send(http, "device", client_id=logins.HF).json()
    assert send(http, "token", client_id=logins.HF, grant_type=DEVICE_CODE, device_code=asked["device_code"]).json()["error"] == "authorization_pending"
    nothing()


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_other_methods(method: str) -> None:
    for where in ("device", "token"):
        assert getattr(Client(), method)(f"/oauth/{where}").status_code == 400
