"""Blobs in an S3 bucket, through django-storages: what is durable when the disk is only a cache. Keys are `blobs/<ab>/<cd>/<sha256>`."""

import logging
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

logger = logging.getLogger(__name__)
MISSING = ("404", "NoSuchKey", "NoSuchUpload", "NotFound")
PRUNING_SECONDS = 30.0  # a mark older than this was left by a process that died
CORS = {"AllowedMethods": ["GET", "HEAD", "PUT"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 3600}
COPY_BYTES = 5_000_000_000  # larger ones cannot be copied in one request


class Unavailable(Exception):
    """The bucket does not answer, or refuses."""


class Missing(Unavailable):
    """The bucket answers that there is no such object, or no such upload."""


@contextmanager
def asked() -> Iterator[None]:
    """Turn what the bucket, or the way to it, says of a request into Unavailable or Missing."""
    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and _code(error) in MISSING:
            raise Missing from error
        raise Unavailable(str(error)) from error


class Bucket:
    """The blobs of a hub in one bucket. Every method raises Unavailable when the bucket does not answer."""

    def __init__(self, alias: str, public: str) -> None:
        self._storage: Any = storages[alias]
        self._public: Any = storages[public]

    @property
    def name(self) -> str:
        """What the bucket is called."""
        return str(self._storage.bucket_name)

    @property
    def client(self) -> Any:
        """A client of boto3 at the address that the hub uses."""
        return self._storage.connection.meta.client

    @property
    def signer(self) -> Any:
        """A client of boto3 at the address that people use; it only signs links."""
        return self._public.connection.meta.client

    def ensure(self, origin: str) -> None:
        """Make the bucket if it is not there, so that pages of the hub may send files to it."""
        try:
            with asked():
                self.client.head_bucket(Bucket=self.name)
        except Missing:
            with asked():
                self._storage.bucket.create()
            try:
                with asked():
                    self.client.put_bucket_cors(Bucket=self.name, CORSConfiguration={"CORSRules": [{**CORS, "AllowedOrigins": [origin]}]})
            except Unavailable:  # MinIO, for one, has no such rules: the whole server lets pages in, or does not
                logger.warning("the new bucket takes no CORS rule; see that pages from %s may PUT to it", origin)

    def has(self, sha256: str) -> bool:
        """Whether the bytes are there."""
        return self._head(key(sha256)) is not None

    def put(self, path: Path, sha256: str, size: int, *, copy_of: str = "") -> None:
        """Upload a file, or mark that somebody wants the bytes that are there. Where another key has the same bytes, the bucket copies them by itself."""
        name = key(sha256)
        if self._touch(name, size):
            self._wait_for_pruning(sha256)
            if self._head(name) is not None:
                return
        with asked():
            if copy_of:
                self._storage.bucket.copy({"Bucket": self.name, "Key": copy_of}, name)  # in parts where one request is not enough
            else:
                self._storage.bucket.upload_file(str(path), name)

    def fetch(self, sha256: str, path: Path) -> bool:
        """Download the bytes into a file; False where there are none."""
        try:
            with asked():
                self._storage.bucket.download_file(key(sha256), str(path))
        except Missing:
            return False
        return True

    def address(self, sha256: str, *, content_type: str, disposition: str, seconds: int) -> str:
        """Return a link that lets its holder download the bytes for some time."""
        headers = {"ResponseContentType": content_type, "ResponseContentDisposition": disposition, "ResponseCacheControl": "private, no-cache"}
        return str(self._public.url(key(sha256), parameters=headers, expire=seconds))

    def names(self) -> Iterator[str]:
        """Yield the sha256 of everything that is there."""
        with asked():
            for found in self._storage.bucket.objects.filter(Prefix="blobs/"):
                yield found.key.rpartition("/")[2]

    def discard(self, sha256: str, *, before: float) -> int:
        """Remove bytes that nobody has put since `before`, and return how many.

        A mark tells whoever puts them at this moment to wait and then to look again: a bucket can neither rename nor remove under a condition.
        """
        name, mark = key(sha256), f"pruning/{sha256}"
        with asked():
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
            with asked():
                found: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=name)
        except Missing:
            return None
        return found

    def _touch(self, name: str, size: int) -> bool:
        """Give the object a new time; False where it is missing, of another size, or too large for that."""
        found = self._head(name)
        if found is None or found["ContentLength"] != size or size > COPY_BYTES:
            return False
        source = {"Bucket": self.name, "Key": name}
        try:
            with asked():
                self._storage.bucket.Object(name).copy_from(CopySource=source, MetadataDirective="REPLACE")
        except Missing:
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
