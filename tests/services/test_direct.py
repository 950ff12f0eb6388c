"""Uploads that go straight to the bucket: what came counts when all of it is there and hashes to its name, and nothing else ever does."""

import hashlib
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings
from safetensors.numpy import save

from compose_worker import tasks
from hub import object_store, storage
from hub.models import Adapter, Blob, DirectUpload, RevisionFile, User
from hub.models import Upload as Sent
from hub.services import accounts, direct, store
from tests import bucket as s3
from tests import make
from tests.conftest import Upload

MIB = 1 << 20
SMALL = b"small " * 1000
LARGE = bytes(range(256)) * (11 * MIB // 256)


@pytest.fixture(scope="module")
def server() -> Iterator[s3.Bucket]:
    """One server for the tests of this file."""
    made = s3.Bucket()
    yield made
    made.stop()


@pytest.fixture
def bucket(server: s3.Bucket, settings: Settings) -> Iterator[s3.Bucket]:
    """The store of this hub lies in an empty bucket."""
    settings.LFS_PART_BYTES = 5 * MIB
    with s3.store_of(settings, server) as here:
        yield here


@pytest.fixture
def asker(bucket: s3.Bucket, owner: User, upload: Upload) -> Client:
    """The owner of owner/sums, by token."""
    upload(owner, "sums")
    bucket.asked.clear()
    return by_token(owner)


def by_token(user: User) -> Client:
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='t', scope='write')[1]}"})


def oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def batch(asker: Client, data: bytes, *, ask: str = "", transfers: tuple[str, ...] = ("basic", "multipart"), name: str = "owner/sums") -> Any:
    """What the hub says of an object."""
    body = {"operation": "upload", "transfers": transfers, "objects": [{"oid": oid(data), "size": len(data)}]}
    answer = asker.post(f"/{name}.git/info/lfs/objects/batch{ask}", body, "application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()["objects"][0]


def links(action: Any) -> list[str]:
    """Where the parts go, in order."""
    return [url for name, url in sorted(action["header"].items()) if name.isdigit()]


def send(action: Any, data: bytes, numbers: tuple[int, ...] = (0, 1, 2)) -> None:
    for number in numbers:
        assert httpx.put(links(action)[number], content=data[number * 5 * MIB :][: 5 * MIB]).status_code == 200


def complete(asker: Client, action: Any, data: bytes) -> Any:
    parts = [{"partNumber": number, "etag": '"whatever"'} for number in range(1, len(links(action)) + 1)]
    return Client().post(urlsplit(action["href"]).path, {"oid": oid(data), "parts": parts}, "application/json")


def verify(asker: Client, data: bytes) -> Any:
    return asker.post("/owner/sums.git/info/lfs/verify", {"oid": oid(data), "size": len(data)}, "application/json")


def commit(asker: Client, data: bytes, path: str = "notes.txt") -> Any:
    line = {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid(data), "size": len(data)}}
    return asker.post("/api/models/owner/sums/commit/main", json.dumps(line), "application/x-ndjson")


def is_clean(bucket: s3.Bucket) -> bool:
    """Nothing is under way, here or there, but for blobs."""
    return not bucket.under_way() and all(name.startswith("blobs/") for name in bucket.names()) and not DirectUpload.objects.exists()


def test_a_whole_file(bucket: s3.Bucket, asker: Client) -> None:
    upload = batch(asker, SMALL)["actions"]["upload"]
    assert upload["href"].startswith(bucket.url) and "header" not in upload
    assert httpx.put(upload["href"], content=SMALL).status_code == 200
    assert not Blob.objects.filter(pk=oid(SMALL)).exists(), "what came counts for nothing before somebody asks"
    assert verify(asker, SMALL).status_code == 200 and is_clean(bucket)
    assert commit(asker, SMALL).status_code == 200
    assert object_store.key(oid(SMALL)) in bucket.names() and list(store.check()) == []
    assert "actions" not in batch(asker, SMALL), "what is here is not sent again"


def test_parts(bucket: s3.Bucket, asker: Client) -> None:
    action = batch(asker, LARGE)["actions"]["upload"]
    assert len(links(action)) == 3 and all(link.startswith(bucket.url) for link in links(action)) and "/lfs/complete/" in action["href"]
    send(action, LARGE)
    assert complete(asker, action, LARGE).json() == {"oid": oid(LARGE)} and is_clean(bucket)
    assert complete(asker, action, LARGE).status_code == 200, "asked twice, as clients do whose connection broke"
    assert bucket.client.get_object(Bucket=s3.NAME, Key=object_store.key(oid(LARGE)))["Body"].read() == LARGE


