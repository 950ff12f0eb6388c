"""Addresses of the hub protocol that lead astray: every one is answered by the door with its status, a sentence and an id, and changes nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client
from gunicorn.http.errors import InvalidChunkSize

from hub.models import Adapter, Event, Ref, User
from hub.services import accounts
from tests.conftest import Upload

SIZE = 137


@pytest.fixture
def asker(owner: User, upload: Upload) -> Client:
    """The owner of owner/sums, by token."""
    upload(owner, "sums", files={"notes.txt": b"x" * SIZE})
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=owner, name='t', scope='write')[1]}"})


@pytest.fixture(autouse=True)
def unchanged(asker: Client) -> Iterator[None]:
    """Nothing may change."""
    state = (Adapter.objects.get().head_id, Ref.objects.count(), Event.objects.count())
    yield
    assert (Adapter.objects.get().head_id, Ref.objects.count(), Event.objects.count()) == state


def said(response: HttpResponseBase) -> tuple[int, str]:
    assert response.headers["X-Error-Message"] and response.json()["error"] and response.headers["X-Request-Id"]
    return response.status_code, response.headers["X-Error-Code"]


PATHS = [
    "%00",
    "notes%00.md",
    "..",
    "..%2fnotes.txt",
    "%2e%2e/%2e%2e/etc/passwd",
    "a/" * 300 + "b",
    "x" * 5000,
    "%ff%fe",
    "%ed%a0%80",
    "notes.txt%20",
    "%5c",
    ".",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p[:20])
@pytest.mark.parametrize("address", ["/owner/sums/resolve/main/{}", "/owner/sums/raw/main/{}", "/api/models/owner/sums/tree/main/{}"])
def test_paths_that_are_not_there(asker: Client, address: str, path: str):
    answer = asker.get(address.format(path))
    if path == "." and "tree" in address:
        assert answer.status_code in (200, 404)
        return
    assert said(answer) == (404, "EntryNotFound")


REVISIONS = [
    "feature%2Fx",
    "refs%2Fpr%2F1",
    "refs%2Fheads%2Fa%2Fb",
    "%00",
    "..",
    "x" * 5000,
    "%ff",
    "main%20",
    "HEAD~1",
    "@%7b1%7d",
    "0" * 40,
    "0" * 41,
    "abcdef",
]


@pytest.mark.parametrize("rev", REVISIONS, ids=lambda r: r[:20])
@pytest.mark.parametrize("address", ["revision/{}", "tree/{}", "commits/{}", "resolve/{}/notes.txt"])
def test_revisions_that_are_not_there(asker: Client, address: str, rev: str):
    answer = asker.get(f"/api/models/owner/sums/{address.format(rev)}")
    assert said(answer) == (404, "RevisionNotFound")


@pytest.mark.parametrize(
    "name", ["feature%2Fx", "refs%2Fpr%2F1", "..", "a..b", "%00", "x" * 101, "-x", "a.lock", "HEAD", "deadbeef", "a%20b", "%ff", "ä", "a~b"]
)
def test_branches_and_tags_with_bad_names(asker: Client, name: str):
    assert said(asker.post(f"/api/models/owner/sums/branch/{name}", {}, "application/json"))[0] in (400, 404)
    assert said(asker.delete(f"/api/models/owner/sums/branch/{name}"))[0] == 404
    assert said(asker.delete(f"/api/models/owner/sums/tag/{name}"))[0] == 404


@pytest.mark.parametrize("tag", ["feature/x", "refs/pr/1", "", "..", "\x00", "x" * 101, "main", 5, None, ["a"]], ids=ascii)
def test_tags_with_bad_names(asker: Client, tag: Any):
    assert said(asker.post("/api/models/owner/sums/tag/main", {"tag": tag}, "application/json"))[0] in (400, 409)


WHOLE = [
    "bytes=9-5",
    "bytes=-",
    "bytes=a-b",
    "lines=1-2",
    "bytes=0-1,5-9",
    "bytes=" + "9" * 40 + "-",
    "bytes=0-" + "9" * 40,
    "bytes=--5",
    "bytes=1-2-3",
    "\u0661",
    "x" * 3000,
]


@pytest.mark.parametrize("wanted", WHOLE, ids=lambda r: ascii(r)[:30])
def test_ranges_that_make_no_sense_give_the_whole_file(asker: Client, wanted: str):
    answer = asker.get("/owner/sums/resolve/main/notes.txt", headers={"Range": wanted})
    assert answer.status_code == 200 and len(answer.getvalue()) == SIZE and answer.headers["X-Repo-Commit"]


@pytest.mark.parametrize("wanted", ["bytes=137-", "bytes=500-600", "bytes=-0", "bytes=" + "9" * 18 + "-"])
def test_ranges_outside_the_file(asker: Client, wanted: str):
    answer = asker.get("/owner/sums/resolve/main/notes.txt", headers={"Range": wanted})
    assert answer.status_code == 416 and answer.headers["Content-Range"] == f"bytes */{SIZE}" and answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "wanted, start, stop", [("bytes=-5", 132, 137), ("bytes=-999999", 0, 137), ("bytes=130-" + "9" * 18, 130, 137), ("bytes = 1 - 2", 1, 3)]
)
def test_ranges_at_the_edge(asker: Client, wanted: str, start: int, stop: int):
    answer = asker.get("/owner/sums/resolve/main/notes.txt", headers={"Range": wanted})
    assert answer.status_code == 206 and len(answer.getvalue()) == stop - start
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


QUERIES = ["limit=0", "limit=-1", "limit=x", "limit=%00", "sort=name", "cursor=%00", "cursor=x", "cursor=W10", "limit=" + "9" * 30, "&".join(["filter=a"] * 30)]


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q[:20])
def test_lists_with_nonsense(asker: Client, query: str):
    assert said(asker.get(f"/api/models?{query}"))[0] == 400


@pytest.mark.parametrize("query", ["search=%00", "search=%ff", "author=%00", "filter=%00", "search=" + "x" * 5000, "expand=%00", "p=-1", "author=../.."])
def test_lists_that_find_nothing_strange(asker: Client, query: str):
    assert asker.get(f"/api/models?{query}").status_code == 200
    assert asker.get(f"/api/models/owner/sums/commits/main?{query}").status_code == 200


def test_paths_of_paths_info(asker: Client):
    address = "/api/models/owner/sums/paths-info/main"
    assert asker.post(address, {"paths": ["\x00", "../..", "a/" * 300, "notes.txt"]}).json()[0]["path"] == "notes.txt"
    many = asker.post(address, {"paths": [f"p{n}" for n in range(1001)]})
    assert said(many) == (400, "too-many-paths"), many.content
    assert said(asker.post(address, "paths=" + "x" * 21_000_000, "application/x-www-form-urlencoded")) == (413, "body-too-large")


INCOMPLETE = [
    "/owner/sums/resolve/main",
    "/owner/sums/raw/main/",
    "/lfs/file/",
    "/lfs/part/x/abc",
    "/api/models/owner/sums/tree",
    "/api/models/owner/sums/refs/",
    "/api/models/owner/sums/paths-info",
]


@pytest.mark.parametrize("address", INCOMPLETE)
@pytest.mark.parametrize("method", ["get", "post"])
def test_addresses_that_lack_a_part(asker: Client, method: str, address: str):
    status, code = said(getattr(asker, method)(address))
    assert status == 404 and code in ("address-incomplete", "EntryNotFound")


@pytest.mark.parametrize("address", ["/owner/sums.git", "/owner.git/info/lfs/objects/batch", "/owner/sums.git/"])
def test_git_without_a_repository(asker: Client, address: str):
    assert said(asker.get(address))[0] == 501


def test_a_form_without_a_boundary(asker: Client):
    answer = asker.generic("POST", "/api/models/owner/sums/paths-info/main", b"x", content_type="multipart/form-data")
    assert said(answer) == (400, "bad-request")


@pytest.mark.parametrize("address", ["commit/main", "preupload/main", "paths-info/main"])
def test_malformed_chunks(asker: Client, address: str):
    class Malformed:
        def read(self, size: int = -1) -> bytes:
            raise InvalidChunkSize(b"zz")

        readline = read

    chunked = {"wsgi.input": Malformed(), "wsgi.input_terminated": True, "CONTENT_LENGTH": "", "headers": {"Transfer-Encoding": "chunked"}}
    answer = asker.generic("POST", f"/api/models/owner/sums/{address}", b"x", content_type="application/json", **chunked)
    assert said(answer) == (400, "body-invalid")
