"""The demo's client: forms as Django reads them, refusals as errors, downloads checked."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser

from demo.client import ApiError, Client, multipart
from demo.terminal import DemoError


@pytest.fixture
def site():
    """A server that answers from a dictionary of path -> (status, bytes) and remembers what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.command, self.path, self.headers.get("Authorization")))
            status, body = server.answers.get(self.path, (404, b'{"error": {"code": "not-found", "message": "There is no such thing."}}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_django_reads_the_form_with_paths_beside_files(tmp_path, settings):
    contents = {"README.md": b"# card\r\n--x", "deep/weights.safetensors": bytes(range(256))}
    files = {}
    for name, content in contents.items():
        files[name] = tmp_path / name.replace("/", "_")
        files[name].write_bytes(content)
    body, kind = multipart(files, {"message": "Upload \u00e9"})
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10_000
    handler = MemoryFileUploadHandler()
    fields, uploaded = MultiPartParser({"CONTENT_TYPE": kind, "CONTENT_LENGTH": len(body)}, BytesIO(body), [handler], "utf-8").parse()
    assert fields["message"] == "Upload \u00e9"
    assert dict(zip(fields.getlist("paths"), [f.read() for f in uploaded.getlist("files")], strict=True)) == contents


def test_a_refusal_carries_code_and_message(site):
    site.answers["/api/v1/compositions"] = (409, b'{"error": {"code": "name-taken", "message": "Choose another name.", "fields": {}}}')
    with pytest.raises(ApiError, match="409 name-taken: Choose another name") as caught:
        Client(site.url, "secret").post("/api/v1/compositions", {})
    assert (caught.value.status, caught.value.code) == (409, "name-taken")
    assert site.asked == [("POST", "/api/v1/compositions", "Bearer secret")]


def test_an_answer_that_is_not_ours_is_shown(site):
    site.answers["/api/v1/x"] = (502, b"bad gateway")
    with pytest.raises(ApiError, match="502: bad gateway"):
        Client(site.url).get("/api/v1/x")


def test_no_answer_is_a_plain_sentence(site):
    site.shutdown()
    site.server_close()
    with pytest.raises(DemoError, match="does not answer"):
        Client(site.url).get("/api/v1/x")


def test_a_missing_adapter_is_none(site):
    assert Client(site.url).adapter("nobody/nothing") is None


def test_all_pages_are_listed(site):
    site.answers["/api/v1/adapters?tag=a+b&limit=100"] = (200, json.dumps({"items": [{"id": "a/1"}], "next": f"{site.url}/api/v1/adapters?cursor=x"}).encode())
    site.answers["/api/v1/adapters?cursor=x"] = (200, b'{"items": [{"id": "a/2"}], "next": null}')
    assert [row["id"] for row in Client(site.url).adapters(tag="a b")] == ["a/1", "a/2"]


def listing(site, path, content, sha256):
    site.answers["/api/v1/adapters/a/b?revision=123"] = (200, json.dumps({"files": [{"path": path, "size": len(content), "sha256": sha256}]}).encode())
    site.answers[f"/api/v1/adapters/a/b/files/{path}?revision=123"] = (200, content)


def test_a_download_arrives(site, tmp_path):
    listing(site, "sub/recipe.json", b"{}", hashlib.sha256(b"{}").hexdigest())
    Client(site.url).download("a/b", "123", tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "recipe.json").read_bytes() == b"{}"


def test_a_download_with_other_bytes_is_refused(site, tmp_path):
    listing(site, "recipe.json", b"{}", "0" * 64)
    with pytest.raises(DemoError, match="another checksum"):
        Client(site.url).download("a/b", "123", tmp_path)
    assert not (tmp_path / "recipe.json").exists()


def test_a_path_out_of_the_folder_is_refused(site, tmp_path):
    listing(site, "../evil", b"{}", hashlib.sha256(b"{}").hexdigest())
    with pytest.raises(DemoError, match="unsafe path"):
        Client(site.url).download("a/b", "123", tmp_path / "out")
    assert not (tmp_path / "evil").exists()
