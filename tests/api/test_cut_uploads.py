"""Uploads that are cut off in the middle, over real sockets."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from hub.models import Adapter, Blob, Revision, User
from hub.services import accounts, adapters
from tests import make
from tests.api.conftest import V1, multipart

Send = Callable[..., socket.socket]
pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def send(live_server: Any, owner: User) -> Send:
    """Begin a commit and send only the first bytes of its body; returns the open socket."""
    adapters.create(actor=owner, name="sums")
    token = accounts.create_token(actor=owner, name="test", scope="write")[1]

    def begin(size: int, path: str = "/adapters/owner/sums/commits", body: bytes = b"", kind: str = "application/json") -> socket.socket:
        if not body:
            body, kind = multipart(("files", name, data) for name, data in FILES.items())
        address = urlsplit(live_server.url)
        connection = socket.create_connection((address.hostname, address.port), timeout=20)
        head = f"POST {V1}{path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:size])
        return connection

    return begin


def temporary_files() -> list[Path]:
    return list(Path(settings.WORK_DIR).iterdir())


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def cut(connection: socket.socket) -> bytes:
    """Send no more, and return the answer."""
    with connection:
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


FILES = {**make.adapter(), "notes.txt": b"x" * 3_000_000}
CUTS = {"inside the first file": 300, "inside the weights": 5_000, "inside the last file": 1_000_000, "inside the last line": -5}


@pytest.mark.parametrize("size", CUTS.values(), ids=CUTS.keys())
def test_an_upload_cut_off_is_refused(send: Send, size: int):
    answer = cut(send(size))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"upload-incomplete"' in answer
    assert not Revision.objects.exists()
    assert not Blob.objects.exists()
    assert wait_for(lambda: not temporary_files())


def test_a_sender_who_vanishes_leaves_nothing(send: Send):
    connection = send(1_000_000)
    assert wait_for(lambda: bool(temporary_files())), "the upload did not go to disk"
    connection.close()
    assert wait_for(lambda: not temporary_files())
    assert not Revision.objects.exists()
    assert not Blob.objects.exists()
    assert Adapter.objects.get().head is None


def test_a_json_body_cut_off_is_refused(send: Send):
    body = json.dumps({"name": "other"}).encode()
    assert b'"upload-incomplete"' in cut(send(len(body) - 1, "/adapters", body))
    assert b"HTTP/1.1 201 " in cut(send(len(body), "/adapters", body))
    assert Adapter.objects.filter(name="other").count() == 1
