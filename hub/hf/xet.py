"""Takes in uploads by the Xet protocol: hands out the address and token of an upload, and receives its xorbs and the shard that says what they make up.

Downloads need nothing of it: they are plain HTTP.
"""

import mmap
import secrets
import shutil
import time
from tempfile import TemporaryFile
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from hub import storage
from hub.errors import HubError
from hub.hf import errors, repo, xet_assembly, xet_format, xet_hashing, xet_store
from hub.hf.body import Body
from hub.hf.door import door
from hub.models import User
from hub.services import quotas

# Short, because it outlives the access token it was got with; clients fetch the next one by themselves.
TOKEN_SECONDS = 600
SALT = "hub.hf.xet"


@door("GET", changes=True)
def write_token(request: HttpRequest, owner: str, name: str, revision: str) -> dict[str, Any]:
    """Say where to send an upload, and with which token."""
    quotas.require_room(repo.mine(request, owner, name).owner)
    xet_store.sweep()
    # Clients remember what they ever sent to an address and do not send it again. A new address each time keeps them from
    # counting on xorbs that have become files and are gone; xorbs of an upload that was cut off are offered again by `chunk`.
    return {
        "casUrl": request.build_absolute_uri(f"/xet/{secrets.token_hex(16)}"),
        "accessToken": signing.dumps(request.user.pk, salt=SALT),
        "exp": int(time.time()) + TOKEN_SECONDS,
    }


@door("GET", signed=True)
def chunk(request: HttpRequest, key: str, digest: str) -> HttpResponse:
    """Offer what the same person need not send again: the xorbs of an upload that was cut off, or a file that is here already.

    The client asks for the first chunk of each file, and for one in a thousand of the others.
    """
    session, wanted = _session(request, key), xet_hashing.from_text(digest)
    found = session.adopt(wanted) or session.refer(wanted)
    if not found:
        raise HubError("chunk-unknown", "Nothing of yours that is here holds this chunk.", status=404)
    expires = int(time.time()) + xet_store.IDLE_SECONDS
    return HttpResponse(xet_format.write_shard(found, expires=expires), content_type="application/octet-stream")


@door("POST", signed=True)
def xorb(request: HttpRequest, key: str, digest: str) -> dict[str, Any]:
    """Verify and keep a xorb."""
    session = _session(request, key)
    return {"was_inserted": session.keep(xet_hashing.from_text(digest), xet_format.Blocks(_Sent(request, xet_format.MAX_XORB).read))}


@door("POST", signed=True)
def shard(request: HttpRequest, key: str) -> dict[str, Any]:
    """Store the files that the shard describes. It is the last call of an upload; a commit then names the files by their sha256."""
    session = _session(request, key)
    try:
        with TemporaryFile(dir=settings.WORK_DIR) as file:
            shutil.copyfileobj(_Sent(request, xet_format.MAX_SHARD), file, xet_format.MIB)
            file.flush()
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if file.tell() else memoryview(b"")
    except OSError as error:
        raise storage.disk_error(error) from error
    xet_assembly.store_files(session=session, shard=content)
    return {"result": 1}


@door("POST", signed=True)
def not_offered(request: HttpRequest, **address: str) -> HttpResponse:
    """Send newer clients to the calls above: they take 404 as the sign."""
    raise HubError("not-offered", "This hub takes uploads by POST v1/xorbs and POST v1/shards.", status=404)


@door("POST", signed=True)
def telemetry(request: HttpRequest) -> HttpResponse:
    """Ignore how an upload went: the client reports it to the root of the host."""
    return HttpResponse(status=204)


def _session(request: HttpRequest, key: str) -> xet_store.Session:
    """Return the upload that the address names, of the person that the token stands for."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        number = signing.loads(token.strip(), salt=SALT, max_age=TOKEN_SECONDS)
    except signing.BadSignature:
        number = None
    user = User.objects.filter(pk=number, is_active=True).first() if scheme.lower() == "bearer" and number else None
    if user is None:
        raise HubError("token-invalid", "This upload token is not valid, or has expired. Start the upload again.", status=401)
    return xet_store.Session(user, key)


class _Sent:
    """The body of a request, of which `limit` bytes are taken at most."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        self._body, self._limit = Body(request), limit
        self._check(self._body.length or 0)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; nothing at the end."""
        data = self._body.read(size)
        self._check(self._body.size)
        return data

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise errors.too_large("This body")
