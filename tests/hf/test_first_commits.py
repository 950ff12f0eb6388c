"""A commit that begins an adapter, as the upload page sends it: nothing is there before it lands, and nothing if it does not."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from hub.models import Adapter, Revision, User
from hub.services import accounts, adapters
from tests import make
from tests.conftest import Upload
from tests.services.stage import claimed
from tests.web.conftest import submit

NEW = "create_repo=1"
WEIGHTS = "adapter_model.safetensors"
FILES = make.adapter(card="# Sums\n")


@pytest.fixture
def asker(owner: User) -> Client:
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=owner, name='t', scope='write')[1]}"})


def preupload(asker: Client, name: str = "owner/sums", query: str = NEW) -> HttpResponseBase:
    return asker.post(f"/api/models/{name}/preupload/main?{query}", {"files": [{"path": p, "size": len(d)} for p, d in FILES.items()]}, "application/json")


def send_weights(asker: Client, data: bytes = FILES[WEIGHTS], name: str = "owner/sums", query: str = NEW) -> HttpResponseBase:
    body = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    answer = asker.post(f"/{name}.git/info/lfs/objects/batch?{query}", body, "application/json")
    for entry in answer.json().get("objects", []):
        if "actions" in entry:
            put = Client().generic("PUT", urlsplit(entry["actions"]["upload"]["href"]).path, data, "application/octet-stream")
            assert put.status_code == 200
    return answer


def commit(asker: Client, *more: dict[str, Any], name: str = "owner/sums", query: str = NEW, branch: str = "main") -> HttpResponseBase:
    lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "First"}}]
    for path, data in FILES.items():
        inline = {"key": "file", "value": {"path": path, "encoding": "base64", "content": base64.b64encode(data).decode()}}
        ahead = {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
        lines.append(ahead if path == WEIGHTS else inline)
    body = b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, *more])
    return asker.generic("POST", f"/api/models/{name}/commit/{branch}?{query}", body, "application/x-ndjson")


def test_it_works(asker: Client):
    modes = {file["path"]: file["uploadMode"] for file in preupload(asker).json()["files"]}
    assert modes == {"adapter_config.json": "regular", WEIGHTS: "lfs", "README.md": "regular"}
    assert send_weights(asker).status_code == 200
    assert not Adapter.objects.exists()
    answer = commit(asker, query=f"{NEW}&private=1&tag=Digits&tag=more%20digits").json()
    adapter = Adapter.objects.get()
    assert (adapter.repo_id, adapter.private, adapter.head.sha, adapter.head.message) == ("owner/sums", True, answer["commitOid"], "First")
    assert {tag.name for tag in adapter.tags.all()} == {"digits", "more digits"}
    assert {row.path: row.blob_id for row in adapter.head.files.all()} == {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


def test_everyone_sees_it_unless_asked_otherwise(asker: Client):
    send_weights(asker)
    assert commit(asker, query=f"{NEW}&private=").status_code == 200
    assert not Adapter.objects.get().private


@pytest.mark.parametrize(
    ("name", "query", "status", "code", "field"),
    [
        ("taken", NEW, 409, "name-taken", "name"),
        ("TAKEN", NEW, 409, "name-taken", "name"),
        ("promised", NEW, 400, "name-taken", "name"),
        ("a..b", NEW, 400, "name-invalid", "name"),
        ("settings", NEW, 400, "name-invalid", "name"),
        ("fine", NEW + "&tag=%3Cb%3E", 400, "tag-invalid", "tags"),
        ("fine", NEW + "".join(f"&tag=t{n}" for n in range(21)), 400, "too-many-tags", "tags"),
    ],
)
def test_a_name_or_tag_that_cannot_be_had_is_said_at_every_step(
    asker: Client, owner: User, upload: Upload, name: str, query: str, status: int, code: str, field: str
):
    upload(owner, "taken", seed=3)
    claimed(submit(owner, name="promised"))
    before = list(Adapter.objects.values_list("name", flat=True))
    for call in (preupload, send_weights, commit):
        answer = call(asker, name=f"owner/{name}", query=query)
        assert (answer.status_code, answer.json()["code"], set(answer.json()["fields"])) == (status, code, {field})
    assert list(Adapter.objects.values_list("name", flat=True)) == before


@pytest.mark.parametrize("name", ["promised", "Promised", "lowered"])
def test_a_name_that_nobody_can_have_is_not_there(asker: Client, owner: User, upload: Upload, name: str):
    """Clients take 409 for "it is there", and would go on to send files to what is not."""
    upload(owner, "taken", seed=2)
    claimed(submit(owner, name="promised"))
    Adapter.objects.filter(pk=upload(owner, "lowered", seed=3).pk).update(taken_down=True)
    answer = asker.post("/api/repos/create", {"name": name, "type": "model"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"], "url" in answer.json()) == (400, "name-taken", False)


@pytest.mark.parametrize(
    "line",
    [
        {"key": "file", "value": {"path": "evil.bin", "encoding": "base64", "content": ""}},
        {"key": "file", "value": {"path": "notes.txt", "encoding": "base64", "content": base64.b64encode(b"\xff\x00").decode()}},
        {"key": "lfsFile", "value": {"path": "more.safetensors", "algo": "sha256", "oid": "ab" * 32, "size": 9}},
        {"key": "deletedFile", "value": {"path": "README.md"}},
        {"key": "header", "value": {"summary": "x", "parentCommit": "0" * 40}},
    ],
    ids=["pickle", "not text", "bytes that never came", "a deletion", "a parent"],
)
def test_what_is_refused_leaves_no_adapter(asker: Client, line: dict[str, Any]):
    send_weights(asker)
    assert commit(asker, line).status_code == 400
    assert not Adapter.objects.exists() and not Revision.objects.exists()
    assert commit(asker).status_code == 200


def test_it_begins_on_main(asker: Client):
    send_weights(asker)
    assert commit(asker, branch="dev").status_code == 400 and not Adapter.objects.exists()


def test_only_under_the_own_name(asker: Client, stranger: User):
    for call in (preupload, send_weights, commit):
        assert call(asker, name="stranger/sums").status_code == 404
    assert not Adapter.objects.exists()


@pytest.mark.parametrize("query", ["", "create_repo=0", "create_repo=false"])
def test_other_clients_are_told_that_there_is_none(asker: Client, query: str):
    for call in (preupload, send_weights, commit):
        answer = call(asker, query=query)
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_a_token_that_may_only_read(owner: User):
    asker = Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=owner, name='r', scope='read')[1]}"})
    assert [call(asker).status_code for call in (preupload, send_weights, commit)] == [403, 403, 403]


def test_the_name_was_taken_meanwhile(asker: Client, owner: User):
    send_weights(asker)
    adapters.create(actor=owner, name="sums")
    assert commit(asker).status_code == 409 and not Revision.objects.exists()
