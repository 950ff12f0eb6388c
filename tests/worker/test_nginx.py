"""The site behind the nginx that the project ships: downloads that nginx sends, uploads that stream, and nothing that goes round the site."""

import argparse
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks import load, load_downloads, load_report
from benchmarks.transfer_report import Machine
from tests import make, nginx
from tests.worker.stack import Stack, free_port, wait

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: object) -> Iterator[Stack]:
    """A Medley whose users come through nginx."""
    folder = tmp_path_factory.mktemp("proxied")
    port = free_port()
    made = Stack(folder / "data", X_ACCEL="/_blobs", NUM_PROXIES="1", PUBLIC_URL=f"http://127.0.0.1:{port}")
    (folder / "data").mkdir()
    made.start()
    proxy = nginx.Nginx(folder / "nginx", port, made.port, folder / "data" / "blobs")
    made.url = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: _answers(made.url), 20)
        made.sign_up()
        made.upload("sums")
        yield made
    finally:
        proxy.stop()
        made.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz/live").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_file_is_whole_and_keeps_its_headers(stack: Stack) -> None:
    direct = httpx.get(f"http://127.0.0.1:{stack.port}/owner/sums/resolve/main/{WEIGHTS}")
    assert direct.headers["X-Accel-Redirect"].startswith("/_blobs/") and direct.content == b"", "the site hands it on"
    answer = httpx.get(f"{stack.url}/owner/sums/resolve/main/{WEIGHTS}")
    assert answer.status_code == 200 and answer.content == make.adapter()[WEIGHTS]
    assert "X-Accel-Redirect" not in answer.headers
    for name in (
        "ETag",
        "X-Repo-Commit",
        "X-Linked-Etag",
        "X-Linked-Size",
        "X-Content-Type-Options",
        "Content-Security-Policy",
        "Content-Disposition",
        "Content-Type",
    ):
        assert answer.headers[name] == direct.headers[name], name
    head = httpx.head(f"{stack.url}/owner/sums/resolve/main/{WEIGHTS}")
    assert head.headers["ETag"] == answer.headers["ETag"] and head.headers["Content-Length"] == answer.headers["Content-Length"]
    assert httpx.get(f"{stack.url}/owner/sums/resolve/main/{WEIGHTS}", headers={"If-None-Match": head.headers["ETag"]}).status_code == 304


def test_parts_of_a_file(stack: Stack) -> None:
    url, data = f"{stack.url}/owner/sums/resolve/main/{WEIGHTS}", make.adapter()[WEIGHTS]
    answer = httpx.get(url, headers={"Range": "bytes=10-99"})
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (206, data[10:100], f"bytes 10-99/{len(data)}")
    assert httpx.get(url, headers={"Range": "bytes=-7"}).content == data[-7:]
    assert httpx.get(url, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_the_real_client(stack: Stack, tmp_path: Path) -> None:
    from huggingface_hub import HfApi, snapshot_download

    folder = tmp_path / "lora"
    folder.mkdir()
    for path, data in make.adapter(seed=5).items():
        (folder / path).write_bytes(data)
    api = HfApi(endpoint=stack.url, token=stack.token)
    api.create_repo("owner/proxied")
    api.upload_folder(repo_id="owner/proxied", folder_path=folder)
    found = Path(snapshot_download("owner/proxied", endpoint=stack.url, cache_dir=tmp_path / "cache", token=False))
    assert {path: (found / path).read_bytes() for path in make.adapter(seed=5)} == make.adapter(seed=5)


def test_nobody_goes_round_the_site(stack: Stack) -> None:
    stack.call("POST", "/adapters", json={"name": "diary", "private": True})
    files = [("files", (path, data)) for path, data in make.adapter(seed=9).items()]
    stack.call("POST", "/adapters/owner/diary/commits", files=files, data={"message": "Upload"})
    assert httpx.get(f"{stack.url}/owner/diary/resolve/main/{WEIGHTS}").status_code == 401
    blob = next(path for path in (stack.folder / "blobs").glob("*/*/*") if path.read_bytes() == make.adapter(seed=9)[WEIGHTS])
    short = blob.relative_to(stack.folder / "blobs")
    for path in (f"/_blobs/{short}", f"/_blobs//{short}", f"/%5fblobs/{short}", "/_blobs../secret_key", "/_blobs/../secret_key", "/static/../_blobs/"):
        connection = http.client.HTTPConnection("127.0.0.1", int(stack.url.rpartition(":")[2]))
        connection.request("GET", path, headers={"X-Accel-Redirect": f"/_blobs/{short}"})
        assert connection.getresponse().status in (400, 404), path


def test_what_a_client_says_of_its_address_is_not_believed(stack: Stack) -> None:
    before = stack.call("GET", "/adapters/owner/sums")["downloads"]
    for number in range(3):
        httpx.get(f"{stack.url}/owner/sums/resolve/main/{WEIGHTS}", headers={"X-Forwarded-For": f"10.0.0.{number}"})
    assert stack.call("GET", "/adapters/owner/sums")["downloads"] <= before + 1


def test_an_upload_that_is_cut_off_leaves_nothing(stack: Stack) -> None:
    blobs = sorted((stack.folder / "blobs").glob("*/*/*"))
    with socket.create_connection(("127.0.0.1", int(stack.url.rpartition(":")[2]))) as raw:
        raw.sendall(
            f"POST /api/v1/adapters/owner/sums/commits HTTP/1.1\r\nHost: {stack.url[7:]}\r\nAuthorization: Bearer {stack.token}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n--b\r\n"
            'Content-Disposition: form-data; name="files"; filename="notes.txt"\r\n\r\nhalf a fi'.encode()
        )
    wait(lambda: not [path for path in (stack.folder / "tmp").rglob("*") if path.is_file()], 20, lambda: str(list((stack.folder / "tmp").rglob("*"))))
    assert sorted((stack.folder / "blobs").glob("*/*/*")) == blobs
    assert len(stack.call("GET", "/adapters/owner/sums/revisions")) >= 1 and "notes.txt" not in str(stack.call("GET", "/adapters/owner/sums"))


def test_the_people_of_the_load_benchmark(stack: Stack, tmp_path: Path) -> None:
    stack.manage("shell", "-v0", "-c", f"from benchmarks import load_people; load_people.write({str(tmp_path)!r}, 10, 3)")
    rows, failures = load.crowd(stack.url, tmp_path, users=10, minutes=0.15)
    assert failures == []
    by_name = {row["Name"]: row for row in rows}
    assert int(by_name["Aggregated"]["Request Count"]) >= 10 and by_name["Aggregated"]["Failure Count"] == "0"
    found = load.Found(rows=rows, memory=[{"site": 100.0}, {"site": 101.0}], jobs={"succeeded": 3}, downloads=[(50.0, 100.0)], worker=1800, engine=3600)
    found.downloads.append((load_downloads.rate(f"{stack.url}/owner/sums/resolve/main/{WEIGHTS}", 0.2), 100.0))
    assert found.ok and found.downloads[1][0] > 0
    page = load_report.write(found, argparse.Namespace(users=10, minutes=0.15, adapters=3), Machine(2, 8, 0.0))
    assert "| **all** |" in page and "None: no request was refused" in page and "went from 101 to 101 MB (+0.0%)" in page
    found.failures = [{"Method": "GET", "Name": "page: list", "Error": "500", "Occurrences": "2"}]
    assert not found.ok and "- GET page: list, 2 times: 500" in load_report.write(
        found, argparse.Namespace(users=10, minutes=0.15, adapters=3), Machine(2, 8, 0.0)
    )
