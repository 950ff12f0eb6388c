"""A program that logs in through the browser, as far as the site sees it."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import User
from hub.services import logins
from tests.web.conftest import client

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


class Program:
    """Asks, waits, and gets a token."""

    def __init__(self, **fields: str) -> None:
        self.http = Client()
        self.asked = self.ask(**fields)

    def ask(self, **fields: str) -> dict[str, Any]:
        """Ask for codes."""
        return self.send("device", client_id=logins.HF, **fields)

    def poll(self, **fields: str) -> dict[str, Any]:
        """Ask what the person said."""
        return self.send("token", **{"grant_type": DEVICE_CODE, "client_id": logins.HF, "device_code": self.asked["device_code"], **fields})

    def renew(self, secret: str, **fields: str) -> dict[str, Any]:
        """Ask for a new token."""
        return self.send("token", grant_type="refresh_token", client_id=logins.HF, refresh_token=secret, **fields)

    def send(self, where: str, **fields: str) -> dict[str, Any]:
        """Send a plain form, and return what was answered."""
        return dict(send(self.http, where, **fields).json())

    @property
    def page(self) -> str:
        """Where its person has to go."""
        return f"/login/device?code={self.asked['user_code']}"


def send(http: Client, where: str, **fields: str) -> Any:
    """Send a plain form to one of the two addresses."""
    return http.post(f"/oauth/{where}", urlencode(fields), content_type="application/x-www-form-urlencoded")


def let_in(user: User, program: Program, name: str = "laptop", scope: str = "write") -> dict[str, Any]:
    """Answer on the page, and fetch the token."""
    assert client(user).post(program.page, {"answer": "grant", "name": name, "scope": scope}).status_code == 200
    return program.poll()


def whoami(token: str) -> int:
    """How the two doors for programs answer to a token; they have to agree."""
    http = Client(headers={"Authorization": f"Bearer {token}"})
    codes = {http.get("/api/whoami-v2").status_code, http.get("/api/v1/adapters").status_code}
    assert len(codes) == 1
    return codes.pop()


@pytest.fixture
def eager(settings: Settings) -> None:
    """Let a program ask again at once."""
    settings.IDP_OIDC_DEVICE_CODE_INTERVAL = 0
