"""Asks the hub that base models are read through from: what a model consists of, and the bytes of one file. Never with a user's token.

The operator chose that hub, so it may be anywhere. Where it redirects to, it alone chose: that has to be https, a host on a list, and a public address.
"""

import ipaddress
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.cookiejar import Cookie, CookieJar
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from django.conf import settings

from hub import strict_json
from hub.errors import HubError
from hub.strict_json import JsonFault

MAX_LISTING = 5_000_000  # bytes of the answer about a model
MAX_FILES = 2_000
MAX_REDIRECTS = 5
SLOWEST = 50_000  # bytes in a second that a file must come with, after the time that the hub may be silent six times
SHA = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MISSING = (401, 403, 404)


@dataclass(frozen=True)
class File:
    """A file as the other hub lists it: large ones by sha256, others by git's id."""

    path: str
    size: int
    git: str
    sha256: str


@dataclass(frozen=True)
class Listing:
    """A model at one commit of the other hub."""

    repo_id: str
    sha: str
    files: tuple[File, ...]


def listing(repo_id: str, revision: str) -> Listing | None:
    """Return what a model consists of; None where there is none for everyone: missing, private or gated."""
    address = f"{settings.READ_THROUGH}/api/models/{quote(repo_id)}/revision/{quote(revision, safe='')}?blobs=true"
    with _get(address, limit=MAX_LISTING) as response:
        if response is None:
            return None
        try:
            found = strict_json.loads(b"".join(_bounded(response, MAX_LISTING)))
            if found.get("private") or found.get("gated"):
                return None
            files = tuple(map(_file, found["siblings"]))
            name, sha = str(found["id"]), str(found["sha"])
        except (JsonFault, LookupError, TypeError, ValueError, AttributeError) as error:
            raise _nonsense() from error
    if name.lower() != repo_id.lower() or not SHA.fullmatch(sha) or len(files) > MAX_FILES:
        raise _nonsense()
    return Listing(name, sha, files)


@contextmanager
def content(repo_id: str, sha: str, path: str, size: int) -> Iterator[Iterator[bytes]]:
    """Open one file: its bytes in pieces, of which there are never more than `size`."""
    with _get(f"{settings.READ_THROUGH}/{quote(repo_id)}/resolve/{sha}/{quote(path)}", limit=size) as response:
        if response is None:
            raise unavailable(f"it no longer has {path}")
        yield _bounded(response, size)


def unavailable(why: str, *, status: int = 502) -> HubError:
    """Say that the other hub does not do its part."""
    code = "upstream-timeout" if status == 504 else "upstream-unavailable"
    return HubError(code, f"This base model is read through from {_host(settings.READ_THROUGH)}, and {why}. Try again later.", status=status)


def check_redirect(url: str) -> None:
    """Refuse to follow the other hub to another place than its own and the listed ones."""
    there, home = urlsplit(url), urlsplit(settings.READ_THROUGH)
    if (there.scheme, there.netloc) == (home.scheme, home.netloc):
        return
    host = (there.hostname or "").lower()
    listed = any(host == name or host.endswith(f".{name}") for name in map(str.lower, settings.READ_THROUGH_HOSTS))
    if there.scheme != "https" or there.port not in (None, 443) or there.username is not None or not listed or not _is_public(host):
        raise unavailable("it redirects to a place that this hub does not follow")


@contextmanager
def _get(url: str, *, limit: int) -> Iterator[httpx2.Response | None]:
    """Open an address and follow its redirects; None is for what is missing, or not for everyone."""
    deadline = time.monotonic() + 6 * settings.READ_THROUGH_SECONDS + limit / SLOWEST
    try:
        for _ in range(MAX_REDIRECTS):
            with _client().stream("GET", url, headers=_headers(url), timeout=settings.READ_THROUGH_SECONDS) as response:
                if response.is_redirect:
                    url = str(response.next_request.url) if response.next_request else ""
                    check_redirect(url)
                    continue
                if response.status_code in MISSING:
                    yield None
                    return
                if response.status_code != 200:
                    raise unavailable(f"it answers {response.status_code}")
                response.extensions["deadline"] = deadline
                yield response
                return
        raise unavailable("it redirects in circles")
    except httpx2.TimeoutException as error:
        raise unavailable("it does not answer in time", status=504) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise unavailable("the connection to it failed") from error


@cache
def _client() -> httpx2.Client:
    """Return the one client of this process. Nothing of the environment takes part, neither a netrc's password nor a proxy, and no cookie is kept."""
    return httpx2.Client(trust_env=False, follow_redirects=False, limits=httpx2.Limits(max_keepalive_connections=0), cookies=_NoCookies())


class _NoCookies(CookieJar):
    """Keeps none."""

    def set_cookie(self, cookie: Cookie) -> None:
        """Forget it."""


def _headers(url: str) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "medley"}
    here, home = urlsplit(url), urlsplit(settings.READ_THROUGH)
    if settings.READ_THROUGH_TOKEN and (here.scheme, here.netloc) == (home.scheme, home.netloc):
        headers["Authorization"] = f"Bearer {settings.READ_THROUGH_TOKEN}"
    return headers


def _bounded(response: httpx2.Response, limit: int) -> Iterator[bytes]:
    count = 0
    for piece in response.iter_raw():
        count += len(piece)
        if count > limit:
            raise unavailable("it sends more bytes than it announced")
        if time.monotonic() > response.extensions["deadline"]:
            raise unavailable("it sends too slowly", status=504)
        yield piece


def _file(entry: dict[str, Any]) -> File:
    lfs = entry.get("lfs") or {}
    path, size, git, sha256 = entry["rfilename"], lfs.get("size", entry["size"]), entry["blobId"], lfs.get("sha256", "")
    if not isinstance(path, str) or type(size) is not int or size < 0 or not SHA.fullmatch(git) or (lfs and not SHA256.fullmatch(sha256)):
        raise ValueError("no sound file")
    return File(path, size, git, sha256)


def _is_public(host: str) -> bool:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(address).partition("%")[0]).is_global for address in found)


def _nonsense() -> HubError:
    return unavailable("what it says about the model cannot be understood")


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
