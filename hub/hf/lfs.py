"""Uploads by the LFS protocol: links that are permissions of their own, whole files or parts, and what becomes of them.

They lead to the bucket where blobs lie in one that people can reach (services.direct), and here otherwise.
"""

import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, JsonResponse

from hub import storage
from hub.errors import HubError
from hub.hf import body, errors, repo
from hub.hf.door import door
from hub.hf.lfs_parts import Waiting, taken, wrong_length
from hub.models import User
from hub.services import access, accounts, direct, quotas, uploads

SALT = "hub.hf.lfs"
LINK_SECONDS = 6 * 3600
MAX_OBJECTS = 200
MAX_PARTS = 10_000
MAX_PENDING = 16  # times the largest file
MEDIA_TYPE = "application/vnd.git-lfs+json"
SHA256 = re.compile(r"[0-9a-f]{64}")
HASHES = ("sha256", "sha_256")  # the JavaScript client writes it so
Json = dict[str, Any]


@dataclass(frozen=True)
class Link:
    """What a link lets its holder do: send these bytes in this person's name, whole or as parts of this size."""

    user: int
    oid: str
    size: int
    part: int = 0  # bytes of each part but the last; 0 is the whole file
    direct: bool = False  # the parts go to the bucket

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.size // self.part) if self.part else 0

    def size_of(self, number: int) -> int:
        """Return the bytes of a part."""
        return min(self.part, self.size - (number - 1) * self.part)

    @property
    def waiting(self) -> Waiting:
        """Where the parts wait; the same for the same file of the same person, so that an upload begun again takes no more room."""
        return Waiting(pending() / str(self.user) / f"{self.oid}-{self.size}-{self.part}")


@door("POST")
def batch(request: HttpRequest, owner: str, name: str) -> JsonResponse:
    """Answer where to send each object. One that the asker may name already needs no sending."""
    adapter = repo.mine_or_new(request, owner, name)
    sent = body.json(request)
    if body.text(sent, "operation") != "upload":
        raise errors.not_offered("Medley sends files by /resolve/, not by LFS.")
    transfers = sent.get("transfers", ["basic"])
    objects = sent.get("objects")
    if body.text(sent, "hash_algo", "sha256") not in HASHES or not isinstance(transfers, list) or not isinstance(objects, list) or len(objects) > MAX_OBJECTS:
        raise HubError("body-invalid", f"An LFS batch names at most {MAX_OBJECTS} objects by sha256.")
    sweep()
    wanted = [_object(entry) for entry in objects]
    quotas.check_objects(adapter.owner if adapter else accounts.find_owner(owner), [storage.Stored(*one) for one in wanted])
    answers = [_offer(request, *one, multipart="multipart" in transfers) for one in wanted]
    parts = any("chunk_size" in a.get("actions", {}).get("upload", {}).get("header", {}) for a in answers)
    return JsonResponse({"transfer": "multipart" if parts else "basic", "objects": answers}, content_type=MEDIA_TYPE)


@door("PUT", signed=True)
def put(request: HttpRequest, link: str) -> HttpResponse:
    """Take a whole file."""
    given, user = _open(link)
    if given.part or given.direct:
        raise _bad_link()
    stream = body.Body(request)
    _check_length(stream, given.size)
    uploads.receive(user=user, stream=stream, sha256=given.oid, size=given.size)  # type: ignore[arg-type]
    return _etag(given.oid)


@door("PUT", signed=True)
def part(request: HttpRequest, link: str, number: int) -> HttpResponse:
    """Take one part; sent again, it replaces the one that is there."""
    given, user = _open(link)
    if not 1 <= number <= given.parts or given.direct:
        raise _bad_link()
    stream = body.Body(request)
    size = given.size_of(number)
    _check_length(stream, size)
    _check_room(given, user)
    given.waiting.write(number, stream, start=(number - 1) * given.part, size=size)
    return _etag(secrets.token_hex(16))  # clients hand it back, and it says nothing that the sha256 of the whole does not say better


@door("POST", signed=True)
def complete(request: HttpRequest, link: str) -> JsonResponse:
    """Put the parts together. They have to be there, each once and in order, and make up the announced file."""
    given, user = _open(link)
    sent = body.json(request)
    listed = sent.get("parts")
    numbers = [p.get("partNumber") for p in listed if isinstance(p, dict)] if isinstance(listed, list) else []
    if not given.part or sent.get("oid") != given.oid or numbers != list(range(1, given.parts + 1)):
        raise HubError("parts-invalid", f"The parts must be listed once each, from 1 to {given.parts}, for the object of this link.")
    if uploads.owned(user=user, sha256=given.oid) is None:
        if not given.direct:
            _put_together(given, user)
        elif direct.finish(user=user, sha256=given.oid) is None:
            raise HubError("parts-missing", "Nothing of this upload is here any more. Start it again.")
    given.waiting.drop()
    return JsonResponse({"oid": given.oid})


@door("POST")
def verify(request: HttpRequest, owner: str, name: str) -> Json:
    """Say whether an object has come in full."""
    repo.mine(request, owner, name)
    oid, size = _object(body.json(request))
    assert isinstance(request.user, User)
    blob = uploads.owned(user=request.user, sha256=oid) or direct.finish(user=request.user, sha256=oid)
    if blob is None or blob.size != size:
        raise HubError("object-missing", f"The object {oid[:12]} of {size} bytes has not come. Send it again.", status=404)
    return {}


def pending() -> Path:
    """Return where parts wait for the others."""
    return Path(settings.WORK_DIR) / "lfs"


