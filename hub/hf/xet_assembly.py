"""Turns the files of a shard into ordinary blobs: checks every number first, then joins the chunks while the store hashes them."""

from collections.abc import Iterator
from dataclasses import dataclass

from hub import storage
from hub.errors import HubError
from hub.hf import xet_format, xet_hashing, xet_store
from hub.hf.xet_store import Session, Xorb
from hub.services import access, chunks, uploads

BUFFER = xet_format.MIB


@dataclass(frozen=True)
class _Wanted:
    """A file that was checked and is to be stored."""

    file: xet_format.File
    size: int
    first: str
    chunks: bytes


def store_files(*, session: Session, shard: memoryview) -> None:
    """Store every file of a shard and remember who sent it. What the sender has here already is not joined again, so a repeated shard is cheap."""
    used: dict[bytes, int] = {}
    wanted: dict[bytes, _Wanted] = {}
    total = 0
    for file in xet_format.read_shard(shard):
        if file.digest in wanted or (file.sha256 and uploads.owned(user=session.user, sha256=file.sha256)):
            for term in file.terms():
                used.setdefault(term.xorb, 0)
            continue
        wanted[file.digest] = _check(session, file, used)
        total += wanted[file.digest].size
        if total > access.largest_file(session.user) + sum(used.values()):
            raise HubError("shard-too-large", "The files of this shard are far larger than what was sent for them. Upload them in several commits.", status=413)
    for want in wanted.values():
        session.touch()
        expect = storage.Stored(want.file.sha256, want.size) if want.file.sha256 else None
        stored = storage.put(_Joined(session, want.file), limit=want.size, expect=expect)
        blob = uploads.remember(user=session.user, stored=stored)
        chunks.remember(blob=blob, first=want.first, chunks=want.chunks)
    # A client with more than one shard splits them at the size limit, and then another one may name the same xorbs.
    if len(shard) < xet_format.MAX_SHARD // 2:
        session.drop_if_used_up(set(used))


class _Joined:
    """The bytes of a file, from one xorb after another, as a stream."""

    def __init__(self, session: Session, file: xet_format.File) -> None:
        self._pieces = _pieces(session, file)

    def read(self, size: int = -1) -> bytes | memoryview:
        """Return the next bytes; how many depends on how they came."""
        return next(self._pieces, b"")


def _pieces(session: Session, file: xet_format.File) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file, small ones gathered."""
    gathered = bytearray()
    for term in file.terms():
        with session.open(term.xorb) as stream:
            for piece in Xorb(stream).pieces(term.start, term.end):
                if len(piece) >= BUFFER and not gathered:
                    yield piece
                    continue
                gathered += piece
                if len(gathered) >= BUFFER:
                    yield bytes(gathered)
                    gathered = bytearray()
    if gathered:
        yield bytes(gathered)


def _check(session: Session, file: xet_format.File, used: dict[bytes, int]) -> _Wanted:
    """Return a file whose terms name chunks that are here and give their true lengths and hashes, or refuse."""
    nodes: list[xet_hashing.Node] = []
    size = 0
    for term in file.terms():
        size += term.size
        if size > (limit := access.largest_file(session.user)):
            raise HubError("file-too-large", f"A file is larger than the limit of {limit / 1e6:.0f} MB.", status=413)
        with session.open(term.xorb) as stream:
            xorb = Xorb(stream)
            if not term.start < term.end <= xorb.count:
                raise _mismatch("a file names chunks that its xorb does not have")
            found, worth = xorb.nodes(term.start, term.end), xorb.worth
        if sum(length for _, length in found) != term.size:
            raise _mismatch("a part of a file has another length than the shard says")
        if term.proof is not None and term.proof != xet_hashing.of_range(digest for digest, _ in found):
            raise _mismatch("a part of a file consists of other chunks than the shard says")
        nodes += found
        # Every chunk but a file's last has a least size; without it a small shard could name endless work.
        if len(nodes) > size // xet_format.MIN_CHUNK + 1:
            raise _mismatch(f"a file consists of chunks smaller than {xet_format.MIN_CHUNK} bytes")
        used[term.xorb] = worth
    if xet_hashing.of_file(nodes) != file.digest:
        raise _mismatch("a file has another hash than the shard says")
    return _Wanted(file, size, xet_hashing.to_text(nodes[0][0]) if nodes else "", xet_store.pack(nodes))


def _mismatch(why: str) -> HubError:
    return HubError("shard-mismatch", f"This shard does not fit what was sent: {why}. Nothing was stored.")
