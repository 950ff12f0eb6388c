"""Bytes of a revision: ETag, conditions, ranges, types, and what counts as a download."""

import hashlib
import io
import os
import zipfile

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from django.utils import timezone

from hub import files, storage
from hub.errors import HubError
from hub.models import Adapter, Blob, Revision, RevisionFile, User

BYTES = bytes(range(256)) * 4
pytestmark = pytest.mark.django_db


@pytest.fixture
def revision():
    user = User.objects.create_user("acme", "acme@example.org", "x")
    adapter = Adapter.objects.create(owner=user, name="sums")
    return Revision.objects.create(adapter=adapter, sha="a" * 40, author=user, message="first", created_at=timezone.now())


@pytest.fixture
def add(revision):
    def add_file(path, content=BYTES):
        stored = storage.put(io.BytesIO(content))
        blob, _ = Blob.objects.get_or_create(sha256=stored.sha256, defaults={"size": stored.size})
        return RevisionFile.objects.create(revision=revision, path=path, blob=blob)

    return add_file


def ask(method="get", *, user=None, address="10.0.0.1", **headers):
    request = getattr(RequestFactory(), method)("/", headers={k.replace("_", "-"): v for k, v in headers.items()}, REMOTE_ADDR=address)
    request.user = user or AnonymousUser()
    return request