def sweep() -> None:
    """Remove the parts of uploads whose links have expired."""
    limit = time.time() - LINK_SECONDS
    for folder in pending().glob("*/*"):
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)


def _object(entry: Any) -> tuple[str, int]:
    oid, size = (entry.get("oid"), entry.get("size")) if isinstance(entry, dict) else (None, None)
    if not isinstance(oid, str) or not SHA256.fullmatch(oid) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise HubError("body-invalid", "An LFS object has an oid (its sha256 in lower-case hex) and a size.")
    return oid, size


def _offer(request: HttpRequest, oid: str, size: int, *, multipart: bool) -> Json:
    assert isinstance(request.user, User)
    answer: Json = {"oid": oid, "size": size}
    if size > (limit := access.largest_file(request.user)):
        return {**answer, "error": {"code": 413, "message": f"The file is larger than the limit of {limit / 1e6:.0f} MB."}}
    blob = uploads.owned(user=request.user, sha256=oid)
    if blob is not None and blob.size == size:
        uploads.remember(user=request.user, stored=storage.Stored(blob.sha256, blob.size))  # so that it is not forgotten before the commit
        return answer
    upload = _direct(request, oid, size, multipart=multipart)
    if upload is None:
        upload = _through_here(request, oid, size, multipart=multipart)
    if not upload:  # all of it had come, and is a blob now
        return answer
    verification = {"href": _url(request, f"{request.path.removesuffix('/objects/batch')}/verify")}
    return {**answer, "authenticated": True, "actions": {"upload": upload, "verify": verification}}


def _through_here(request: HttpRequest, oid: str, size: int, *, multipart: bool) -> Json:
    """Return where the site takes the object."""
    many = multipart and size > settings.LFS_PART_BYTES
    given = Link(request.user.pk, oid, size, max(settings.LFS_PART_BYTES, -(-size // MAX_PARTS)) if many else 0)
    link = _signed(given)
    if not many:
        return {"href": _url(request, f"/lfs/file/{link}")}
    addresses = [direct.Part(_url(request, f"/lfs/part/{link}/{number}"), given.waiting.has(number)) for number in range(1, given.parts + 1)]
    return _in_parts(request, given, addresses)


def _direct(request: HttpRequest, oid: str, size: int, *, multipart: bool) -> Json | None:
    """Return where the bucket takes the object; None where it goes through the site, as `direct=no` asks: not every network reaches the bucket."""
    part = 0 if request.GET.get("direct") == "no" else direct.part_size(size, multipart=multipart)
    if not part:
        return None
    assert isinstance(request.user, User)
    addresses = direct.offer(user=request.user, sha256=oid, size=size, part=part, seconds=LINK_SECONDS)
    if len(addresses) > 1:
        return _in_parts(request, Link(request.user.pk, oid, size, part, direct=True), addresses)
    return {"href": _marked(addresses[0])} if addresses else {}


def _in_parts(request: HttpRequest, given: Link, addresses: list[direct.Part]) -> Json:
    parts = {f"{number:05d}": _marked(part) for number, part in enumerate(addresses, 1)}
    return {"href": _url(request, f"/lfs/complete/{_signed(given)}"), "header": {"chunk_size": str(given.part), **parts}}


def _marked(part: direct.Part) -> str:
    """Mark the address of a part that has come. The upload page leaves such a part out, other clients send it again; none sends the mark."""
    return part.address + ("#there" if part.is_there else "")


def _signed(given: Link) -> str:
    return signing.dumps(asdict(given), salt=SALT, compress=True)


def _url(request: HttpRequest, path: str) -> str:
    return request.build_absolute_uri(path)


def _open(link: str) -> tuple[Link, User]:
    """Return what a link permits and in whose name."""
    try:
        given = Link(**signing.loads(link, salt=SALT, max_age=LINK_SECONDS))
    except (signing.BadSignature, TypeError) as error:
        raise _bad_link() from error
    user = User.objects.filter(pk=given.user, is_active=True).first()
    if user is None:
        raise _bad_link()
    return given, user


def _put_together(given: Link, user: User) -> None:
    """Make the parts one blob. Parts that make up something else are of no use, and are not kept for another try."""
    if missing := [str(number) for number in range(1, given.parts + 1) if not given.waiting.has(number)]:
        raise HubError("parts-missing", f"{len(missing)} of {given.parts} parts have not come: {', '.join(missing[:5])}. Send them, then complete again.")
    try:
        with given.waiting.closed() as path:
            uploads.take(user=user, path=path, sha256=given.oid, size=given.size)
    except HubError as error:
        if error.code == "content-mismatch":
            given.waiting.drop()
        if error.code != "parts-missing" or uploads.owned(user=user, sha256=given.oid) is None:  # it may have been put together twice at once
            raise


def _check_room(given: Link, user: User) -> None:
    """Refuse a part where the sender already fills the disk with parts that were never put together."""
    if taken(given.waiting.folder.parent) > MAX_PENDING * access.largest_file(user):
        raise HubError("too-much-pending", "Too many of your uploads are unfinished. Finish some, or try again in a few hours.", status=429)


def _bad_link() -> HubError:
    return HubError("link-invalid", "This upload link is not valid, or has expired. Start the upload again.", status=403)


def _check_length(stream: body.Body, size: int) -> None:
    """Refuse before reading what cannot be it."""
    if stream.length is not None and stream.length != size:
        raise wrong_length(size)


def _etag(text: str) -> HttpResponse:
    response = HttpResponse()
    response["ETag"] = f'"{text}"'
    return response
