"""The Xet ingest, address by address, with xorbs and shards written byte by byte."""

import hashlib
import os
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from hub import storage
from hub.hf import xet_hashing, xet_store
from hub.models import Upload, User
from hub.services import accounts, adapters, uploads
from hub.services.trees import Known
from tests import raw_xet
from tests.raw_xet import GROUPED, LZ4, PLAIN, File, Xorb, whole


class Sender:
    """Someone who uploads by Xet."""

    def __init__(self, user: User, repo_id: str = "") -> None:
        self.user = user
        self.hub = Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='test', scope='write')[1]}"})
        self.repo_id = repo_id or f"{user.username}/sums"
        self.start()

    def start(self) -> None:
        """Begin an upload."""
        told = self.hub.get(f"/api/models/{self.repo_id}/xet-write-token/main").json()
        self.address = told["casUrl"].removeprefix("http://testserver")
        self.token = told["accessToken"]
        self.cas = Client(headers={"Authorization": f"Bearer {self.token}"})

    def send(self, xorb: Xorb | bytes, name: str = "", **more: Any) -> Any:
        """Send a xorb, or any bytes in its place."""
        body = xorb if isinstance(xorb, bytes) else xorb.body
        name = name or ("0" * 64 if isinstance(xorb, bytes) else xorb.name)
        return self.cas.generic("POST", f"{self.address}/v1/xorbs/default/{name}", body, "application/octet-stream", **more)

    def finish(self, *files: File | bytes, **more: Any) -> Any:
        """Send a shard of files, or any bytes in its place."""
        body = files[0] if isinstance(files[0], bytes) else raw_xet.shard(*files)  # type: ignore[arg-type]
        return self.cas.generic("POST", f"{self.address}/v1/shards", body, "application/octet-stream", **more)

    def ask(self, chunk: bytes) -> Any:
        """Ask whether a chunk is here."""
        return self.cas.get(f"{self.address}/v1/chunks/default/{xet_hashing.to_text(xet_hashing.of_chunk(chunk))}")


@pytest.fixture
def sender(owner: User) -> Sender:
    adapters.create(actor=owner, name="sums")
    return Sender(owner)


def stored(content: bytes) -> bytes:
    with storage.open_blob(hashlib.sha256(content).hexdigest()) as stream:
        return stream.read()


def pending() -> list[Path]:
    return [path for path in Path(storage.settings.WORK_DIR).rglob("*") if path.is_file()]


def numbers(count: int) -> bytes:
    """Bytes like those of weights: numbers of about one size."""
    source = random.Random(0)
    return struct.pack(f"<{count}f", *(source.gauss(0, 0.02) for _ in range(count)))


SOURCES = {"random": os.urandom(300_001), "zeros": bytes(300_000), "text": b"a line of text\n" * 20_000, "numbers": numbers(75_000), "one byte": b"x"}


