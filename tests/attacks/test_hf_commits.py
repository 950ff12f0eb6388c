"""Commits by the hub protocol that are cut, huge, or not what they say they are: each is refused with its status, and nothing is stored."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, Blob, Revision, Upload, User
from hub.services import accounts
from tests.conftest import Upload as MakeUpload

ADDRESS = "/api/models/owner/sums/commit/main"


@pytest.fixture
def asker(owner: User, upload: MakeUpload) -> Client:
    """The owner of owner/sums, by token."""
    upload(owner, "sums")
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=owner, name='t', scope='write')[1]}"})


@pytest.fixture(autouse=True)
def unchanged(asker: Client, settings: Settings) -> Any:
    """Nothing may change, and nothing may lie around."""
    state = (Adapter.objects.get().head_id, Revision.objects.count(), Blob.objects.count(), Upload.objects.count(), stored(settings))
    yield
    assert (Adapter.objects.get().head_id, Revision.objects.count(), Blob.objects.count(), Upload.objects.count(), stored(settings)) == state
    assert not list(Path(settings.WORK_DIR).rglob("blob-*"))


def stored(settings: Settings) -> int:
    return sum(path.is_file() for path in Path(settings.BLOBS_DIR).rglob("*"))


def send(asker: Client, body: bytes, address: str = ADDRESS, **more: Any) -> tuple[int, str]:
    """POST a body; the status and code that the client reads."""
    return said(asker.generic("POST", address, body, "application/x-ndjson", **more))


def said(response: HttpResponseBase) -> tuple[int, str]:
    assert response.headers["X-Error-Message"] and response.headers["X-Request-Id"]
    return response.status_code, response.headers["X-Error-Code"]


def line(key: str, **value: Any) -> bytes:
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def inline(path: str, data: bytes = b"x") -> bytes:
    return line("file", path=path, content=base64.b64encode(data).decode(), encoding="base64")


NOT_LINES = {
    "nothing": (b"", "commit-empty"),
    "a header alone": (line("header", summary="x"), "commit-empty"),
    "empty lines": (b"\n\n \n", "commit-empty"),
    "no JSON": (b"hello\n", "json-invalid"),
    "cut inside a line": (inline("a.txt")[:30], "json-invalid"),
    "cut inside the second line": (inline("a.txt") + inline("b.txt")[:30], "json-invalid"),
    "no object": (b"[1]\n", "body-invalid"),
    "no key": (b'{"value":{}}\n', "body-invalid"),
    "a key that is no text": (b'{"key":5,"value":{}}\n', "body-invalid"),
    "a value that is no object": (b'{"key":"file","value":"x"}\n', "body-invalid"),
    "the same key twice": (b'{"key":"file","key":"header","value":{}}\n', "json-invalid"),
    "deep nesting": (b'{"key":"header","value":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "json-invalid"),
    "not UTF-8": (b'{"key":"header","value":{"summary":"\xff"}}\n', "json-invalid"),
    "NaN": (b'{"key":"lfsFile","value":{"path":"a.safetensors","oid":"' + b"0" * 64 + b'","size":NaN}}\n', "json-invalid"),
}


@pytest.mark.parametrize("body, code", NOT_LINES.values(), ids=NOT_LINES.keys())
def test_not_a_commit(asker: Client, body: bytes, code: str):
    assert send(asker, body) == (400, code)


def test_a_line_that_is_not_known(asker: Client):
    assert send(asker, inline("a.txt") + line("shell", path="x")) == (501, "NotImplemented")


BAD_PATHS = [
    "../a.txt",
    "/a.txt",
    "a/../b.txt",
    "a\x00.txt",
    "a//b.txt",
    "",
    ".",
    "a/" * 300 + "b.txt",
    "x" * 300 + ".txt",
    ".git/config",
    "con.txt",
    "a\\b.txt",
    "a%2fb.txt",
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
@pytest.mark.parametrize("kind", ["file", "lfsFile", "deletedFile", "deletedFolder"])
def test_bad_paths(asker: Client, path: str, kind: str):
    value = {"file": {"content": "eA=="}, "lfsFile": {"oid": "0" * 64, "size": 1}}.get(kind, {})
    assert send(asker, inline("fine.txt") + line(kind, path=path, **value)) == (400, "path-invalid")


@pytest.mark.parametrize("value", [{"path": 5}, {"path": None}, {}, {"path": ["a.txt"]}, {"path": "a" * 5000}], ids=str)
def test_paths_that_are_no_texts(asker: Client, value: dict[str, Any]):
    assert send(asker, line("file", content="eA==", **value)) == (400, "body-invalid")


BAD_CONTENT = {
    "not base64": {"content": "%%%"},
    "half base64": {"content": "eA="},
    "line breaks": {"content": "e\nA=="},
    "another encoding": {"content": "78", "encoding": "hex"},
    "no content": {},
    "a number": {"content": 5},
}


@pytest.mark.parametrize("value", BAD_CONTENT.values(), ids=BAD_CONTENT.keys())
def test_content_that_is_not_base64(asker: Client, value: dict[str, Any]):
    assert send(asker, line("file", path="a.txt", **value)) == (400, "body-invalid")


def test_the_same_path_twice(asker: Client):
    assert send(asker, inline("a.txt", b"1") + inline("a.txt", b"2")) == (400, "path-duplicate")
    assert send(asker, inline("a.txt", b"1") + inline("A.txt", b"2")) == (400, "path-duplicate")


def test_a_file_too_large_for_the_inside_of_a_commit(asker: Client):
    assert send(asker, inline("a.txt", b"x" * 5_000_001)) == (413, "file-too-large")


def test_a_line_too_long(asker: Client):
    assert send(asker, b'{"key":"file","value":{"path":"a.txt","content":"' + b"A" * 20_000_000) == (413, "body-too-large")


def test_files_too_large_together(asker: Client):
    assert send(asker, b"".join(inline(f"{n}.txt", b"x" * 4_900_000) for n in range(21))) == (413, "file-too-large")


def test_too_many_lines(asker: Client):
    assert send(asker, b"".join(line("deletedFile", path=f"{n}.txt") for n in range(2001))) == (413, "too-many-files")
    assert send(asker, b"".join(inline(f"{n}.txt") for n in range(201))) == (400, "too-many-files")


BAD_OBJECTS = {
    "a short hash": {"oid": "0" * 63},
    "capital letters": {"oid": "A" * 64},
    "no hash": {},
    "a number": {"oid": 5},
    "another algorithm": {"oid": "0" * 64, "algo": "md5"},
    "a size that is a text": {"oid": "0" * 64, "size": "1"},
    "a path as a hash": {"oid": "../" * 21 + "x"},
}


@pytest.mark.parametrize("value", BAD_OBJECTS.values(), ids=BAD_OBJECTS.keys())
def test_objects_that_are_no_sha256(asker: Client, value: dict[str, Any]):
    assert send(asker, line("lfsFile", path="a.safetensors", **value)) == (400, "body-invalid")


def test_an_object_that_was_never_sent(asker: Client):
    assert send(asker, line("lfsFile", path="a.safetensors", oid="0" * 64, size=1)) == (400, "object-missing")


def test_an_object_of_another_size(asker: Client):
    sha256 = Blob.objects.order_by("-size").first().sha256
    assert send(asker, line("lfsFile", path="a.safetensors", oid=sha256, size=1)) == (400, "object-missing")


def test_weights_as_a_text_file(asker: Client):
    """Bytes that came as weights are checked again as what the commit calls them."""
    sha256 = Blob.objects.order_by("-size").first().sha256
    assert send(asker, line("lfsFile", path="README.md", oid=sha256)) == (400, "text-invalid")
    assert send(asker, line("lfsFile", path="model.bin", oid=sha256)) == (400, "file-type-refused")
    assert send(asker, line("lfsFile", path="adapter_config.json", oid=sha256))[0] == 400


def test_a_pickle_inside_a_commit(asker: Client):
    assert send(asker, inline("adapter_model.bin", b"\x80\x02")) == (400, "file-type-refused")


def test_half_an_adapter(asker: Client):
    assert send(asker, line("deletedFile", path="adapter_config.json")) == (400, "config-missing")


@pytest.mark.parametrize("parent", ["0" * 40, "main", "x", "'; drop table"])
def test_a_parent_that_is_not_the_head(asker: Client, parent: str):
    assert send(asker, line("header", summary="x", parentCommit=parent) + inline("a.txt")) == (412, "parent-stale")


@pytest.mark.parametrize("header", [{"summary": 5}, {"summary": ["x"]}, {"parentCommit": 5}, {"description": {}}], ids=str)
def test_headers_of_wrong_types(asker: Client, header: dict[str, Any]):
    assert send(asker, line("header", **header) + inline("a.txt")) == (400, "body-invalid")


@pytest.mark.parametrize("branch", ["nowhere", "a%2Fb", "refs%2Fpr%2F1", "..", "%00", "x" * 500, "main%20"])
def test_branches_that_are_not_there(asker: Client, branch: str):
    assert send(asker, inline("a.txt"), f"/api/models/owner/sums/commit/{branch}") == (404, "RevisionNotFound")


def test_a_body_shorter_than_announced(asker: Client):
    body = inline("a.txt") + inline("b.txt") + inline("c.txt")
    for sent, announced in ((body[:60], len(body)), (body[: len(body) // 3], len(body)), (body, len(body) + 1)):
        cut = {"wsgi.input": io.BytesIO(sent), "CONTENT_LENGTH": str(announced)}
        assert send(asker, b"x", **cut) == (400, "upload-incomplete")


TAKE_JSON = ["/api/repos/create", "/api/models/owner/sums/preupload/main", "/api/models/owner/sums/tag/main", "/owner/sums.git/info/lfs/objects/batch"]


@pytest.mark.parametrize("address", TAKE_JSON)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"a":1,"a":2}', b"\xff", b'{"x":' + b"[" * 50_000], ids=ascii)
def test_bodies_that_are_no_object(asker: Client, address: str, body: bytes):
    assert said(asker.generic("POST", address, body, "application/json"))[0] == 400


def test_a_json_body_too_large(asker: Client):
    assert said(asker.generic("POST", "/api/repos/create", b'"' + b"x" * 3_000_000 + b'"', "application/json")) == (413, "body-too-large")


FILES = [None, "x", [1], [{}], [{"path": "a.txt"}], [{"path": "a.txt", "size": -1}], [{"path": "a.txt", "size": "1"}], [{"path": 5, "size": 1}]]


@pytest.mark.parametrize("files", [*FILES, [{"path": "a", "size": 1}] * 1001], ids=lambda f: str(f)[:30])
def test_preuploads_of_wrong_shape(asker: Client, files: Any):
    answer = asker.post("/api/models/owner/sums/preupload/main", {"files": files}, "application/json")
    assert said(answer) == (400, "body-invalid")


def test_what_will_be_too_large_is_refused_before_it_is_sent(asker: Client, settings: Settings):
    files = [{"path": "adapter_model.safetensors", "size": settings.MAX_WEIGHTS_BYTES + 1}]
    assert said(asker.post("/api/models/owner/sums/preupload/main", {"files": files}, "application/json")) == (413, "file-too-large")
