"""Hostile uploads by Xet: each is refused with its status and a sentence, and leaves nothing."""

import gzip
import hashlib
import io
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from hub import storage
from hub.errors import HubError
from hub.hf import xet_format, xet_hashing, xet_store
from hub.models import Blob, Upload, User
from hub.services import adapters
from tests import raw_xet
from tests.hf.test_xet import Sender, pending
from tests.raw_xet import GROUPED, LZ4, File, Xorb, whole

RAW = os.urandom(20_000)
SOUND = Xorb([RAW, bytes(9_000), b"the end"], LZ4)


@pytest.fixture
def sender(owner: User) -> Sender:
    adapters.create(actor=owner, name="sums")
    return Sender(owner)


def refused(answer: Any, code: str, status: int = 400) -> str:
    """Hold that a call was refused, and that no file came of it; return the sentence."""
    assert (answer.status_code, xet_code(answer)) == (status, code), answer.content
    assert not Blob.objects.exists()
    assert not Upload.objects.exists()
    assert not [path for path in Path(storage.settings.BLOBS_DIR).rglob("*") if path.is_file()]
    assert not [path for path in pending() if path.suffix or path.parent == Path(storage.settings.WORK_DIR)]
    return answer.content.decode()


def xet_code(answer: Any) -> str:
    return answer.json()["code"]


def content_size(size: int) -> bytes:
    """An LZ4 frame that claims to hold `size` bytes."""
    frame = bytearray(lz4.frame.compress(RAW, store_size=True))
    frame[6:14] = size.to_bytes(8, "little")
    return bytes(frame)


BAD_XORBS = {
    "nothing": b"",
    "a header cut short": SOUND.body[:5],
    "a chunk cut short": SOUND.body[:-3],
    "an unknown version": raw_xet.chunk(RAW, version=1),
    "an unknown scheme": raw_xet.chunk(RAW, 3, packed=RAW),
    "a scheme from the end of the numbers": raw_xet.chunk(RAW, 255, packed=RAW),
    "no bytes": raw_xet.chunk(b"", packed=b""),
    "no raw bytes": raw_xet.chunk(b"", packed=b"x"),
    "raw bytes from nowhere": raw_xet.chunk(RAW, packed=b""),
    "more raw bytes than a chunk has": raw_xet.chunk(bytes(131_073)),
    "more packed bytes than a chunk has": raw_xet.chunk(RAW, packed=bytes(1 << 20)),
    "fewer raw bytes than it says": raw_xet.chunk(RAW, raw_size=len(RAW) + 1),
    "more raw bytes than it says": raw_xet.chunk(RAW, raw_size=len(RAW) - 1),
    "packed: fewer raw bytes than it says": raw_xet.chunk(RAW, LZ4, raw_size=len(RAW) + 1),
    "packed: more raw bytes than it says": raw_xet.chunk(RAW, LZ4, raw_size=len(RAW) - 1),
    "grouped: more raw bytes than it says": raw_xet.chunk(RAW, GROUPED, raw_size=len(RAW) - 1),
    "not LZ4": raw_xet.chunk(RAW, LZ4, packed=RAW),
    "LZ4 that is cut short": raw_xet.chunk(RAW, LZ4, packed=lz4.frame.compress(RAW)[:-6]),
    "LZ4 with something after it": raw_xet.chunk(RAW, LZ4, packed=lz4.frame.compress(RAW) + b"more"),
    "two LZ4 frames": raw_xet.chunk(RAW, LZ4, packed=lz4.frame.compress(RAW[:100]) + lz4.frame.compress(RAW[100:])),
    "LZ4 that claims a terabyte": raw_xet.chunk(RAW, LZ4, packed=content_size(1 << 40)),
    "gzip": gzip.compress(RAW),
    "json": b'{"chunks": []}' * 10,
}


@pytest.mark.parametrize("body", BAD_XORBS.values(), ids=BAD_XORBS.keys())
def test_what_is_not_a_xorb(sender: Sender, body: bytes):
    code = "xorb-mismatch" if not body else "xorb-invalid"
    assert "Nothing was stored" in refused(sender.send(body), code)
    assert pending() == []


