"""Git's ids of files, which clients compare with their own: of small files the content's, of large ones that of an LFS pointer."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from hub import storage

LARGE = ".safetensors"
REGULAR_BYTES = 1_000_000  # larger files are sent ahead of their commit


def is_large(path: str, size: int) -> bool:
    """Say whether clients treat a file as an LFS object: its bytes go ahead of the commit. There is nothing to send of an empty one."""
    return size > 0 and (path.lower().endswith(LARGE) or size > REGULAR_BYTES)


def of(path: str, sha256: str, size: int) -> str:
    """Return git's id of a file of a revision."""
    return pointer(sha256, size) if is_large(path, size) else _content(sha256)


def pointer(sha256: str, size: int) -> str:
    """Return the id of the pointer file that git would hold."""
    return _blob_id(pointer_text(sha256, size))


def pointer_text(sha256: str, size: int) -> bytes:
    """Return the pointer file that git would hold."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def tree(files: Iterable[tuple[str, str]]) -> str:
    """Return an id for a folder that changes with what is in it. It is not git's: nobody can compare it with anything but itself."""
    text = "".join(f"{path}\0{sha256}\n" for path, sha256 in sorted(files))
    return hashlib.sha1(b"tree " + text.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=100_000)
def _content(sha256: str) -> str:
    # The bytes of a sha256 never change, so what is remembered is never wrong.
    with storage.open_blob(sha256) as stream:
        return _blob_id(stream.read(REGULAR_BYTES + 1))


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
