"""Computes the hashes of the Xet protocol: of a chunk, of a xorb, of a file, and of the chunks that a term names."""

import struct
from collections.abc import Iterable, Sequence

from blake3 import blake3

CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
RANGE_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
FILE_KEY = EMPTY = bytes(32)
BRANCHING, MAX_GROUP = 4, 9
Node = tuple[bytes, int]  # a hash, and the number of bytes below it
_WORDS = struct.Struct("<4Q")


def of_chunk(data: bytes | memoryview) -> bytes:
    """Return the hash of a chunk's bytes."""
    return blake3(data, key=CHUNK_KEY).digest()


def of_xorb(chunks: Sequence[Node]) -> bytes:
    """Return the root of the tree over chunk hashes; where a group ends depends on the hashes in it."""
    nodes = list(chunks)
    while len(nodes) > 1:
        merged, start = [], 0
        while start < len(nodes):
            end = _group_end(nodes, start)
            merged.append(_merge(nodes[start:end]))
            start = end
        nodes = merged
    return nodes[0][0] if nodes else EMPTY


def of_file(chunks: Sequence[Node]) -> bytes:
    """Return the hash that names a file."""
    return blake3(of_xorb(chunks), key=FILE_KEY).digest() if chunks else EMPTY


def of_range(hashes: Iterable[bytes]) -> bytes:
    """Return the proof that the sender of a term knows its chunks."""
    return blake3(b"".join(hashes), key=RANGE_KEY).digest()


def to_text(digest: bytes) -> str:
    """Write a hash as the protocol does in addresses: four little-endian numbers."""
    text = digest[::-1].hex()  # the numbers in reverse
    return text[48:] + text[32:48] + text[16:32] + text[:16]


def from_text(text: str) -> bytes:
    """Read a hash from an address."""
    return _WORDS.pack(*(int(text[at : at + 16], 16) for at in range(0, 64, 16)))


def _group_end(nodes: Sequence[Node], start: int) -> int:
    limit = min(start + MAX_GROUP, len(nodes))
    for at in range(start + 2, limit):
        if nodes[at][0][24] % BRANCHING == 0:  # of the last little-endian number, the first byte decides
            return at + 1
    return limit


def _merge(nodes: Sequence[Node]) -> Node:
    lines = "".join(f"{to_text(digest)} : {size}\n" for digest, size in nodes)
    return blake3(lines.encode(), key=NODE_KEY).digest(), sum(size for _, size in nodes)