@pytest.mark.parametrize("body", BAD_XORBS.values(), ids=BAD_XORBS.keys())
def test_sound_chunks_before_it_do_not_help(sender: Sender, body: bytes):
    refused(sender.send(SOUND.body + (body or b"\0"), SOUND.name), "xorb-invalid")
    assert pending() == []


def test_a_bomb_is_not_unpacked(sender: Sender):
    bomb = raw_xet.chunk(bytes(131_072), LZ4, packed=lz4.frame.compress(bytes(30_000_000)))
    assert len(bomb) < xet_format.MAX_PACKED
    tracemalloc.start()
    try:
        refused(sender.send(bomb), "xorb-invalid")
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_small_xorb_does_not_become_gigabytes(sender: Sender, monkeypatch: pytest.MonkeyPatch):
    """Chunks are kept unpacked up to the size that any xorb may have, the others as they were sent; what is made of both is the same."""
    monkeypatch.setattr(xet_format, "MAX_XORB", 400_000)
    xorb = Xorb([bytes([number]) * 100_000 for number in range(9)], LZ4)
    assert len(xorb.body) < 10_000
    assert sender.send(xorb).status_code == 200
    assert 400_000 < sum(path.stat().st_size for path in pending()) < 410_000
    assert sender.finish(whole(xorb), File([(xorb, 3, 6)])).status_code == 200
    for content in (whole(xorb).content, whole(xorb).content[300_000:600_000]):
        with storage.open_blob(hashlib.sha256(content).hexdigest()) as stream:
            assert stream.read() == content


class Wary(io.BytesIO):
    """A stream of which nobody may ask more than a chunk at once."""

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 <= size <= xet_format.MAX_PACKED
        return super().read(size)


def test_a_chunk_that_claims_16_mb_is_not_read():
    with pytest.raises(HubError, match="a chunk says it has 16777215 packed"):
        xet_format.read_chunk(Wary(raw_xet.chunk(RAW, packed_size=16_777_215)))


def test_bytes_under_another_hash(sender: Sender):
    refused(sender.send(SOUND.body, Xorb([b"other"]).name), "xorb-mismatch")
    assert pending() == []


@pytest.mark.parametrize("changed", [Xorb(SOUND.chunks[::-1]), Xorb(SOUND.chunks[:2]), Xorb([b"".join(SOUND.chunks)])], ids=["order", "fewer", "other cuts"])
def test_other_chunks_under_the_same_hash(sender: Sender, changed: Xorb):
    refused(sender.send(changed.body, SOUND.name), "xorb-mismatch")


def test_endless_chunks_of_one_byte(sender: Sender):
    refused(sender.send(raw_xet.chunk(b"x") * (xet_format.MAX_CHUNKS + 1)), "xorb-invalid", 413)


@pytest.mark.parametrize("length", [xet_format.MAX_XORB + 1, 10**15])
def test_a_xorb_that_is_too_large_is_not_read(sender: Sender, length: int):
    refused(sender.send(SOUND, CONTENT_LENGTH=str(length)), "body-too-large", 413)


def test_a_shard_that_is_too_large_is_not_read(sender: Sender):
    refused(sender.finish(b"x", CONTENT_LENGTH=str(xet_format.MAX_SHARD + 1)), "body-too-large", 413)


@pytest.mark.parametrize("length", ["", "-1", "many"])
def test_a_body_without_a_length_is_an_empty_one(sender: Sender, length: str):
    refused(sender.send(SOUND, CONTENT_LENGTH=length), "xorb-mismatch")
    refused(sender.finish(whole(SOUND), CONTENT_LENGTH=length), "shard-invalid")


@pytest.mark.parametrize("name", ["0" * 63, "0" * 65, "G" * 64, "A" * 64, "../" + "0" * 61, "0" * 32 + "%2F" + "0" * 31])
def test_hashes_that_are_none(sender: Sender, name: str):
    assert sender.send(SOUND, name).status_code == 404
    assert pending() == []


def test_unfinished_uploads_do_not_fill_the_disk(sender: Sender, settings: Settings):
    settings.MAX_WEIGHTS_BYTES = 2_000
    for _ in range(2):
        assert sender.send(SOUND).status_code == 200
        sender.start()
    assert "unfinished uploads" in refused(sender.send(SOUND), "too-much-pending", 413)


