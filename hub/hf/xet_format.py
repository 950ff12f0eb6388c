"""Reads xorbs and shards, the two binary formats of the Xet protocol, and writes the shard that offers chunks for reuse. No number in them is taken on trust.

A xorb is a run of chunks: `version u8, packed length u24, scheme u8, raw length u24, packed bytes`.
A shard says which chunks of which xorbs make up which files, in entries of 48 bytes.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import lz4.frame
import numpy as np

from hub.errors import HubError
from hub.hf import xet_hashing

KIB, MIB = 1 << 10, 1 << 20
MIN_CHUNK, MAX_CHUNK = 8 * KIB, 128 * KIB
MAX_PACKED = MAX_CHUNK + 4 * KIB  # what LZ4 makes of bytes that cannot be compressed
MAX_CHUNKS = 65_536
MAX_XORB = 64 * MIB + 8 * MAX_CHUNKS + MIB  # 64 MiB of chunks, their headers, and a footer
MAX_SHARD = 64 * MIB
MAX_FILES = 10_000
HEADER = 8
FOOTER_MARK = b"XETBLOB"
PLAIN, LZ4, GROUPED_LZ4 = 0, 1, 2

SHARD_TAG = b"HFRepoMetaData\x00" + bytes([85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169])
SHARD_VERSION, FOOTER_VERSION, FOOTER_SIZE = 2, 1, 200
WITH_PROOFS, WITH_SHA256 = 1 << 31, 1 << 30
ENTRY = 48
BOOKEND = b"\xff" * 32
_SHARD_HEADER = struct.Struct("<32sQQ")
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_DIGEST = struct.Struct("<32s16x")
_XORB = struct.Struct("<32sIIII")
_CHUNK = struct.Struct("<32sII8x")
_FOOTER = struct.Struct("<QQQQ8xQ8xQ8x32sQQ72xQ")


class Readable(Protocol):
    """What gives so many bytes, or fewer at its end."""

    def read(self, size: int, /) -> bytes | memoryview:
        """Return the next bytes."""


class Chunk(NamedTuple):
    """A chunk as it was sent, without its header, and the bytes it stands for, which are the same ones where nothing was packed."""

    scheme: int
    packed: bytes | memoryview
    raw: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Term:
    """A run of chunks `start` to `end` (exclusive) of a xorb, `size` bytes long; `proof` is the hash over their hashes, where it was sent."""

    xorb: bytes
    size: int
    start: int
    end: int
    proof: bytes | None


@dataclass(frozen=True)
class File:
    """A file of a shard; its terms are read from the shard only when asked for, because there may be a million."""

    digest: bytes
    sha256: str | None
    _terms: memoryview
    _proofs: memoryview | None

    def terms(self) -> Iterator[Term]:
        """Yield the runs of chunks that make up the file, in their order."""
        for at in range(0, len(self._terms), ENTRY):
            xorb, _, size, start, end = _TERM.unpack_from(self._terms, at)
            proof = None if self._proofs is None else _DIGEST.unpack_from(self._proofs, at)[0]
            yield Term(xorb, size, start, end, proof)


class Blocks:
    """A stream that is read in large blocks and handed out in small pieces, which are not copied where they lie in one block."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read, self._block = read, memoryview(b"")

    def read(self, size: int, /) -> memoryview:
        """Return the next bytes; fewer at the end."""
        piece, self._block = self._block[:size], self._block[size:]
        if len(piece) == size:
            return piece
        parts, missing = [piece], size - len(piece)
        while missing and (block := memoryview(self._read(MIB))):
            parts.append(block[:missing])
            missing, self._block = max(0, missing - len(block)), block[missing:]
        return memoryview(b"".join(parts))


def read_chunk(stream: Readable) -> Chunk | None:
    """Return the next chunk of a xorb, or nothing where the chunks end."""
    header = bytes(stream.read(HEADER))
    if not header or header.startswith(FOOTER_MARK):
        return None
    if len(header) < HEADER:
        raise _broken_xorb("it ends inside the header of a chunk")
    packed_size, raw_size, scheme = int.from_bytes(header[1:4], "little"), int.from_bytes(header[5:8], "little"), header[4]
    if header[0] != 0:
        raise _broken_xorb(f"a chunk has the version {header[0]}, and only 0 is known")
    if not 0 < raw_size <= MAX_CHUNK or not 0 < packed_size <= MAX_PACKED:
        raise _broken_xorb(f"a chunk says it has {packed_size} packed and {raw_size} raw bytes, and a chunk has 1 to {MAX_CHUNK}")
    packed = stream.read(packed_size)
    if len(packed) < packed_size:
        raise _broken_xorb("it ends inside a chunk")
    return Chunk(scheme, packed, unpack(scheme, packed, raw_size))


