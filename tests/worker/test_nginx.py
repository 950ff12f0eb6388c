"""The site behind the nginx that the project ships: downloads that nginx sends, uploads that stream, and nothing that goes round the site."""

import argparse
import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
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


# Bodies whose end two servers may see at different places: all of it, or before the second request inside.
INSIDE = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = f"0\r\n\r\n{INSIDE}"
ALL, CHUNKED = f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"
HEADS: dict[str, list[str]] = {
    "both": [ALL, CHUNKED],
    "both, the other way": [CHUNKED, ALL],
    "two lengths": ["Content-Length: 5", ALL],
    "two lengths, the other way": [ALL, "Content-Length: 5"],
    "a list of lengths": [f"Content-Length: 5, {len(BODY)}"],
    "a signed length": [f"Content-Length: +{len(BODY)}"],
    "a negative length": ["Content-Length: -5"],
    "a length in hex": [f"Content-Length: {len(BODY):#x}"],
    "a length with a blank inside": [f"Content-Length: 5 {len(BODY)}"],
    "a length with an underscore": ["Content_Length: 5", ALL],
    "a coding with an underscore": ["Transfer_Encoding: chunked", ALL],
    "a blank before the colon": ["Transfer-Encoding : chunked", ALL],
    "another coding": ["Transfer-Encoding: xchunked", ALL],
    "two codings": ["Transfer-Encoding: chunked, identity", ALL],
    "the coding twice": [CHUNKED, "Transfer-Encoding: identity", ALL],
    "chunked twice": ["Transfer-Encoding: chunked, chunked", ALL],
    "a folded header": ["Transfer-Encoding:\r\n chunked", ALL],
    "a vertical tab": ["Transfer-Encoding:\x0bchunked", ALL],
    "a bare line end": ["X: y\nTransfer-Encoding: chunked", ALL],
    "a bare carriage return": ["X: y\rTransfer-Encoding: chunked", ALL],
    "a NUL": ["X: y\x00", CHUNKED, ALL],
    "two hosts": ["Host: evil.example", ALL],
}


@pytest.mark.parametrize("through", ["nginx", "gunicorn"])
def test_no_second_request_hides_in_a_body(stack: Stack, through: str) -> None:
    """One request gets one answer, and what is inside its body is never answered as a request of its own."""
    port = int(stack.url.rpartition(":")[2]) if through == "nginx" else stack.port
    for name, headers in HEADS.items():
        first = ["POST /api/v1/adapters HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "Connection: keep-alive", "", BODY]
        heard = _said(port, "\r\n".join(first) + f"GET /healthz/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")
        answers = heard.count(b"HTTP/1.1 ")
        assert answers == 1 or (answers == 2 and heard.rpartition(b"HTTP/1.1 ")[2].startswith(b"200")), (name, heard)
        assert b"smuggled" not in heard and b"evil" not in heard, (name, heard)
    log = (stack.folder.parent / "nginx" / "access.log").read_text()
    assert "/smuggled" not in log


def _said(port: int, request: str) -> bytes:
    """Send bytes as they are, and return what comes until the server closes the connection."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw, suppress(ConnectionResetError):  # it need not read what it refuses
        raw.sendall(request.encode("latin-1"))
        while data := raw.recv(65536):
            heard += data
    return heard


@pytest.mark.parametrize("through", ["nginx", "gunicorn"])
def test_hosts_of_the_request_line(stack: Stack, through: str) -> None:
    port = int(stack.url.rpartition(":")[2]) if through == "nginx" else stack.port
    for target, host in (
        ("http://evil.example/", f"127.0.0.1:{port}"),
        ("/", "evil.example"),
        ("/", "127.0.0.1@evil.example"),
        ("http://evil.example/", "evil.example"),
    ):
        heard = _said(port, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 ") and b"evil" not in heard, (target, host)


def test_the_log_of_nginx_holds_no_permission(stack: Stack) -> None:
    for path in (
        "/lfs/file/secretlink",
        "/lfs/part/secretlink/1",
        "/lfs/complete/secretlink",
        "/accounts/password/reset/key/secretlink/",
        "/adapters?q=secretlink",
    ):
        httpx.get(f"{stack.url}{path}", headers={"Authorization": "Bearer secretlink", "Referer": "http://x/secretlink"})
    httpx.get(f"{stack.url}/owner/sums")
    path = stack.folder.parent / "nginx" / "access.log"
    wait(lambda: "/owner/sums 200" in path.read_text(), 10, path.read_text)
    log = path.read_text()
    assert "/lfs/file/... " in log and "/key/... " in log and "secretlink" not in log and stack.token not in log


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
    assert "| **all** |" in page and "None: no request was refused" in page and "went from 101 to 101 MB (+0.0 %)" in page
    found.failures = [{"Method": "GET", "Name": "page: list", "Error": "500", "Occurrences": "2"}]
    assert not found.ok and "- GET page: list, 2 times: 500" in load_report.write(
        found, argparse.Namespace(users=10, minutes=0.15, adapters=3), Machine(2, 8, 0.0)
    )
