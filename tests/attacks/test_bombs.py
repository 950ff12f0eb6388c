"""Small requests that would cost much: packed bodies, deep or endless JSON and YAML, patterns that backtrack, very many files. Work is bounded, not timed."""

import io
import json
import resource
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, User
from tests.attacks import hidden

pytestmark = pytest.mark.django_db
MB = 1_000_000


@pytest.fixture
def program(owner: User, sums: Adapter) -> Client:
    return hidden.clients(owner)[1]


JSON_ADDRESSES = (
    "/api/v1/adapters",
    "/api/v1/compositions",
    "/api/repos/create",
    "/api/models/owner/sums/preupload/main",
    "/owner/sums.git/info/lfs/objects/batch",
)
JSON_BOMBS: dict[str, bytes] = {
    "deep lists": b"[" * 200_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of a million digits": b'{"name": ' + b"9" * MB + b"}",
    "a fraction of a million digits": b'{"name": 0.' + b"9" * MB + b"}",
    "an exponent": b'{"name": 1e999999999}',
    "not a number": b'{"name": NaN}',
    "infinity": b'{"name": -Infinity}',
    "the same key twice": b'{"name": "a", "name": "b"}',
    "very many keys": b"{" + b",".join(b'"%d": 1' % n for n in range(10_000)) + b"}",
    "half a pair": b'{"name": "\\ud800"}',
    "a gzip": zlib.compress(b'{"name": "packed"}' + b" " * 10 * MB),
}


@pytest.mark.parametrize("body", JSON_BOMBS.values(), ids=JSON_BOMBS.keys())
def test_json(program: Client, body: bytes) -> None:
    before = Adapter.objects.count()
    for address in JSON_ADDRESSES:
        for headers in ({}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "deflate"}):
            assert 400 <= program.post(address, body, "application/json", headers=headers).status_code < 500, address
    assert Adapter.objects.count() == before


def test_packed_bodies_are_not_unpacked(program: Client) -> None:
    """No door unpacks a body: 100 MB of blanks in 100 kB are 100 kB that are no JSON, no form and no file."""
    packed = zlib.compress(b" " * 100 * MB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for address, kind in (("/api/v1/adapters", "application/json"), ("/api/repos/create", "application/json"), ("/accounts/login/", "multipart/form-data")):
        for coding in ("gzip", "deflate", "br", "gzip, gzip"):
            assert 400 <= program.post(address, packed, kind, headers={"Content-Encoding": coding}).status_code < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def test_hostile_text_takes_work_in_proportion() -> None:
    command = [sys.executable, "-m", "tests.attacks.hostile_text"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and done.stdout.endswith("all\n"), f"{done.returncode} (negative: out of processor time) in: {done.stdout}{done.stderr[-2000:]}"


def test_ten_thousand_files(program: Client, owner: User, settings: Settings) -> None:
    """Refused by a bound in every door, before anything is stored."""
    before = stored(settings)
    names = [f"{number}.txt" for number in range(10_000)]
    lines = [json.dumps({"key": "header", "value": {"summary": "x"}})]
    lines += [json.dumps({"key": "file", "value": {"path": name, "content": "eA=="}}) for name in names]
    answer = program.post("/api/models/owner/sums/commit/main", "\n".join(lines), "application/x-ndjson")
    assert answer.status_code in (400, 413), answer.content
    asked = {"files": [{"path": name, "size": 1} for name in names]}
    assert program.post("/api/models/owner/sums/preupload/main", json.dumps(asked), "application/json").status_code == 400
    objects = [{"oid": f"{number:064x}", "size": 1} for number in range(10_000)]
    assert (
        program.post("/owner/sums.git/info/lfs/objects/batch", json.dumps({"operation": "upload", "objects": objects}), "application/json").status_code == 400
    )
    browser = hidden.clients(owner)[0]
    files: list[Any] = [SimpleUploadedFile(name, b"x") for name in names]
    assert program.post("/api/v1/adapters/owner/sums/commits", {"files": files}).status_code in (400, 413)
    for file in files:
        file.seek(0)
    assert browser.post("/upload?to=owner/sums", {"files": files}).status_code == 413
    assert stored(settings) == before and Adapter.objects.get(name="sums").revisions.count() == 1


def stored(settings: Settings) -> list[str]:
    return sorted(path.name for folder in (settings.BLOBS_DIR, settings.WORK_DIR) for path in Path(folder).rglob("*") if path.is_file())


def test_archives_that_we_make_name_no_path_outside(owner: User, sums: Adapter) -> None:
    """Whatever was committed, a ZIP holds plain relative names below the adapter's own folder, each once."""
    names = zipfile.ZipFile(io.BytesIO(Client().get("/owner/sums/zip").getvalue())).namelist()
    assert len(names) == len(set(names)) >= 2
    assert all(name.startswith("sums/") and ".." not in name.split("/") and not set('\\:*?"<>|\0\n') & set(name) for name in names)
