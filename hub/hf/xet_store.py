"""Keeps the xorbs of uploads under way: on disk, a folder for each upload of each person, so that nobody can name what another has sent."""

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from hub import storage
from hub.errors import HubError
from hub.hf import xet_format, xet_hashing
from hub.hf.xet_hashing import Node
from hub.models import User
from hub.services import access, chunks

IDLE_SECONDS = 24 * 3600
MAX_PENDING = 16  # times the largest file
MAX_ADOPTED = 256  # xorbs
MAX_GROWTH = 16  # bytes of files for each byte sent
MAX_REFERENCE = 64 * xet_format.MIB  # bytes of a blob in one xorb
MAX_REFERENCE_CHUNKS = 8192
Offer = tuple[bytes, int, list[Node]]  # a xorb's hash, its length, and its chunks
_INDEX = struct.Struct("<32sIBIQ")  # hash, raw length, scheme, packed length, position
_TAIL = struct.Struct("<II64s")  # number of chunks, their length as sent, and the sha256 of the blob that holds them, where they are not here
_NODE = struct.Struct("<32sI")


class Xorb:
    """A verified xorb on disk: its chunks, or none where a blob holds the same bytes; then an index of them, and a tail."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        end = file.seek(-_TAIL.size, os.SEEK_END)
        self.count, self.size, blob = _TAIL.unpack(file.read(_TAIL.size))
        self._start = end - self.count * _INDEX.size
        self._blob = blob.strip(b"\0").decode()

    @property
    def worth(self) -> int:
        """Return the bytes of files that may be made of it."""
        return self.size if self._blob else self.size * MAX_GROWTH

    def nodes(self, start: int, end: int) -> list[Node]:
        """Return hash and raw length of each chunk of a run."""
        return [(digest, size) for digest, size, _, _, _ in self._entries(start, end)]

    def pieces(self, start: int, end: int) -> Iterator[bytes | memoryview]:
        """Yield the raw bytes of a run of chunks, those together that were not compressed and lie side by side."""
        with storage.open_blob(self._blob) if self._blob else nullcontext(self._file) as source:
            begin = stop = 0  # what was not compressed and is still to be read
            for _, size, scheme, packed_size, position in self._entries(start, end):
                if scheme == xet_format.PLAIN and position == stop and stop - begin < xet_format.MIB:
                    stop += size
                    continue
                yield from _read(source, begin, stop)
                begin = stop = position
                if scheme == xet_format.PLAIN:
                    stop += size
                else:
                    yield from (xet_format.unpack(scheme, packed, size) for packed in _read(source, position, position + packed_size))
            yield from _read(source, begin, stop)

    def _entries(self, start: int, end: int) -> list[tuple[bytes, int, int, int, int]]:
        self._file.seek(self._start + start * _INDEX.size)
        return list(_INDEX.iter_unpack(self._file.read((end - start) * _INDEX.size)))


class Session:
    """The xorbs of one upload. `key` is the part of the address that the client got for it."""

    def __init__(self, user: User, key: str) -> None:
        self.user = user
        self._owner = _root() / str(user.pk)
        self.folder = self._owner / key

    def keep(self, digest: bytes, stream: xet_format.Readable) -> bool:
        """Verify a xorb while it arrives and keep it, or raise and keep nothing; say whether it is new."""
        new = not self._path(digest).exists()
        self._check_room()
        self._write(digest, lambda out: _copy(stream, out, digest))
        return new

    def adopt(self, chunk: bytes) -> list[Offer]:
        """Find an unfinished upload of the same person that holds this chunk, make its xorbs part of this one, and return what they hold."""
        for folder in self._owner.glob("*"):
            names = [path.name for path in folder.glob("[0-9a-f]*") if not path.suffix][:MAX_ADOPTED]
            if folder != self.folder and any(chunk in (digest for digest, _ in nodes) for _, _, nodes in _contents(folder, names)):
                self.folder.mkdir(parents=True, exist_ok=True)
                return list(_contents(self.folder, [name for name in names if _link(folder / name, self.folder / name)]))
        return []

    def refer(self, chunk: bytes) -> list[Offer]:
        """Find a file that begins with this chunk and that the person has or may read, and make xorbs of it that hold no bytes of their own."""
        row = chunks.find(user=self.user, first=xet_hashing.to_text(chunk))
        if row is None:
            return []
        found: list[Offer] = []
        position = 0
        for nodes in islice(_groups(bytes(row.chunks)), MAX_ADOPTED):
            digest, size = xet_hashing.of_xorb(nodes), sum(size for _, size in nodes)
            self._write(digest, partial(_refer, nodes=nodes, position=position, sha256=row.blob_id))
            found.append((digest, size, nodes))
            position += size
        return found

    def open(self, digest: bytes) -> BinaryIO:
        """Open a xorb, or refuse one that this upload does not have."""
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError as error:
            text = f"This upload holds no xorb {xet_hashing.to_text(digest)[:16]}. Start the upload again, and it will be sent again."
            raise HubError("xorb-missing", text) from error

    def touch(self) -> None:
        """Say that the upload is alive."""
        if self.folder.exists():
            os.utime(self.folder)

    def drop_if_used_up(self, used: set[bytes]) -> None:
        """Delete the xorbs if `used` names all of them."""
        if {path.name for path in self.folder.glob("*")} <= {self._path(digest).name for digest in used}:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, digest: bytes) -> Path:
        return self.folder / xet_hashing.to_text(digest)

    def _write(self, digest: bytes, write: Callable[[BinaryIO], None]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as out:
                    write(out)
                Path(temporary).replace(self._path(digest))
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise storage.disk_error(error) from error

    def _check_room(self) -> None:
        limit = MAX_PENDING * access.largest_file(self.user)
        if self._owner.exists() and sum(_size(folder) for folder in self._owner.iterdir()) > limit:
            text = f"More than {limit / 1e9:.0f} GB of your unfinished uploads wait here. Finish them, or try again tomorrow, when they will be gone."
            raise HubError("too-much-pending", text, status=413)


def sweep() -> None:
    """Delete uploads in which nothing has happened for a day."""
    limit = time.time() - IDLE_SECONDS
    for folder in _root().glob("*/*"):
        try:
            old = folder.stat().st_mtime < limit
        except FileNotFoundError:  # another process was faster
            continue
        if old:
            shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    return Path(settings.WORK_DIR) / "xet"


def _contents(folder: Path, names: Sequence[str]) -> Iterator[Offer]:
    """Yield hash, length as sent, and chunks of each xorb."""
    for name in names:
        with suppress(FileNotFoundError), (folder / name).open("rb") as stream:
            xorb = Xorb(stream)
            yield xet_hashing.from_text(name), xorb.size, xorb.nodes(0, xorb.count)


def _link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return True
    except FileNotFoundError:  # that upload was finished meanwhile
        return False
    return True


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        try:
            found = path.stat()
        except FileNotFoundError:  # a part that became a xorb
            continue
        total += found.st_size // found.st_nlink  # an adopted xorb lies in two uploads
    return total


def _read(source: BinaryIO, begin: int, stop: int) -> Iterator[bytes]:
    if begin < stop:
        source.seek(begin)
        yield source.read(stop - begin)


def _copy(stream: xet_format.Readable, out: BinaryIO, digest: bytes) -> None:
    nodes: list[Node] = []
    index = bytearray()
    position = sent = 0
    while chunk := xet_format.read_chunk(stream):
        if len(nodes) == xet_format.MAX_CHUNKS:
            raise HubError("xorb-invalid", f"This xorb has more than {xet_format.MAX_CHUNKS} chunks. Nothing was stored.", status=413)
        nodes.append((xet_hashing.of_chunk(chunk.raw), len(chunk.raw)))
        sent += xet_format.HEADER + len(chunk.packed)
        # Joining is then no more than reading; but a small xorb must not become gigabytes here.
        unpacked = position + len(chunk.raw) <= xet_format.MAX_XORB
        scheme, data = (xet_format.PLAIN, chunk.raw) if unpacked else (chunk.scheme, chunk.packed)
        index += _INDEX.pack(*nodes[-1], scheme, len(data), position)
        position += out.write(data)
    while stream.read(xet_format.MIB):  # a footer may follow; it holds nothing that was not just computed
        pass
    if not nodes or xet_hashing.of_xorb(nodes) != digest:
        raise HubError("xorb-mismatch", "The bytes of this xorb do not have the hash in its address. Nothing was stored; send it again.")
    out.write(index + _TAIL.pack(len(nodes), sent, b""))


def _refer(out: BinaryIO, *, nodes: Sequence[Node], position: int, sha256: str) -> None:
    total = 0
    for digest, size in nodes:
        out.write(_INDEX.pack(digest, size, xet_format.PLAIN, size, position + total))
        total += size
    out.write(_TAIL.pack(len(nodes), total, sha256.encode()))


def pack(nodes: Iterable[Node]) -> bytes:
    """Write chunks as `refer` reads them."""
    return b"".join(_NODE.pack(*node) for node in nodes)


def _groups(packed: bytes) -> Iterator[list[Node]]:
    """Split the chunks of a file into xorbs."""
    group: list[Node] = []
    total = 0
    for digest, size in _NODE.iter_unpack(packed):
        if total + size > MAX_REFERENCE or len(group) == MAX_REFERENCE_CHUNKS:
            yield group
            group, total = [], 0
        group.append((digest, size))
        total += size
    if group:
        yield group
