"""Error pages that help, and JSON for our own scripts."""

import errno
import json

import pytest
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest
from django.test import Client, RequestFactory

from hub.errors import HubError
from hub.models import Adapter
from hub.web import errors
from tests.web.conftest import page, text

JSON = {"Accept": "application/json"}


def test_nothing_here(anonymous: Client) -> None:
    for address in ("/no/such/page/at/all", "/nobody", "/nobody/nothing"):
        response = anonymous.get(address)
        assert "Nothing here" in page(response, 404) and "/accounts/login/?next=" in page(response, 404)
        assert response["Content-Type"].startswith("text/html")


def test_scripts_get_json(anonymous: Client) -> None:
    answer = anonymous.get("/nobody/nothing", headers=JSON)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not-found"
    assert anonymous.get("/upload", headers=JSON).json()["error"]["code"] == "login-required"
    assert json.loads(errors.page_not_found(RequestFactory().get("/api/elsewhere")).content)["error"]["code"] == "not-found"
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/upload", headers=JSON).json()["error"]["code"] == "csrf-failed"


def test_another_host_name(db) -> None:
    assert "The request is damaged" in page(Client(headers={"Host": "evil.example"}).get("/"), 400)


def test_a_title_is_text(anonymous: Client) -> None:
    assert "<script>alert" not in page(anonymous.get("/<script>alert(1)</script>"), 404)


def broken(monkeypatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("hub.web.adapters.search.adapters", fail)


def test_a_fault_of_ours(monkeypatch, db) -> None:
    broken(monkeypatch, RuntimeError("secret detail"))
    client = Client(raise_request_exception=False)
    html = page(client.get("/adapters"), 500)
    assert "It is not your fault" in html and "secret detail" not in html
    assert client.get("/adapters", headers=JSON).json()["error"]["code"] == "internal"


def test_the_page_of_a_fault_needs_no_database(django_db_blocker) -> None:
    with django_db_blocker.block():
        assert b"It is not your fault" in errors.server_error(RequestFactory().get("/")).content


@pytest.mark.parametrize(
    ("status", "title"), [(409, "cannot be done right now"), (503, "not answering in full"), (418, "cannot be done"), (599, "broken on our side")]
)
def test_every_error_has_a_title(monkeypatch, anonymous: Client, status: int, title: str) -> None:
    broken(monkeypatch, HubError("some-code", "A sentence that helps.", status=status))
    assert title in page(anonymous.get("/adapters"), status) and "A sentence that helps." in text(anonymous.get("/adapters"))


class FullDisk(TemporaryFileUploadHandler):
    """Takes uploads to a disk that is full."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_while_an_upload_arrives(owner, settings) -> None:
    settings.FILE_UPLOAD_HANDLERS = [f"{__name__}.FullDisk"]
    client = Client(raise_request_exception=False)
    client.force_login(owner)
    for strict in (False, True):
        client.handler.enforce_csrf_checks = strict
        files = {"files": SimpleUploadedFile("adapter_config.json", b"{}"), "name": "sums"}
        answer = client.post("/upload", files, headers=JSON)
        assert answer.status_code == 507 and "disk is full" in answer.json()["error"]["message"]
        files = {"files": SimpleUploadedFile("adapter_config.json", b"{}"), "name": "sums"}
        assert "disk is full" in page(client.post("/upload", files), 507)
    assert not Adapter.objects.exists()


def test_too_much_text_at_once(as_owner: Client, settings, sums: Adapter) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
    given = {"text": "x" * 1_100_000}
    assert "larger than 1 MB" in page(as_owner.post("/compose", given), 413)
    assert as_owner.post("/compose", given, headers=JSON).json()["error"]["code"] == "request-too-large"


def test_too_many_files_and_fields(as_owner: Client, settings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 3
    assert "at most 3 files" in page(as_owner.post("/upload", {"files": [SimpleUploadedFile(f"{n}.txt", b"x") for n in range(5)]}), 413)
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 3
    assert "too many fields" in page(as_owner.post("/upload", {f"f{n}": "x" for n in range(5)}), 413)


def test_other_bad_requests_stay_400() -> None:
    request = RequestFactory().get("/", headers=JSON)
    assert errors.bad_request(request, ValueError("x")).status_code == 400
    assert errors.bad_request(request, RequestDataTooBig("x")).status_code == 413
    assert errors.known(OSError(errno.EIO, "x")) is None


def test_the_way_back_stays_here() -> None:
    def back(referer: str) -> str:
        request: HttpRequest = RequestFactory().post("/owner/sums/like", headers={"Referer": referer})
        return errors.answer(request, HubError("login-required", "Log in.", status=401))["Location"]

    assert back("http://testserver/owner/sums?revision=1").endswith("next=%2Fowner%2Fsums%3Frevision%3D1")
    for elsewhere in ("https://evil.example/x", "javascript:alert(1)", "", "http://testserver@evil.example/"):
        assert back(elsewhere).endswith("next=%2F")
