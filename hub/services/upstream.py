"""Asks another hub what a repository consists of, and for one file: for reading through and for imports. Never with a user's token.

The operator chose that hub, so it may be anywhere. Where it redirects to, it alone chose: that has to be https, a host on a list, and a public address.
"""

import hashlib
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
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Source:
    """Another hub, as this one asks it."""

    url: str
    token: str  # the operator's own there, or empty
    about: str  # how sentences about it begin


def reading() -> Source:
    """Return where base models are read through from."""
    return Source(settings.READ_THROUGH, settings.READ_THROUGH_TOKEN, "This base model is read through from")


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
    is_closed: bool = False  # gated or private


def listing(repo_id: str, revision: str) -> Listing | None:
    """Return what a model consists of; None where there is none for everyone: missing, private or gated."""
    found = look(reading(), repo_id, revision)
    return None if found is None or found.is_closed else found


def look(source: Source, repo_id: str, revision: str) -> Listing | None:
    """Return what a repository consists of, or None where the other hub shows none."""
    address = f"{source.url}/api/models/{quote(repo_id)}/revision/{quote(revision, safe='')}?blobs=true"
    with _get(source, address, limit=MAX_LISTING) as response:
        if response is None:
            return None
        try:
            found = strict_json.loads(b"".join(_bounded(source, response, MAX_LISTING)))
            closed = bool(found.get("private") or found.get("gated"))
            files = () if closed else tuple(map(_file, found["siblings"]))
            name, sha = str(found["id"]), str(found["sha"])
        except (JsonFault, LookupError, TypeError, ValueError, AttributeError) as error:
            raise _nonsense(source) from error
    if name.lower() != repo_id.lower() or not SHA.fullmatch(sha) or len(files) > MAX_FILES:
        raise _nonsense(source)
    return Listing(name, sha, files, closed)


@contextmanager
def content(repo_id: str, sha: str, path: str, size: int, source: Source | None = None) -> Iterator[Iterator[bytes]]:
    """Open one file: its bytes in pieces, of which there are never more than `size`."""
    source = source or reading()
    with _get(source, f"{source.url}/{quote(repo_id)}/resolve/{sha}/{quote(path)}", limit=size) as response:
        if response is None:
            raise unavailable(f"it no longer has {path}", source=source)
        yield _bounded(source, response, size)


def small(found: Listing, file: File, source: Source | None = None) -> bytes:
    """Return a small file whole, held against the hash that the other hub lists."""
    with content(found.repo_id, found.sha, file.path, file.size, source) as pieces:
        data = b"".join(pieces)
    if file.sha256:
        same = hashlib.sha256(data).hexdigest() == file.sha256
    else:
        same = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.git
    if len(data) != file.size or not same:
        raise unavailable(f"the bytes of {file.path} are not those that it announced", source=source)
    return data


def unavailable(why: str, *, status: int = 502, source: Source | None = None) -> HubError:
    """Say that the other hub does not do its part."""
    source = source or reading()
    code = "upstream-timeout" if status == 504 else "upstream-unavailable"
    return HubError(code, f"{source.about} {host(source.url)}, and {why}. Try again later.", status=status)


def check_redirect(url: str, source: Source | None = None) -> None:
    """Refuse to follow the other hub to another place than its own and the listed ones."""
    source = source or reading()
    there, home = urlsplit(url), urlsplit(source.url)
    if (there.scheme, there.netloc) == (home.scheme, home.netloc):
        return
    name = (there.hostname or "").lower()
    listed = any(name == known or name.endswith(f".{known}") for known in map(str.lower, settings.READ_THROUGH_HOSTS))
    if there.scheme != "https" or there.port not in (None, 443) or there.username is not None or not listed or not _is_public(name):
        raise unavailable("it redirects to a place that this hub does not follow", source=source)


@contextmanager
def _get(source: Source, url: str, *, limit: int) -> Iterator[httpx2.Response | None]:
    """Open an address and follow its redirects; None is for what is missing, or not for everyone."""
    deadline = time.monotonic() + 6 * settings.READ_THROUGH_SECONDS + limit / SLOWEST
    try:
        for _ in range(MAX_REDIRECTS):
            with _client().stream("GET", url, headers=_headers(url, source), timeout=settings.READ_THROUGH_SECONDS) as response:
                if response.is_redirect:
                    url = str(response.next_request.url) if response.next_request else ""
                    check_redirect(url, source)
                    continue
                if response.status_code in MISSING:
                    yield None
                    return
                if response.status_code != 200:
                    raise unavailable(f"it answers {response.status_code}", source=source)
                response.extensions["deadline"] = deadline
                yield response
                return
        raise unavailable("it redirects in circles", source=source)
    except httpx2.TimeoutException as error:
        raise unavailable("it does not answer in time", status=504, source=source) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise unavailable("the connection to it failed", source=source) from error


@cache
def _client() -> httpx2.Client:
    """Return the one client of this process. Nothing of the environment takes part, neither a netrc's password nor a proxy, and no cookie is kept."""
    return httpx2.Client(trust_env=False, follow_redirects=False, limits=httpx2.Limits(max_keepalive_connections=0), cookies=_NoCookies())


class _NoCookies(CookieJar):
    """Keeps none."""

    def set_cookie(self, cookie: Cookie) -> None:
        """Forget it."""


def _headers(url: str, source: Source | None = None) -> dict[str, str]:
    source = source or reading()
    headers = {"Accept-Encoding": "identity", "User-Agent": "medley"}
    here, home = urlsplit(url), urlsplit(source.url)
    if source.token and (here.scheme, here.netloc) == (home.scheme, home.netloc):
        headers["Authorization"] = f"Bearer {source.token}"
    return headers


def _bounded(source: Source, response: httpx2.Response, limit: int) -> Iterator[bytes]:
    count = 0
    for piece in response.iter_raw():
        count += len(piece)
        if count > limit:
            raise unavailable("it sends more bytes than it announced", source=source)
        if time.monotonic() > response.extensions["deadline"]:
            raise unavailable("it sends too slowly", status=504, source=source)
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
    return bool(found) and all(map(_is_outside, found))


def _is_outside(address: object) -> bool:
    """Say whether an address is one of the internet's, and where it only wraps another one (IPv4 in IPv6), whether that is too."""
    found = ipaddress.ip_address(str(address).partition("%")[0])
    wrapped = [ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)] if found in NAT64 else []
    if isinstance(found, ipaddress.IPv6Address):
        wrapped += [inner for inner in (found.ipv4_mapped, found.sixtofour, *(found.teredo or ())) if inner is not None]
    return all(each.is_global and not each.is_multicast and not each.is_reserved for each in (found, *wrapped))


def _nonsense(source: Source) -> HubError:
    return unavailable("what it says about the repository cannot be understood", source=source)


def host(url: str) -> str:
    """Return the name by which people know an address."""
    return urlsplit(url).hostname or url
