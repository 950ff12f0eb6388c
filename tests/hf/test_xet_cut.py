"""Xet uploads that break off in the middle, over real sockets."""

import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from hub.models import Blob, User
from hub.services import adapters
from tests import raw_xet
from tests.api.test_cut_uploads import cut, wait_for
from tests.hf.test_xet import Sender, pending
from tests.raw_xet import Xorb, whole

pytestmark = [pytest.mark.django_db(transaction=True)]
XORB = Xorb(raw_xet.cut(os.urandom(3_000_000)))
Send = Callable[..., socket.socket]


@pytest.fixture
def sender(owner: User) -> Sender:
    adapters.create(actor=owner, name="sums")
    return Sender(owner)


@pytest.fixture
def send(live_server: Any, sender: Sender) -> Send:
    """Begin a call and send only the first bytes of its body, or pretend that a short body is longer; returns the open socket."""

    def begin(path: str, body: bytes, size: int, length: str = "") -> socket.socket:
        address = urlsplit(live_server.url)
        connection = socket.create_connection((address.hostname, address.port), timeout=20)
        head = f"POST {sender.address}{path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {sender.token}\r\nConnection: close\r\n"
        connection.sendall(f"{head}{length or f'Content-Length: {len(body)}'}\r\n\r\n".encode() + body[:size])
        return connection

    return begin


@pytest.mark.parametrize("size", [0, 3, 500, 2_000_000, len(XORB.body) - 1])
def test_a_xorb_cut_off_is_refused(send: Send, size: int):
    answer = cut(send(f"/v1/xorbs/default/{XORB.name}", XORB.body, size))
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:500]
    assert pending() == []


def test_a_xorb_shorter_than_announced_is_refused(send: Send):
    """It is whole, and its hash is right, but its sender meant to say more."""
    answer = cut(send(f"/v1/xorbs/default/{XORB.name}", XORB.body, len(XORB.body), f"Content-Length: {len(XORB.body) + 1}"))
    assert b'"upload-incomplete"' in answer
    assert pending() == []


def test_a_shard_cut_off_is_refused(send: Send, sender: Sender):
    sender.send(XORB)
    body = raw_xet.shard(whole(XORB))
    assert b'"upload-incomplete"' in cut(send("/v1/shards", body, len(body) - 1))
    assert not Blob.objects.exists()
    assert {path.name for path in pending()} == {XORB.name}


def test_a_sender_who_vanishes_leaves_nothing(send: Send):
    connection = send(f"/v1/xorbs/default/{XORB.name}", XORB.body, 2_000_000)
    assert wait_for(lambda: bool(pending())), "the xorb did not go to disk"
    connection.close()
    assert wait_for(lambda: not pending())


def test_an_upload_goes_on_after_a_cut(send: Send, sender: Sender):
    cut(send(f"/v1/xorbs/default/{XORB.name}", XORB.body, 2_000_000))
    assert sender.send(XORB).status_code == 200
    assert sender.finish(whole(XORB)).status_code == 200
    assert Blob.objects.get().size == 3_000_000
