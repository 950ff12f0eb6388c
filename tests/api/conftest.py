"""Clients of the API: one for each of the cast."""

import json
import secrets
from collections.abc import Iterable
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from hub.models import Adapter, User
from hub.services import accounts
from tests import make
from tests.api import contract
from tests.conftest import Upload

V1 = "/api/v1"


class Api(Client):
    """Speaks JSON, sends a token, and holds every answer against the schema."""

    def __init__(self, token: str = "", **more: Any) -> None:
        super().__init__(headers={"Authorization": f"Bearer {token}"} if token else {}, **more)

    def request(self, **request: Any) -> HttpResponseBase:
        response = super().request(**request)
        contract.check(response)
        return response

    def json(self, method: str, path: str, body: Any, **more: Any) -> HttpResponseBase:
        """Send `body` as JSON; bytes go as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body)
        return self.generic(method.upper(), V1 + path, data, "application/json", **more)

    def form(self, path: str, parts: Iterable[tuple[str, str | None, bytes]], **more: Any) -> HttpResponseBase:
        """POST multipart parts of (field, file name or None, content), just as they are written here."""
        body, kind = multipart(parts)
        return self.generic("POST", V1 + path, body, kind, **more)


def multipart(parts: Iterable[tuple[str, str | None, bytes]]) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    boundary = secrets.token_hex(16)
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def parts(files: dict[str, bytes], **fields: str) -> list[tuple[str, str | None, bytes]]:
    """The parts of a commit: files under their own names, and text fields."""
    return [*(("files", path, data) for path, data in files.items()), *((name, None, text.encode()) for name, text in fields.items())]


def refusal(response: HttpResponseBase) -> tuple[int, str]:
    """The status and code of an error."""
    return response.status_code, response.json()["error"]["code"]


def client(user: User, scope: str = "write") -> Api:
    """A client with a fresh token."""
    return Api(accounts.create_token(actor=user, name="test", scope=scope)[1])


@pytest.fixture
def anonymous(db: Any) -> Api:
    return Api()


@pytest.fixture
def as_owner(owner: User) -> Api:
    return client(owner)


@pytest.fixture
def as_stranger(stranger: User) -> Api:
    return client(stranger)


@pytest.fixture
def as_reader(owner: User) -> Api:
    """The owner, with a token that may only read."""
    return client(owner, "read")


@pytest.fixture
def secret(owner: User, upload: Upload) -> Adapter:
    """A private adapter."""
    return upload(owner, "secret", private=True, seed=1)


EXAMPLES = [{"input": f"{n} + {n} =", "output": str(2 * n)} for n in range(5)]


def order(*modules: str, **more: Any) -> dict[str, Any]:
    """The body of a composition."""
    return {"base_model": make.BASE, "modules": list(modules), "examples": EXAMPLES, "name": "result", **more}