def unpack(scheme: int, packed: bytes | memoryview, size: int) -> bytes | memoryview:
    """Return the bytes of a chunk, or refuse it; never more than one byte over the `size` that was promised is decompressed."""
    if scheme not in (PLAIN, LZ4, GROUPED_LZ4):
        raise _broken_xorb(f"a chunk is compressed by scheme {scheme}, and only 0 (none), 1 (LZ4) and 2 (grouped LZ4) are known")
    raw = packed if scheme == PLAIN else _decompress(packed, size)
    if len(raw) != size:
        raise _broken_xorb("a chunk has another length than its header says")
    return _ungroup(raw) if scheme == GROUPED_LZ4 else raw


def read_shard(data: memoryview) -> Iterator[File]:
    """Yield the files of a shard. What follows them, the sender's list of xorbs, says nothing that the xorbs themselves do not say."""
    if len(data) < _SHARD_HEADER.size or _SHARD_HEADER.unpack_from(data)[:2] != (SHARD_TAG, SHARD_VERSION):
        raise _broken_shard("it does not start as one")
    at = _SHARD_HEADER.size
    for _ in range(MAX_FILES + 1):
        head, at = _take(data, at, 1)
        digest, flags, count = _FILE.unpack(head)
        if digest == BOOKEND:
            return
        terms, at = _take(data, at, count)
        proofs, sha256 = None, None
        if flags & WITH_PROOFS:
            proofs, at = _take(data, at, count)
        if flags & WITH_SHA256:
            entry, at = _take(data, at, 1)
            (entry_digest,) = _DIGEST.unpack(entry)
            sha256 = xet_hashing.to_text(entry_digest) if any(entry_digest) else None  # of an empty file the reference client sends zeros
        yield File(digest, sha256, terms, proofs)
    raise HubError("too-many-files", f"One shard names more than {MAX_FILES} files. Upload them in several commits.", status=413)


def write_shard(xorbs: Iterable[tuple[bytes, int, Sequence[tuple[bytes, int]]]], *, expires: int) -> bytes:
    """Return the shard that tells a client which xorbs are here: each with its hash, its length as sent, and the hashes and raw lengths of its chunks."""
    bookend = BOOKEND + bytes(16)
    parts = [bookend]
    for digest, sent, chunks in xorbs:
        parts.append(_XORB.pack(digest, 0, len(chunks), sum(size for _, size in chunks), sent))
        at = 0
        for chunk, size in chunks:
            parts.append(_CHUNK.pack(chunk, at, size))
            at += size
    parts.append(bookend)
    body = b"".join(parts)
    start, end = _SHARD_HEADER.size, _SHARD_HEADER.size + len(body)
    # The reference client takes the start of the (empty) lookup tables for the end of the list of xorbs.
    footer = _FOOTER.pack(FOOTER_VERSION, start, start + ENTRY, end, end, end, bytes(32), 0, expires, end)
    return _SHARD_HEADER.pack(SHARD_TAG, SHARD_VERSION, FOOTER_SIZE) + body + footer


def _take(data: memoryview, at: int, count: int) -> tuple[memoryview, int]:
    end = at + count * ENTRY
    if end > len(data):
        raise _broken_shard("it names more entries than it holds")
    return data[at:end], end


def _decompress(packed: bytes | memoryview, size: int) -> bytes:
    decoder = lz4.frame.LZ4FrameDecompressor()
    try:
        raw: bytes = decoder.decompress(packed, max_length=size + 1)
    except RuntimeError as error:
        raise _broken_xorb("a chunk is not valid LZ4") from error
    if not decoder.eof or decoder.unused_data:
        raise _broken_xorb("a chunk has another length than its header says")
    return raw


def _ungroup(grouped: bytes | memoryview) -> bytes:
    """Undo the grouping of bytes by their place among each four."""
    size = len(grouped)
    raw, source, at = np.empty(size, np.uint8), np.frombuffer(grouped, np.uint8), 0
    for place in range(4):
        count = len(range(place, size, 4))
        raw[place::4] = source[at : at + count]
        at += count
    return raw.tobytes()


def _broken_xorb(why: str) -> HubError:
    return HubError("xorb-invalid", f"This xorb cannot be read: {why}. Nothing was stored.")


def _broken_shard(why: str) -> HubError:
    return HubError("shard-invalid", f"This shard cannot be read: {why}. Nothing was stored.")