def test_a_client_that_only_commits(bucket: s3.Bucket, asker: Client) -> None:
    httpx.put(batch(asker, SMALL)["actions"]["upload"]["href"], content=SMALL)
    assert commit(asker, SMALL).status_code == 200 and is_clean(bucket)
    assert RevisionFile.objects.filter(blob=oid(SMALL), path="notes.txt").exists()


def test_an_upload_goes_on_where_it_was(bucket: s3.Bucket, asker: Client, stranger: User, upload: Upload) -> None:
    send(batch(asker, LARGE)["actions"]["upload"], LARGE, (1,))
    again = batch(asker, LARGE)["actions"]["upload"]
    assert [urlsplit(link).fragment for link in links(again)] == ["", "there", ""]
    upload(stranger, "theirs")
    other = batch(by_token(stranger), LARGE, name="stranger/theirs")["actions"]["upload"]
    assert [urlsplit(link).fragment for link in links(other)] == ["", "", ""], "an upload is its sender's alone"
    answer = complete(asker, again, LARGE)
    assert answer.status_code == 400 and answer.headers["X-Error-Code"] == "parts-missing" and "00001, 00003" in answer.json()["error"]
    assert commit(asker, LARGE).headers["X-Error-Code"] == "parts-missing"
    send(again, LARGE, (0, 2))
    assert complete(asker, again, LARGE).status_code == 200 and len(bucket.under_way()) == 1


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB + 1])
def test_a_link_takes_just_the_bytes_that_it_is_for(bucket: s3.Bucket, asker: Client, size: int) -> None:
    action = batch(asker, LARGE)["actions"]["upload"]
    assert httpx.put(links(action)[0], content=bytes(size)).status_code == 403
    assert httpx.put(links(action)[0].replace("partNumber=1", "partNumber=2"), content=bytes(5 * MIB)).status_code == 403
    assert httpx.get(links(action)[0]).status_code == 403 and httpx.delete(links(action)[0]).status_code == 403


@pytest.mark.parametrize("whole", [True, False])
def test_other_bytes_never_count(bucket: s3.Bucket, asker: Client, whole: bool) -> None:
    data = SMALL if whole else LARGE
    before = bucket.names()
    action = batch(asker, data)["actions"]["upload"]
    if whole:
        httpx.put(action["href"], content=SMALL[::-1])
        answer = verify(asker, data)
    else:
        send(action, LARGE[::-1])
        answer = complete(asker, action, data)
    assert answer.status_code == 400 and answer.headers["X-Error-Code"] == "content-mismatch"
    assert bucket.names() == before and is_clean(bucket) and not Blob.objects.filter(pk=oid(data)).exists()
    assert commit(asker, data).headers["X-Error-Code"] == "object-missing"
    assert not storage.local_path(oid(data)).exists() and not list(Path(storage.settings.WORK_DIR).iterdir())


def test_nobody_changes_what_is_there(bucket: s3.Bucket, asker: Client, stranger: User, upload: Upload) -> None:
    """A blob that exists is not written again, and a link is good for nothing once its bytes have counted."""
    kept = storage.put(io.BytesIO(SMALL))
    key = object_store.key(kept.sha256)
    link = batch(asker, SMALL)["actions"]["upload"]["href"]
    assert key not in link
    assert httpx.put(link, content=SMALL[::-1]).status_code == 200
    assert bucket.client.get_object(Bucket=s3.NAME, Key=key)["Body"].read() == SMALL
    assert verify(asker, SMALL).headers["X-Error-Code"] == "content-mismatch"
    link = batch(asker, SMALL)["actions"]["upload"]["href"]
    httpx.put(link, content=SMALL)
    bucket.asked.clear()
    assert verify(asker, SMALL).status_code == 200
    copies = [row for row in bucket.asked if "HTTP_X_AMZ_COPY_SOURCE" in row]
    assert [row["HTTP_X_AMZ_COPY_SOURCE"] for row in copies] == [f"{s3.NAME}/{key}"], "it was marked as wanted, and not copied over"
    assert httpx.put(link, content=SMALL[::-1]).is_error and is_clean(bucket)
    assert bucket.client.get_object(Bucket=s3.NAME, Key=key)["Body"].read() == SMALL


def test_a_failure_in_the_middle_is_taken_up_again(bucket: s3.Bucket, asker: Client) -> None:
    action = batch(asker, LARGE)["actions"]["upload"]
    send(action, LARGE)
    bucket.failing = lambda environ: environ["REQUEST_METHOD"] == "GET" and "uploadId" not in environ["QUERY_STRING"]
    assert complete(asker, action, LARGE).status_code == 503
    assert not Blob.objects.filter(pk=oid(LARGE)).exists() and DirectUpload.objects.exists()
    bucket.failing = lambda environ: False
    assert "actions" not in batch(asker, LARGE), "all of it had come"
    assert is_clean(bucket) and verify(asker, LARGE).status_code == 200 and list(store.check()) == []


