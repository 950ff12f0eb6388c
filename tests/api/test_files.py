"""GET files: bytes with ETag and Range, for those who may see them."""

import hashlib

import pytest

from hub import storage
from hub.models import Adapter
from tests import make
from tests.api.conftest import V1, Api, refusal
from tests.conftest import commit

pytestmark = pytest.mark.django_db
WEIGHTS = make.adapter()["adapter_model.safetensors"]
URL = f"{V1}/adapters/owner/sums/files/adapter_model.safetensors"


def body(response) -> bytes:
    return b"".join(response.streaming_content)


def test_it_works(anonymous: Api, sums: Adapter):
    response = anonymous.get(URL)
    assert (response.status_code, body(response)) == (200, WEIGHTS)
    assert response["ETag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert response["Content-Length"] == str(len(WEIGHTS))
    assert response["Content-Disposition"].startswith("attachment")


def test_head(anonymous: Api, sums: Adapter):
    response = anonymous.head(URL)
    assert (response.status_code, response.content, response["Content-Length"]) == (200, b"", str(len(WEIGHTS)))


def test_range_and_etag(anonymous: Api, sums: Adapter):
    response = anonymous.get(URL, headers={"Range": "bytes=10-19"})
    assert (response.status_code, body(response), response["Content-Range"]) == (206, WEIGHTS[10:20], f"bytes 10-19/{len(WEIGHTS)}")
    assert anonymous.get(URL, headers={"If-None-Match": response["ETag"]}).status_code == 304
    assert anonymous.get(URL, headers={"Range": "bytes=999999-"}).status_code == 416
    assert anonymous.get(URL, headers={"If-Match": '"other"'}).status_code == 412


def test_any_accept_header_gets_the_file(anonymous: Api, sums: Adapter):
    for accept in ("application/octet-stream", "text/html", "image/png;q=0.1", "rubbish"):
        assert anonymous.get(URL, headers={"Accept": accept}).status_code == 200


def test_a_download_counts_for_whoever_the_token_names(as_owner: Api, anonymous: Api, sums: Adapter):
    for api in (as_owner, as_owner, anonymous):
        body(api.get(URL))
    sums.refresh_from_db()
    assert sums.downloads == 2


def test_an_older_revision(anonymous: Api, sums: Adapter):
    first = sums.head.sha
    commit(sums, {"docs/notes.txt": b"second"})
    assert body(anonymous.get(f"{V1}/adapters/owner/sums/files/docs/notes.txt")) == b"second"
    assert refusal(anonymous.get(f"{V1}/adapters/owner/sums/files/docs/notes.txt?revision={first}")) == (404, "file-not-found")


@pytest.mark.parametrize("path", ["nothing.txt", "docs", "../sums/README.md", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "README.md/", "a%00b", "x" * 5000])
def test_a_file_that_is_not_there(anonymous: Api, sums: Adapter, path: str):
    assert anonymous.get(f"{V1}/adapters/owner/sums/files/{path}").status_code == 404


def test_a_store_that_lost_a_file_is_not_a_missing_file(anonymous: Api, sums: Adapter):
    storage.local_path(hashlib.sha256(WEIGHTS).hexdigest()).unlink()
    response = anonymous.get(URL)
    assert refusal(response) == (503, "storage-unavailable")
    assert int(response["Retry-After"]) > 0