def one(**lies: Any) -> bytes:
    return raw_xet.shard(whole(SOUND, **lies))


ENTRY = 48
BAD_SHARDS = {
    "nothing": b"",
    "a few bytes": b"HFRepoMetaData",
    "another tag": raw_xet.shard(whole(SOUND), tag=b"HFRepoMetaData".ljust(32, b"\0")),
    "another version": raw_xet.shard(whole(SOUND), version=3),
    "no end": raw_xet.shard(whole(SOUND), end=b""),
    "cut inside an entry": raw_xet.shard(whole(SOUND))[: ENTRY * 2 + 7],
    "more entries than it holds": one(count=4_294_967_295),
    "one entry too many": raw_xet.shard(whole(SOUND, count=2), end=b""),
    "xorb instead": SOUND.body,
}


@pytest.mark.parametrize("body", BAD_SHARDS.values(), ids=BAD_SHARDS.keys())
def test_what_is_not_a_shard(sender: Sender, body: bytes):
    sender.send(SOUND)
    assert "Nothing was stored" in refused(sender.finish(body), "shard-invalid")


LIES = {
    "more bytes": one(sizes=[29_008]),
    "fewer bytes": one(sizes=[1]),
    "no bytes": one(sizes=[0]),
    "chunks beyond the end": raw_xet.shard(File([(SOUND, 0, 4)], digest=bytes(32), sizes=[29_007])),
    "chunks far beyond the end": raw_xet.shard(File([(SOUND, 4_000_000_000, 4_294_967_295)], digest=bytes(32))),
    "chunks from back to front": raw_xet.shard(File([(SOUND, 2, 1)], digest=bytes(32))),
    "no chunks": raw_xet.shard(File([(SOUND, 1, 1)], digest=bytes(32))),
    "a proof of other chunks": one(proofs=[bytes(32)]),
    "another hash of the file": one(digest=bytes(32)),
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES.keys())
def test_a_shard_that_lies(sender: Sender, body: bytes):
    sender.send(SOUND)
    assert "Nothing was stored" in refused(sender.finish(body), "shard-mismatch")


def test_a_lie_about_the_last_file_keeps_out_the_first(sender: Sender):
    sender.send(SOUND)
    refused(sender.finish(whole(SOUND), File([(SOUND, 0, 1)], sizes=[1])), "shard-mismatch")


def test_another_sha256(sender: Sender):
    sender.send(SOUND)
    refused(sender.finish(whole(SOUND, sha256="ab" * 32)), "content-mismatch")


def test_a_xorb_that_was_never_sent(sender: Sender):
    refused(sender.finish(whole(SOUND)), "xorb-missing")


def test_a_xorb_of_another_upload(sender: Sender):
    sender.send(SOUND)
    sender.start()
    refused(sender.finish(whole(SOUND)), "xorb-missing")


@pytest.fixture
def thief(sender: Sender, stranger: User) -> Sender:
    """Someone else, who knows the address that the sender got and all hashes."""
    adapters.create(actor=stranger, name="sums")
    thief = Sender(stranger)
    sender.send(SOUND)
    thief.address = sender.address
    return thief


def test_a_xorb_of_another_person(thief: Sender):
    refused(thief.finish(whole(SOUND)), "xorb-missing")


def test_chunks_of_another_person_are_not_offered(thief: Sender):
    assert thief.ask(RAW).status_code == 404
    refused(thief.finish(whole(SOUND)), "xorb-missing")


def test_files_of_another_person_cannot_be_named(sender: Sender, thief: Sender):
    """Neither their xorbs nor their finished files become someone else's by their hash."""
    assert sender.finish(whole(SOUND)).status_code == 200
    assert xet_code(thief.finish(whole(SOUND))) == "xorb-missing"
    assert not Upload.objects.filter(user=thief.user).exists()


def test_files_of_another_person_are_not_offered(sender: Sender, thief: Sender):
    """Who knows the first chunk of a hidden file does not get the rest for it."""
    xorb = Xorb(raw_xet.cut(os.urandom(1_200_000)))
    sender.send(xorb)
    assert sender.finish(whole(xorb)).status_code == 200
    assert sender.ask(xorb.chunks[0]).status_code == 200
    assert thief.ask(xorb.chunks[0]).status_code == 404
    assert xet_code(thief.finish(whole(xorb))) == "xorb-missing"


