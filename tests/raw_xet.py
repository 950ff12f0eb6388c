"""Writes xorbs and shards byte by byte, right or wrong, for tests of the Xet ingest."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import lz4.frame

from hub.hf import xet_hashing

TAG = b"HFRepoMetaData\x00" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
BOOKEND = b"\xff" * 32 + bytes(16)
PLAIN, LZ4, GROUPED = 0, 1, 2
Node = tuple[bytes, int]


def cut(data: bytes, size: int = 65_536) -> list[bytes]:
    """Cut bytes into chunks of one size; where real clients cut depends on the content, and no reader may care."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def pack(raw: bytes, scheme: int) -> bytes:
    """Compress a chunk."""
    if scheme == PLAIN:
        return raw
    return lz4.frame.compress(raw if scheme == LZ4 else b"".join(raw[place::4] for place in range(4)))


def chunk(
    raw: bytes, scheme: int = PLAIN, *, packed: bytes | None = None, packed_size: int | None = None, raw_size: int | None = None, version: int = 0
) -> bytes:
    """One chunk with its header; anything in the header may lie."""
    packed = pack(raw, scheme) if packed is None else packed
    sizes = [len(packed) if packed_size is None else packed_size, len(raw) if raw_size is None else raw_size]
    return bytes([version]) + sizes[0].to_bytes(3, "little") + bytes([scheme]) + sizes[1].to_bytes(3, "little") + packed


def nodes(chunks: Iterable[bytes]) -> list[Node]:
    """Hash and length of each chunk."""
    return [(xet_hashing.of_chunk(raw), len(raw)) for raw in chunks]


@dataclass
class Xorb:
    """A xorb of given chunks."""

    chunks: Sequence[bytes]
    scheme: int = PLAIN

    @property
    def nodes(self) -> list[Node]:
        return nodes(self.chunks)

    @property
    def digest(self) -> bytes:
        return xet_hashing.of_xorb(self.nodes)

    @property
    def name(self) -> str:
        return xet_hashing.to_text(self.digest)

    @property
    def body(self) -> bytes:
        return b"".join(chunk(raw, self.scheme) for raw in self.chunks)


@dataclass
class File:
    """A file made of runs of chunks; what is not given is computed."""

    terms: Sequence[tuple[Xorb, int, int]]
    digest: bytes | None = None
    sha256: str | None = ""
    sizes: Sequence[int] | None = None
    proofs: Sequence[bytes] | None = None
    with_proofs: bool = True
    count: int | None = None
    content: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.content = b"".join(b"".join(x.chunks[start:end]) for x, start, end in self.terms)

    def pack(self) -> bytes:
        """The entries of the file."""
        runs = [x.nodes[start:end] for x, start, end in self.terms]
        digest = self.digest if self.digest is not None else xet_hashing.of_file([node for run in runs for node in run])
        sizes = self.sizes or [sum(size for _, size in run) for run in runs]
        proofs = self.proofs or [xet_hashing.of_range(found for found, _ in run) for run in runs]
        sha256 = hashlib.sha256(self.content).hexdigest() if self.sha256 == "" else self.sha256
        flags = (1 << 31 if self.with_proofs else 0) | (1 << 30 if sha256 else 0)
        parts = [struct.pack("<32sII8x", digest, flags, len(runs) if self.count is None else self.count)]
        parts += [struct.pack("<32sIIII", x.digest, 0, size, start, end) for (x, start, end), size in zip(self.terms, sizes, strict=True)]
        parts += [struct.pack("<32s16x", proof) for proof in proofs if self.with_proofs]
        parts += [struct.pack("<32s16x", xet_hashing.from_text(sha256))] if sha256 else []
        return b"".join(parts)


def whole(*xorbs: Xorb, **more: object) -> File:
    """A file made of whole xorbs."""
    return File([(x, 0, len(x.chunks)) for x in xorbs], **more)  # type: ignore[arg-type]


def shard(*files: File, tag: bytes = TAG, version: int = 2, end: bytes = BOOKEND + BOOKEND) -> bytes:
    """A shard of files, with an empty list of xorbs."""
    return tag + struct.pack("<QQ", version, 0) + b"".join(file.pack() for file in files) + end
