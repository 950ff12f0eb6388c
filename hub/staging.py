"""Files on their way into the bucket, which their senders bring there themselves: parts by signed links, joined here, hashed here, and only then blobs.

What was joined nobody outside can change any more: the links name an upload that has ended. So what was hashed is what is copied.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hub import object_store, storage
from hub.errors import HubError
from hub.object_store import Bucket, Missing, asked

LEAST_PART = 5 << 20  # bytes that every part but the last must have, says S3
LARGEST_PART = 5 << 30
MAX_PARTS = 10_000
PREFIX = "staging/"


@dataclass(frozen=True)
class Upload:
    """An upload under way: its key in the bucket, and the id by which its parts are sent; none where they were joined."""

    key: str
    upload: str = ""


def begin() -> Upload:
    """Begin an upload under a key that nobody can guess."""
    here = _bucket()
    key = PREFIX + secrets.token_hex(16)
    with storage.available(), asked():
        return Upload(key, str(here.client.create_multipart_upload(Bucket=here.name, Key=key)["UploadId"]))


def link(one: Upload, number: int, size: int, *, seconds: int) -> str:
    """Return a link by which its holder sends this part. It takes exactly `size` bytes: their number is signed too."""
    here = _bucket()
    given = {"Bucket": here.name, "Key": one.key, "UploadId": one.upload, "PartNumber": number, "ContentLength": size}
    return str(here.signer.generate_presigned_url("upload_part", Params=given, ExpiresIn=seconds))


def parts(one: Upload) -> dict[int, tuple[int, str]] | None:
    """Return size and ETag of the parts that have come; None where the upload has ended, one way or the other."""
    here = _bucket()
    try:
        with storage.available(Missing), asked():
            pages = here.client.get_paginator("list_parts").paginate(Bucket=here.name, Key=one.key, UploadId=one.upload)
            return {part["PartNumber"]: (part["Size"], part["ETag"]) for page in pages for part in page.get("Parts", [])}
    except Missing:
        return None


def join(one: Upload, found: dict[int, tuple[int, str]]) -> None:
    """Make these parts one object. Where somebody was faster it is one already."""
    here = _bucket()
    listed = [{"PartNumber": number, "ETag": tag} for number, (_, tag) in sorted(found.items())]
    with suppress(Missing), storage.available(Missing), asked():
        here.client.complete_multipart_upload(Bucket=here.name, Key=one.key, UploadId=one.upload, MultipartUpload={"Parts": listed})


def take(one: Upload, expect: storage.Stored) -> bool:
    """Make what was joined a blob, if it hashes to its name; False where nothing is there. Anything else is removed, and `content-mismatch`.

    It is read once: a store says the sha256 of a whole file only of files that came in one piece, and the check of the weights wants them here anyway.
    """
    here = _bucket()
    try:
        handle, temporary = tempfile.mkstemp(dir=storage.settings.WORK_DIR, prefix="blob-")
        os.close(handle)
        path = Path(temporary)
        try:
            with storage.available(Missing), asked():
                here.client.download_file(here.name, one.key, temporary)
            storage.take(path, expect, copy_of=one.key)
        finally:
            path.unlink(missing_ok=True)
    except Missing:
        return False
    except OSError as error:
        raise storage.disk_error(error) from error
    except HubError as error:
        if error.code == "content-mismatch":
            drop(one)
        raise
    drop(one)
    return True


def drop(one: Upload) -> None:
    """Remove an upload: its parts, or what they were joined to."""
    here = _bucket()
    with storage.available():
        with suppress(Missing), asked():  # it may have been joined
            if one.upload:
                here.client.abort_multipart_upload(Bucket=here.name, Key=one.key, UploadId=one.upload)
        with asked():
            here.client.delete_object(Bucket=here.name, Key=one.key)


def left(before: datetime) -> Iterator[Upload]:
    """Yield what lies here since before that time: uploads under way, and what was joined and never became a blob."""
    here = _bucket()
    with storage.available(), asked():
        for page in here.client.get_paginator("list_multipart_uploads").paginate(Bucket=here.name, Prefix=PREFIX):
            yield from (Upload(row["Key"], row["UploadId"]) for row in page.get("Uploads", []) if row["Initiated"] < before)
        for page in here.client.get_paginator("list_objects_v2").paginate(Bucket=here.name, Prefix=PREFIX):
            yield from (Upload(row["Key"]) for row in page.get("Contents", []) if row["LastModified"] < before)


def _bucket() -> Bucket:
    found = object_store.bucket()
    if found is None:
        raise HubError("link-invalid", "This hub takes uploads itself now. Start the upload again.", status=403)
    return found