def test_two_who_finish_at_once(bucket: s3.Bucket, asker: Client, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    action = batch(asker, LARGE)["actions"]["upload"]
    send(action, LARGE)
    take, others = direct.staging.take, []

    def slower(*args: Any) -> bool:
        if not others:
            others.append(True)
            assert direct.finish(user=owner, sha256=oid(LARGE)) is not None
        return take(*args)

    monkeypatch.setattr(direct.staging, "take", slower)
    assert complete(asker, action, LARGE).status_code == 200 and is_clean(bucket)
    assert Sent.objects.filter(blob=oid(LARGE)).count() == 1


@pytest.mark.parametrize("how", ["setting", "wish", "too large for one part"])
def test_through_the_site(bucket: s3.Bucket, asker: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "setting":
        settings.S3_REDIRECT = False
    elif how == "too large for one part":
        monkeypatch.setattr(direct.staging, "LARGEST_PART", len(SMALL) - 1)
    href = batch(asker, SMALL, ask="?direct=no" if how == "wish" else "", transfers=("basic",))["actions"]["upload"]["href"]
    assert urlsplit(href).path.startswith("/lfs/file/")
    assert Client().generic("PUT", urlsplit(href).path, SMALL).status_code == 200
    assert verify(asker, SMALL).status_code == 200 and not bucket.under_way()


def test_a_link_to_the_bucket_is_none_to_the_site(bucket: s3.Bucket, asker: Client, settings: Settings) -> None:
    action = batch(asker, LARGE)["actions"]["upload"]
    name = urlsplit(action["href"]).path.rpartition("/")[2]
    for path in (f"/lfs/file/{name}", f"/lfs/part/{name}/1"):
        assert Client().generic("PUT", path, LARGE[: 5 * MIB]).status_code == 403
    settings.S3_BUCKET = ""
    assert complete(asker, action, LARGE).status_code == 403, "a hub whose bucket is gone"


def taken() -> float:
    """How many bytes of bodies this site has been sent."""
    return REGISTRY.get_sample_value("django_http_requests_body_total_bytes_sum") or 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:Use 'content")
def test_the_real_client_sends_the_site_no_byte_of_its_files(bucket: s3.Bucket, live_server: Any, owner: User, upload: Upload) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    upload(owner, "sums")
    token = accounts.create_token(actor=owner, name="t", scope="write")[1]
    files = {f"{size}.safetensors": save({"w": np.arange(size // 4, dtype=np.float32)}) for size in (1_000_000, 11_000_000)}
    bucket.asked.clear()
    before = taken()
    operations = [CommitOperationAdd(path, io.BytesIO(data)) for path, data in files.items()]
    HfApi(endpoint=live_server.url, token=token).create_commit(repo_id="owner/sums", operations=operations, commit_message="Straight")
    assert 0 < taken() - before < 20_000
    links = [asked for asked in bucket.asked if "X-Amz-Signature" in asked["QUERY_STRING"]]
    assert sum(int(asked["CONTENT_LENGTH"]) for asked in links) == sum(map(len, files.values())) and len(links) == 4
    assert token not in str(bucket.asked) and is_clean(bucket)
    sent = RevisionFile.objects.filter(revision=Adapter.objects.get().head, path__in=files)
    assert {row.path: storage.open_blob(row.blob_id).read() for row in sent} == files


def test_what_nobody_finished_is_removed(bucket: s3.Bucket, asker: Client) -> None:
    send(batch(asker, LARGE)["actions"]["upload"], LARGE, (0,))
    batch(asker, SMALL)
    DirectUpload.objects.filter(sha256=oid(LARGE)).update(created_at=timezone.now() - timedelta(hours=25))
    young = DirectUpload.objects.get(sha256=oid(SMALL))
    bucket.client.create_multipart_upload(Bucket=s3.NAME, Key="staging/of-a-process-that-died")
    tasks.tidy()
    assert bucket.under_way() == [young.key] and DirectUpload.objects.get() == young
    assert direct.abort_old() == 0


def test_pruning_leaves_what_is_under_way(bucket: s3.Bucket, asker: Client) -> None:
    action = batch(asker, LARGE)["actions"]["upload"]
    send(action, LARGE)
    store.prune(hours=0)
    assert complete(asker, action, LARGE).status_code == 200
    assert Adapter.objects.get().head is not None and make.adapter() and list(store.check()) == []