@pytest.mark.parametrize("scheme", [PLAIN, LZ4, GROUPED])
@pytest.mark.parametrize("source", SOURCES)
def test_a_file_arrives_as_it_was(sender: Sender, source: str, scheme: int):
    content = SOURCES[source]
    xorb = Xorb(raw_xet.cut(content), scheme)
    assert sender.send(xorb).json() == {"was_inserted": True}
    assert sender.finish(whole(xorb)).json() == {"result": 1}
    assert stored(content) == content
    assert uploads.owned(user=sender.user, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("size", [8_192, 65_535, 65_536, 131_072])
def test_chunks_may_have_any_length_the_protocol_allows(sender: Sender, size: int):
    content = os.urandom(3 * size + 3)
    xorb = Xorb(raw_xet.cut(content, size), GROUPED)
    sender.send(xorb)
    assert sender.finish(whole(xorb)).status_code == 200
    assert stored(content) == content


def test_files_share_chunks_of_several_xorbs(sender: Sender):
    first, second = Xorb(raw_xet.cut(os.urandom(500_000))), Xorb(raw_xet.cut(bytes(range(256)) * 1000), LZ4)
    files = [File([(first, 0, 7), (second, 1, 3), (first, 2, 3)]), File([(second, 0, 4), (first, 0, 8)]), whole(second)]
    for xorb in (first, second):
        sender.send(xorb)
    assert sender.finish(*files).status_code == 200
    assert [stored(file.content) == file.content for file in files] == [True] * 3


def test_compressed_chunks_among_others(sender: Sender):
    """Chunks that were not compressed are read together where they lie together, across more than one block."""
    plain, packed = [os.urandom(100_000) for _ in range(40)], [bytes([number]) * 50_000 for number in range(5)]
    chunks = [*plain[:15], packed[0], packed[1], *plain[15:17], packed[2], *plain[17:], *packed[3:]]
    xorb = Xorb(chunks)
    schemes = [PLAIN if chunk in plain else (LZ4, GROUPED)[number % 2] for number, chunk in enumerate(chunks)]
    body = b"".join(raw_xet.chunk(chunk, scheme) for chunk, scheme in zip(chunks, schemes, strict=True))
    assert sender.send(body, xorb.name).status_code == 200
    file = File([(xorb, 0, len(chunks)), (xorb, 14, 18), (xorb, 16, 17), (xorb, 20, 45)])
    assert sender.finish(file).status_code == 200
    assert stored(file.content) == file.content


def test_an_empty_file(sender: Sender):
    assert sender.finish(File([], digest=bytes(32), sha256="0" * 64)).status_code == 200
    assert stored(b"") == b""


def test_the_sha256_may_be_left_out(sender: Sender):
    xorb = Xorb([b"no sha256"])
    sender.send(xorb)
    assert sender.finish(whole(xorb, sha256=None, with_proofs=False)).status_code == 200
    assert stored(b"no sha256") == b"no sha256"


def test_a_footer_is_ignored(sender: Sender):
    xorb = Xorb([b"with a footer"])
    assert sender.send(xorb.body + b"XETBLOB" + os.urandom(500), xorb.name).status_code == 200
    assert sender.finish(whole(xorb)).status_code == 200


def test_xorbs_are_gone_once_every_one_is_used(sender: Sender):
    first, second = Xorb([b"first"]), Xorb([b"second"])
    sender.send(first)
    sender.send(second)
    sender.finish(whole(first))
    assert {path.name for path in pending()} == {first.name, second.name}
    sender.finish(whole(first), whole(second))
    assert pending() == []


def test_a_xorb_that_is_here_already_is_said_to_be(sender: Sender):
    xorb = Xorb([b"twice"])
    assert [sender.send(xorb).json()["was_inserted"] for _ in range(2)] == [True, False]


def test_a_shard_whose_answer_was_lost_may_be_sent_again(sender: Sender):
    xorb = Xorb(raw_xet.cut(os.urandom(100_000)))
    sender.send(xorb)
    answers = [sender.finish(whole(xorb)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert Upload.objects.count() == 1


def test_an_upload_that_was_cut_off_goes_on_where_it_was(sender: Sender):
    here, missing = Xorb(raw_xet.cut(os.urandom(300_000)), LZ4), Xorb(raw_xet.cut(os.urandom(100_000)))
    sender.send(here)
    sender.start()
    offer = sender.ask(here.chunks[0])
    assert offer.status_code == 200
    assert offer["Content-Type"] == "application/octet-stream"
    assert here.digest in offer.content
    assert all(xet_hashing.of_chunk(chunk) in offer.content for chunk in here.chunks)
    sender.send(missing)
    assert sender.finish(whole(here, missing)).status_code == 200
    assert stored(whole(here, missing).content)


def finished(sender: Sender, content: bytes) -> Xorb:
    """Send a file of one xorb, and begin another upload."""
    xorb = Xorb(raw_xet.cut(content))
    sender.send(xorb)
    sender.finish(whole(xorb))
    sender.start()
    return xorb


def test_a_file_that_is_here_is_not_sent_again(sender: Sender):
    xorb = finished(sender, os.urandom(1_500_000))
    offer = sender.ask(xorb.chunks[0])
    assert xorb.digest in offer.content
    assert sender.finish(whole(xorb)).status_code == 200
    assert pending() == []


def test_a_changed_file_is_made_of_the_old_one_and_what_is_new(sender: Sender, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xet_store, "MAX_REFERENCE", 600_000)
    old = finished(sender, os.urandom(1_500_000))
    offer = sender.ask(old.chunks[0]).content
    parts = [Xorb(old.chunks[at : at + 9]) for at in range(0, len(old.chunks), 9)]
    assert [part.digest in offer for part in parts] == [True] * 3
    new = Xorb(raw_xet.cut(os.urandom(200_000)))
    sender.send(new)
    changed = File([(parts[0], 0, 9), (new, 0, 4), (parts[1], 4, 9), (parts[2], 0, 5)])
    assert sender.finish(changed).status_code == 200
    assert stored(changed.content) == changed.content


def test_what_was_offered_but_is_not_used_takes_no_room(sender: Sender):
    xorb = finished(sender, os.urandom(1_500_000))
    sender.ask(xorb.chunks[0])
    assert 0 < sum(path.stat().st_size for path in pending()) < 5_000


def test_small_files_are_not_remembered_by_their_chunks(sender: Sender):
    xorb = finished(sender, os.urandom(100_000))
    assert sender.ask(xorb.chunks[0]).status_code == 404


def test_a_file_that_anyone_may_read_is_offered_to_anyone(sender: Sender, stranger: User):
    content = os.urandom(750_000).hex().encode()
    xorb = finished(sender, content)
    adapter = adapters.find(actor=sender.user, repo_id="owner/sums")
    known = Known("notes.txt", hashlib.sha256(content).hexdigest())
    adapters.create(actor=stranger, name="sums")
    other = Sender(stranger)
    assert other.ask(xorb.chunks[0]).status_code == 404
    adapters.commit(actor=sender.user, adapter=adapter, files=[known])
    assert other.ask(xorb.chunks[0]).status_code == 200


def test_a_new_address_each_time(sender: Sender):
    addresses = set()
    for _ in range(3):
        sender.start()
        addresses.add(sender.address)
    assert len(addresses) == 3


def test_the_address_has_the_host_that_was_asked(sender: Sender, settings: Settings):
    settings.ALLOWED_HOSTS = ["hub.example.org"]
    told = sender.hub.get("/api/models/owner/sums/xet-write-token/main", headers={"host": "hub.example.org"}).json()
    assert told["casUrl"].startswith("http://hub.example.org/xet/")
    assert 0 < told["exp"] - time.time() <= 600


def test_a_token_works_for_the_address_got_before_it(sender: Sender):
    address = sender.address
    sender.start()
    sender.address = address
    assert sender.send(Xorb([b"after a refresh"])).status_code == 200


def test_old_uploads_are_swept(sender: Sender):
    sender.send(Xorb([b"old"]))
    old = pending()
    sender.start()
    sender.send(Xorb([b"new"]))
    long_ago = time.time() - xet_store.IDLE_SECONDS - 60
    os.utime(old[0].parent, (long_ago, long_ago))
    sender.start()
    assert [path.name for path in pending()] == [Xorb([b"new"]).name]


@pytest.mark.parametrize("path", ["v1/xorb-grants/default/" + "0" * 64, "v2/shards"])
def test_newer_calls_are_answered_so_that_clients_fall_back(sender: Sender, path: str):
    assert sender.cas.post(f"{sender.address}/{path}", "{}", "application/json").status_code == 404


def test_telemetry_is_ignored(sender: Sender):
    assert sender.cas.post("/v1/telemetry", "{}", "application/json").status_code == 204
