"""POST commits: what arrives becomes a revision, or nothing of it stays."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files import temp

from hub import storage
from hub.models import Adapter, Blob, Revision, RevisionFile, User
from hub.services import adapters
from tests import make
from tests.api.conftest import V1, Api, multipart, parts, refusal
from tests.conftest import commit

pytestmark = pytest.mark.django_db
URL = "/adapters/owner/sums/commits"


@pytest.fixture
def empty(owner: User) -> Adapter:
    return adapters.create(actor=owner, name="sums")


def nothing_stays() -> bool:
    """No revision beyond those that the test made, and no temporary file."""
    return not any(Path(settings.WORK_DIR).iterdir())


def test_it_works(as_owner: Api, empty: Adapter):
    files = make.adapter(card="# Sums\n\nAdds.\n")
    response = as_owner.form(URL, parts(files, message="First"))
    found = response.json()
    assert response.status_code == 201
    assert (found["parent"], found["message"], found["author"], found["adapter"]) == (None, "First", "owner", "owner/sums")
    assert [file["path"] for file in found["files"]] == sorted(files)
    empty.refresh_from_db()
    assert (empty.head.sha, empty.base_model, empty.summary) == (found["sha"], make.BASE, "Adds.")
    for file in found["files"]:
        assert storage.open_blob(file["sha256"]).read() == files[file["path"]]
    assert nothing_stays()


def test_paths_beside_the_files(as_owner: Api, empty: Adapter):
    files = make.adapter()
    named = [("files", f"part-{n}", data) for n, data in enumerate(files.values())]
    response = as_owner.form(URL, [*named, *(("paths", None, path.encode()) for path in files)])
    assert [file["path"] for file in response.json()["files"]] == sorted(files)


def test_folders_in_file_names_are_kept(as_owner: Api, empty: Adapter):
    response = as_owner.form(URL, [("files", "docs/plots/loss.txt", b"falls"), ("files", "docs/a.txt", b"a")])
    assert [file["path"] for file in response.json()["files"]] == ["docs/a.txt", "docs/plots/loss.txt"]


def test_deletions_and_parent(as_owner: Api, sums: Adapter):
    response = as_owner.form(URL, [("files", "a.txt", b"a"), ("deletions", None, b"README.md"), ("parent", None, sums.head.sha.encode())])
    assert response.status_code == 201
    assert [file["path"] for file in response.json()["files"]] == ["a.txt", "adapter_config.json", "adapter_model.safetensors"]
    assert response.json()["parent"] == sums.head.sha


def test_deletions_alone(as_owner: Api, sums: Adapter):
    assert as_owner.form(URL, [("deletions", None, b"README.md")]).status_code == 201
    assert refusal(as_owner.form(URL, [("deletions", None, b"README.md")])) == (404, "file-not-found")


def test_a_commit_that_changes_nothing(as_owner: Api, sums: Adapter):
    response = as_owner.form(URL, parts(make.adapter()))
    assert (response.status_code, response.json()["sha"]) == (200, sums.head.sha)
    assert Revision.objects.count() == 1


def test_a_stale_parent(as_owner: Api, sums: Adapter):
    first = sums.head.sha
    commit(sums, {"notes.txt": b"second"})
    response = as_owner.form(URL, parts({"a.txt": b"a"}, parent=first))
    assert refusal(response) == (412, "parent-stale")
    assert Revision.objects.count() == 2
    assert as_owner.form(URL, parts({"a.txt": b"a"}, parent=sums.head.sha)).status_code == 201


@pytest.mark.parametrize("parent", ["main", "0" * 40, "x\x00y"])
def test_a_parent_that_never_was(as_owner: Api, sums: Adapter, parent: str):
    assert as_owner.form(URL, parts({"a.txt": b"a"}, parent=parent)).status_code in (400, 412)
    assert Revision.objects.count() == 1


TRAVERSALS = {
    "parent folder": "../evil.md",
    "parent folder in the middle": "a/../../evil.md",
    "absolute": "/etc/evil.md",
    "Windows": "C:\\evil.md",
    "backslash": "a\\b.md",
    "dot": "./evil.md",
    "empty part": "a//b.md",
    "hidden git": ".git/config.txt",
    "reserved name": "aux.txt",
    "newline": "a%0Ab.md",
    "encoded traversal": "%2e%2e/evil.md",
    "long": "x" * 300 + ".md",
    "long suffix": "x." + "y" * 300,
    "invisible": "a\u202egnp.md",
    "only dots": "..",
}


@pytest.mark.parametrize("path", TRAVERSALS.values(), ids=TRAVERSALS.keys())
def test_path_traversal_and_reserved_names(as_owner: Api, empty: Adapter, path: str):
    for form in ([("files", path, b"x")], [("files", "a.md", b"x"), ("paths", None, path.encode())]):
        assert refusal(as_owner.form(URL, form)) == (400, "path-invalid")
    assert not Revision.objects.exists()
    assert not Blob.objects.exists()
    assert nothing_stays()


def test_a_path_with_a_nul_character(as_owner: Api, empty: Adapter):
    assert as_owner.form(URL, [("files", "a.md", b"x"), ("paths", None, b"a\x00.md")]).status_code == 400
    assert as_owner.form(URL, [("files", "a\x00.md", b"x")]).status_code == 400
    assert refusal(as_owner.form(URL, parts({"a.md": b"x"}, message="a\x00b"))) == (400, "body-invalid")
    assert not Revision.objects.exists()


@pytest.mark.parametrize("second", ["a.md", "A.MD", "a.md/b.md"])
def test_duplicate_paths(as_owner: Api, empty: Adapter, second: str):
    response = as_owner.form(URL, [("files", "a.md", b"x"), ("files", second, b"y")])
    assert response.status_code == 400
    assert response.json()["error"]["code"] in ("path-duplicate", "path-conflict")
    assert not Revision.objects.exists()


WRONG = {
    "pickle weights": ({**make.adapter(), "adapter_model.bin": b"\x80\x04."}, "file-type-refused"),
    "torch weights": ({"model.pt": b"PK\x03\x04"}, "file-type-refused"),
    "a script": ({"train.py": b"print()"}, "file-type-refused"),
    "weights alone": ({"adapter_model.safetensors": make.adapter()["adapter_model.safetensors"]}, "config-missing"),
    "truncated weights": ({**make.adapter(), "adapter_model.safetensors": make.adapter()["adapter_model.safetensors"][:-9]}, "weights-invalid"),
    "an oversized header": ({**make.adapter(), "adapter_model.safetensors": b"\xff" * 8 + b"{}"}, "weights-invalid"),
    "a config of another rank": ({**make.adapter(), "adapter_config.json": make.adapter(rank=8)["adapter_config.json"]}, "config-mismatch"),
    "a config that is no JSON": ({**make.adapter(), "adapter_config.json": b"{"}, "config-invalid"),
}


@pytest.mark.parametrize(("files", "code"), WRONG.values(), ids=WRONG.keys())
def test_content_that_cannot_be_used(as_owner: Api, empty: Adapter, files: dict[str, bytes], code: str):
    assert refusal(as_owner.form(URL, parts(files))) == (400, code)
    assert not Revision.objects.exists()
    assert nothing_stays()


def test_a_file_over_its_limit(as_owner: Api, empty: Adapter, settings: Any):
    settings.MAX_WEIGHTS_BYTES = 1000
    assert refusal(as_owner.form(URL, parts(make.adapter()))) == (413, "file-too-large")
    assert nothing_stays()


FORMS: dict[str, tuple[list[tuple[str, str | None, bytes]], str]] = {
    "nothing": ([], "commit-empty"),
    "a message alone": ([("message", None, b"x")], "commit-empty"),
    "a file without a name": ([("files", "", b"")], "body-invalid"),
    "a field nobody knows": ([("file", "a.md", b"x")], "unknown-field"),
    "a typing error": ([("files", "a.md", b"x"), ("mesage", None, b"x")], "unknown-field"),
    "a file as text": ([("files", None, b"x")], "body-invalid"),
    "a message as a file": ([("files", "a.md", b"x"), ("message", "m.txt", b"x")], "body-invalid"),
    "two messages": ([("files", "a.md", b"x"), ("message", None, b"x"), ("message", None, b"y")], "body-invalid"),
    "fewer paths than files": ([("files", "a.md", b"x"), ("files", "b.md", b"y"), ("paths", None, b"c.md")], "paths-mismatch"),
    "more paths than files": ([("files", "a.md", b"x"), ("paths", None, b"c.md"), ("paths", None, b"d.md")], "paths-mismatch"),
    "too many files": ([("files", f"{n}.txt", b"x") for n in range(301)], "too-many-files"),
    "too many fields": ([("deletions", None, b"x")] * 2001, "too-many-fields"),
}


@pytest.mark.parametrize(("form", "code"), FORMS.values(), ids=FORMS.keys())
def test_forms_that_cannot_be_used(as_owner: Api, empty: Adapter, form: list[tuple[str, str | None, bytes]], code: str):
    assert refusal(as_owner.form(URL, form)) == (400, code)
    assert nothing_stays()


def test_a_text_field_without_end(as_owner: Api, empty: Adapter, settings: Any):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
    assert refusal(as_owner.form(URL, parts({"a.md": b"x"}, message="x" * 10_001))) == (413, "body-too-large")
    assert nothing_stays()


def test_a_body_of_another_kind(as_owner: Api, empty: Adapter):
    assert refusal(as_owner.json("post", URL, {"files": []})) == (415, "unsupported-media-type")
    assert refusal(as_owner.generic("POST", V1 + URL, b"x", "multipart/form-data")) == (400, "multipart-invalid")
    assert refusal(as_owner.generic("POST", V1 + URL, b"rubbish", "multipart/form-data; boundary=abc")) == (400, "commit-empty")


def test_a_form_without_its_last_line(as_owner: Api, empty: Adapter):
    body, kind = multipart(parts({"a.md": b"x"}))
    assert refusal(as_owner.generic("POST", V1 + URL, body[:-40], kind)) == (400, "multipart-invalid")
    assert nothing_stays()


def test_chunks_of_unknown_number(as_owner: Api, empty: Adapter):
    body, kind = multipart(parts({"a.md": b"x"}))
    response = as_owner.generic("POST", V1 + URL, body, kind, headers={"Transfer-Encoding": "chunked"}, CONTENT_LENGTH="")
    assert refusal(response) == (411, "length-required")


def test_nobody_fills_the_disk_with_what_will_be_refused(as_stranger: Api, anonymous: Api, sums: Adapter, monkeypatch: pytest.MonkeyPatch):
    """Who may not write is told so before the body is read."""

    def read(*arguments: Any, **more: Any) -> None:
        raise AssertionError("the body was read")

    monkeypatch.setattr("hub.api.parsers.UploadParser.parse", read)
    assert refusal(as_stranger.form(URL, parts({"a.md": b"x"}))) == (403, "forbidden")
    assert refusal(anonymous.form(URL, parts({"a.md": b"x"}))) == (401, "login-required")


def full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_the_upload_arrives(as_owner: Api, empty: Adapter, monkeypatch: pytest.MonkeyPatch):
    real = temp.NamedTemporaryFile

    def limited(*arguments: Any, **more: Any) -> Any:
        file = real(*arguments, **more)
        file.write = full
        return file

    monkeypatch.setattr(temp, "NamedTemporaryFile", limited)
    assert refusal(as_owner.form(URL, parts(make.adapter()))) == (507, "storage-full")
    assert not Revision.objects.exists()
    assert not Blob.objects.exists()
    assert nothing_stays()


def test_a_full_disk_while_a_blob_is_written(as_owner: Api, empty: Adapter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage.os, "fsync", full)
    assert refusal(as_owner.form(URL, parts(make.adapter()))) == (507, "storage-full")
    assert not Revision.objects.exists()
    assert not RevisionFile.objects.exists()
    assert not Blob.objects.exists()
    assert nothing_stays()


def test_a_store_that_cannot_be_written(as_owner: Api, empty: Adapter, monkeypatch: pytest.MonkeyPatch):
    def broken(*arguments: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage.os, "fsync", broken)
    response = as_owner.form(URL, parts(make.adapter()))
    assert refusal(response) == (503, "storage-unavailable")
    assert response["Retry-After"] == "60"
    assert not Blob.objects.exists()