def test_chunks_that_are_too_small_for_their_number(sender: Sender):
    tiny = Xorb([b"x"])
    sender.send(tiny)
    refused(sender.finish(File([(tiny, 0, 1)] * 5_000)), "shard-mismatch")


def test_a_file_over_the_limit(sender: Sender, settings: Settings):
    sender.send(SOUND)
    settings.MAX_WEIGHTS_BYTES = 20_000
    assert "limit of 0 MB" in refused(sender.finish(whole(SOUND)), "file-too-large", 413)


def test_files_far_larger_than_what_was_sent(sender: Sender, settings: Settings):
    zeros = Xorb([bytes(131_072)], LZ4)
    sender.send(zeros)
    settings.MAX_WEIGHTS_BYTES = 3_000_000
    assert "far larger" in refused(sender.finish(*(File([(zeros, 0, 1)] * count) for count in range(1, 21))), "shard-too-large", 413)


def test_the_same_large_file_named_often_counts_once(sender: Sender, settings: Settings):
    zeros = Xorb([bytes(131_072)], LZ4)
    sender.send(zeros)
    settings.MAX_WEIGHTS_BYTES = 3_000_000
    assert sender.finish(*[File([(zeros, 0, 1)] * 20)] * 50).status_code == 200
    assert Blob.objects.get().size == 20 * 131_072


def test_files_may_be_larger_than_what_was_sent_within_reason(sender: Sender, settings: Settings):
    xorb = Xorb(raw_xet.cut(os.urandom(900_000)))
    sender.send(xorb)
    settings.MAX_WEIGHTS_BYTES = 1_000_000
    assert sender.finish(File([(xorb, 0, 13)]), File([(xorb, 1, 14)])).status_code == 200
    assert sum(blob.size for blob in Blob.objects.all()) > 1_000_000


def test_too_many_files(sender: Sender):
    nothing = File([], digest=bytes(32), sha256=None)
    assert "Upload them in several commits" in refused(
        sender.finish(raw_xet.TAG + bytes([2]) + bytes(15) + nothing.pack() * 10_001 + raw_xet.BOOKEND), "too-many-files", 413
    )


def test_the_same_file_named_ten_thousand_times_is_stored_once(sender: Sender):
    start = time.monotonic()
    assert sender.finish(*[File([], digest=bytes(32), sha256=None)] * 10_000).status_code == 200
    assert Upload.objects.count() == 1
    assert time.monotonic() - start < 20


def read_all(body: bytes) -> list[bytes]:
    stream, found = io.BytesIO(body), []
    while chunk := xet_format.read_chunk(stream):
        found.append(chunk.raw)
    return found


@limits(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SOUND.body) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int):
    """One changed byte is a fault, or changes the hash, or changes nothing that was sent (as in LZ4's unused bits)."""
    body = bytearray(SOUND.body)
    body[place] ^= change
    try:
        chunks = read_all(bytes(body))
    except HubError as error:
        assert error.code == "xorb-invalid"
    else:
        assert chunks == SOUND.chunks or xet_hashing.of_xorb(raw_xet.nodes(chunks)) != SOUND.digest


@limits(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_random_shards_are_read_or_refused(body: bytes, with_tag: bool):
    start = raw_xet.TAG + bytes([2]) + bytes(15) if with_tag else b""
    try:
        for file in xet_format.read_shard(memoryview(start + body)):
            list(file.terms())
    except HubError as error:
        assert error.code == "shard-invalid"


def test_an_offer_is_bounded(sender: Sender, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xet_store, "MAX_ADOPTED", 3)
    xorbs = [Xorb([bytes([number]) * 9_000]) for number in range(5)]
    for xorb in xorbs:
        sender.send(xorb)
    sender.start()
    offers = [sender.ask(xorb.chunks[0]) for xorb in xorbs]
    assert sum(xorb.digest in offer.content for xorb in xorbs for offer in offers if offer.status_code == 200) <= 9
