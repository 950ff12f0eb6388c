"""Blobs in an S3 bucket, through django-storages: what is durable when the disk is only a cache. Keys are `blobs/<ab>/<cd>/<sha256>`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files.storage import storages

MISSING = ("404", "NoSuchKey", "NotFound")
PRUNING_SECONDS = 30.0  # a mark older than this was left by a process that died
COPY_BYTES = 5_000_000_000  # larger ones cannot be copied in one request


class Unavailable(Exception):
    """The bucket does not answer, or refuses."""


class _Missing(Unavailable):
    """The bucket answers that there is no such object."""


@contextmanager
def _asked() -> Iterator[None]:
    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and _code(error) in MISSING:
            raise _Missing from error
        raise Unavailable(str(error)) from error


class Bucket:
    """The blobs of a hub in one bucket. Every method raises Unavailable when the bucket does not answer."""

    def __init__(self, alias: str, public: str) -> None:
        self._storage: Any = storages[alias]
        self._public: Any = storages[public]

    def ensure(self) -> None:
        """Make the bucket if it is not there."""
        try:
            with _asked():
                self._storage.connection.meta.client.head_bucket(Bucket=self._storage.bucket_name)
        except _Missing:
            with _asked():
                self._storage.bucket.create()

    def has(self, sha256: str) -> bool:
        """Whether the bytes are there."""
        return self._head(key(sha256)) is not None

    def put(self, path: Path, sha256: str, size: int) -> None:
        """Upload a file, or mark that somebody wants the bytes that are there."""
        name = key(sha256)
        if self._touch(name, size):
            self._wait_for_pruning(sha256)
            if self._head(name) is not None:
                return
        with _asked():
            self._storage.bucket.upload_file(str(path), name)

    def fetch(self, sha256: str, path: Path) -> bool:
        """Download the bytes into a file; False where there are none."""
        try:
            with _asked():
                self._storage.bucket.download_file(key(sha256), str(path))
        except _Missing:
            return False
        return True

    def address(self, sha256: str, *, content_type: str, disposition: str, seconds: int) -> str:
        """Return a link that lets its holder download the bytes for some time."""
        headers = {"ResponseContentType": content_type, "ResponseContentDisposition": disposition, "ResponseCacheControl": "private, no-cache"}
        return str(self._public.url(key(sha256), parameters=headers, expire=seconds))

    def names(self) -> Iterator[str]:
        """Yield the sha256 of everything that is there."""
        with _asked():
            for found in self._storage.bucket.objects.filter(Prefix="blobs/"):
                yield found.key.rpartition("/")[2]

    def discard(self, sha256: str, *, before: float) -> int:
        """Remove bytes that nobody has put since `before`, and return how many.

        A mark tells whoever puts them at this moment to wait and then to look again: a bucket can neither rename nor remove under a condition.
        """
        name, mark = key(sha256), f"pruning/{sha256}"
        with _asked():
            self._storage.bucket.put_object(Key=mark, Body=b"")
            try:
                found = self._head(name)
                if found is None or found["LastModified"].timestamp() >= before:
                    return 0
                self._storage.bucket.Object(name).delete()
                return int(found["ContentLength"])
            finally:
                self._storage.bucket.Object(mark).delete()

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            with _asked():
                found: dict[str, Any] = self._storage.connection.meta.client.head_object(Bucket=self._storage.bucket_name, Key=name)
        except _Missing:
            return None
        return found

    def _touch(self, name: str, size: int) -> bool:
        """Give the object a new time; False where it is missing, of another size, or too large for that."""
        found = self._head(name)
        if found is None or found["ContentLength"] != size or size > COPY_BYTES:
            return False
        source = {"Bucket": self._storage.bucket_name, "Key": name}
        try:
            with _asked():
                self._storage.bucket.Object(name).copy_from(CopySource=source, MetadataDirective="REPLACE")
        except _Missing:
            return False
        return True

    def _wait_for_pruning(self, sha256: str) -> None:
        deadline = time.monotonic() + PRUNING_SECONDS
        while self._head(f"pruning/{sha256}") is not None and time.monotonic() < deadline:
            time.sleep(0.2)


def spread(sha256: str) -> str:
    """Return where a blob lies below a folder of blobs: no folder holds too many."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def key(sha256: str) -> str:
    """Return the key of a blob."""
    return f"blobs/{spread(sha256)}"


def bucket() -> Bucket | None:
    """Return the bucket of the settings; None where blobs lie on this machine's disk."""
    return _bucket() if settings.S3_BUCKET else None


@lru_cache(maxsize=1)
def _bucket() -> Bucket:
    return Bucket("blobs", "blobs-public")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