def body(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_it_works(add):
    row = add("adapter_model.safetensors")
    response = files.file_response(ask(), row, attachment=True)
    assert (response.status_code, body(response)) == (200, BYTES)
    assert response["ETag"] == f'"{hashlib.sha256(BYTES).hexdigest()}"'
    assert response["Content-Length"] == str(len(BYTES))
    assert response["Accept-Ranges"] == "bytes"
    assert response["Content-Disposition"] == 'attachment; filename="adapter_model.safetensors"'


def test_head_has_the_headers_and_no_bytes(add):
    response = files.file_response(ask("head"), add("adapter_model.safetensors"), attachment=True)
    assert (response.status_code, body(response), response["Content-Length"]) == (200, b"", str(len(BYTES)))


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=1000-", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=1000-99999", 1000, 1024),
        ("bytes=-9999", 0, 1024),
    ],
)
def test_one_range(add, wanted, start, stop):
    response = files.file_response(ask(Range=wanted), add("w.safetensors"), attachment=True)
    assert (response.status_code, body(response)) == (206, BYTES[start:stop])
    assert response["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert response["Content-Length"] == str(stop - start)


@pytest.mark.parametrize(("wanted", "start", "stop"), [("", 0, 1024), ("bytes=5-9", 5, 10), ("bytes=1000-", 1000, 1024)])
def test_a_server_may_send_the_file_itself(add, wanted, start, stop):
    """Servers send a file from where it stands for as many bytes as the Content-Length says, or else read it to its end."""
    response = files.file_response(ask(**{"Range": wanted} if wanted else {}), add("w.safetensors"), attachment=True)
    file = response.file_to_stream
    place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    assert os.pread(file.fileno(), int(response["Content-Length"]), place) == BYTES[start:stop]
    assert b"".join(iter(lambda: file.read(7), b"")) == BYTES[start:stop]
    response.close()
    with pytest.raises(ValueError, match="closed"):
        file.fileno()


@pytest.mark.parametrize("wanted", ["bytes=1024-", "bytes=2000-3000", "bytes=-0"])
def test_a_range_outside_the_file(add, wanted):
    response = files.file_response(ask(Range=wanted), add("w.safetensors"), attachment=True)
    assert (response.status_code, response["Content-Range"]) == (416, "bytes */1024")


@pytest.mark.parametrize("wanted", ["bytes=9-5", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-9", "bytes=" + "9" * 40 + "-"])
def test_a_range_that_is_not_understood_gives_the_whole_file(add, wanted):
    response = files.file_response(ask(Range=wanted), add("w.safetensors"), attachment=True)
    assert (response.status_code, body(response)) == (200, BYTES)


def test_an_empty_file(add):
    row = add("empty.txt", b"")
    assert files.file_response(ask(), row, attachment=True)["Content-Length"] == "0"
    asked = files.file_response(ask(Range="bytes=0-0"), row, attachment=True)
    assert (asked.status_code, asked["Content-Range"], body(asked)) == (200, "bytes */0", b"")


@pytest.mark.parametrize("known", ['"{}"', 'W/"{}"', "*", '"other", "{}"'])
def test_what_the_asker_has_already_is_not_sent_again(add, known):
    row = add("w.safetensors")
    response = files.file_response(ask(If_None_Match=known.format(row.blob_id)), row, attachment=True)
    assert (response.status_code, body(response)) == (304, b"")
    assert response["ETag"] == f'"{row.blob_id}"'


def test_another_etag_is_sent(add):
    assert files.file_response(ask(If_None_Match='"other"'), add("w.safetensors"), attachment=True).status_code == 200


def test_if_match(add):
    row = add("w.safetensors")
    assert files.file_response(ask(If_Match='"other"'), row, attachment=True).status_code == 412
    assert files.file_response(ask(If_Match=f'"{row.blob_id}"'), row, attachment=True).status_code == 200


def test_if_range_resumes_only_the_same_bytes(add):
    row = add("w.safetensors")
    assert files.file_response(ask(Range="bytes=5-", If_Range=f'"{row.blob_id}"'), row, attachment=True).status_code == 206
    for other in ('"other"', f'W/"{row.blob_id}"', "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert files.file_response(ask(Range="bytes=5-", If_Range=other), row, attachment=True).status_code == 200


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("README.md", "text/plain; charset=utf-8"),
        ("adapter_config.json", "text/plain; charset=utf-8"),
        ("page.html", "application/octet-stream"),
        ("drawing.svg", "application/octet-stream"),
        ("plot.png", "image/png"),
        ("adapter_model.safetensors", "application/octet-stream"),
    ],
)
def test_no_browser_runs_what_is_sent(add, path, kind):
    response = files.file_response(ask(), add(path), attachment=False)
    assert response["Content-Type"] == kind
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]


def test_a_hostile_name_stays_a_name(add):
    header = files.file_response(ask(), add('a"; evil=1; é.txt'), attachment=True)["Content-Disposition"]
    assert header.startswith("attachment; filename")
    assert "\n" not in header and '"; evil' not in header.replace('\\"', "")


def test_a_client_counts_once_a_day(add, revision):
    row = add("adapter_model.safetensors")
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        files.file_response(ask(address=address), row, attachment=True)
    files.file_response(ask(user=revision.author), row, attachment=True)
    revision.adapter.refresh_from_db()
    assert revision.adapter.downloads == 3


def test_what_does_not_count(add, revision):
    row = add("adapter_model.safetensors")
    files.file_response(ask("head"), row, attachment=True)
    files.file_response(ask(Range="bytes=100-"), row, attachment=True)
    files.file_response(ask(Range="bytes=5000-"), row, attachment=True)
    files.file_response(ask(If_None_Match="*"), row, attachment=True)
    files.file_response(ask(), add("README.md"), attachment=True)
    revision.adapter.refresh_from_db()
    assert revision.adapter.downloads == 0


def test_the_first_part_of_a_ranged_download_counts(add, revision):
    files.file_response(ask(Range="bytes=0-99"), add("adapter_model.safetensors"), attachment=True)
    revision.adapter.refresh_from_db()
    assert revision.adapter.downloads == 1


@pytest.mark.parametrize(("proxies", "address"), [(0, "10.0.0.1"), (1, "3.3.3.3"), (2, "2.2.2.2"), (9, "1.1.1.1")])
def test_the_address_behind_proxies(settings, proxies, address):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    assert files.address(ask(X_Forwarded_For="1.1.1.1, 2.2.2.2, 3.3.3.3")) == address


def test_a_zip_of_the_revision(add, revision):
    add("adapter_model.safetensors")
    add("docs/README.md", b"# Sums")
    response = files.zip_response(ask(), revision.adapter, revision)
    content = body(response)
    assert response["Content-Length"] == str(len(content))
    assert response["Content-Disposition"] == 'attachment; filename="sums-aaaaaaa.zip"'
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == ["sums/adapter_model.safetensors", "sums/docs/README.md"]
        assert archive.read("sums/docs/README.md") == b"# Sums"
    revision.adapter.refresh_from_db()
    assert revision.adapter.downloads == 1


def test_a_lost_blob_is_an_error_of_the_store(add, revision):
    row = add("adapter_model.safetensors")
    storage.local_path(row.blob_id).unlink()
    for broken in (lambda: files.file_response(ask(), row, attachment=True), lambda: files.zip_response(ask(), revision.adapter, revision)):
        with pytest.raises(HubError) as caught:
            broken()
        assert caught.value.status == 503
