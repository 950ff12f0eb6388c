"""Blobs in a bucket: every verb works as on a disk, the disk is only a cache, and a bucket that fails is never "not found"."""

import hashlib
import io
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from hub import object_store, storage
from hub.errors import HubError
from hub.models import Adapter, Blob, RevisionFile, User
from hub.services import accounts, store
from tests import bucket as s3
from tests import make
from tests.conftest import Upload, commit

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def server() -> Iterator[s3.Bucket]:
    """One server for the tests of this file."""
    made = s3.Bucket()
    yield made
    made.stop()


@pytest.fixture
def bucket(server: s3.Bucket, settings: Settings) -> Iterator[s3.Bucket]:
    """The store of this hub lies in an empty bucket."""
    with s3.store_of(settings, server) as store:
        yield store


def forget() -> None:
    """Empty the cache, as on a machine that has just been started."""
    for folder in Path(storage.settings.BLOBS_DIR).iterdir():
        shutil.rmtree(folder)


def blob_of(adapter: Adapter, path: str) -> str:
    """The sha256 of a file of the head."""
    return RevisionFile.objects.get(revision=adapter.head, path=path).blob_id


def test_an_upload_lies_in_the_bucket_and_comes_back(bucket: s3.Bucket, sums: Adapter) -> None:
    assert sorted(bucket.names()) == sorted(object_store.key(sha256) for sha256 in Blob.objects.values_list("pk", flat=True))
    forget()
    assert storage.open_blob(blob_of(sums, WEIGHTS)).read() == make.adapter()[WEIGHTS]
    assert sorted(storage.hashes()) == sorted(Blob.objects.values_list("pk", flat=True)) and list(store.check()) == []


def test_downloads_come_from_the_bucket(bucket: s3.Bucket, client: Client, sums: Adapter) -> None:
    url = f"/owner/sums/resolve/main/{WEIGHTS}"
    head = client.head(url)
    assert head.status_code == 200 and head["Content-Length"] == str(len(make.adapter()[WEIGHTS]))
    answer = client.get(url)
    assert answer.status_code == 302 and answer["ETag"] == head["ETag"] and answer["X-Repo-Commit"] == head["X-Repo-Commit"]
    place = urlsplit(answer["Location"])
    assert f"http://{place.netloc}" == bucket.url and parse_qs(place.query)["X-Amz-Expires"] == ["3600"]
    got = httpx.get(answer["Location"], headers={"Range": "bytes=5-24"})
    assert (got.status_code, got.content) == (206, make.adapter()[WEIGHTS][5:25])
    assert got.headers["Content-Type"] == "application/octet-stream" and WEIGHTS in got.headers["Content-Disposition"]
    assert client.get(url, headers={"If-None-Match": head["ETag"]}).status_code == 304


def test_or_from_us(bucket: s3.Bucket, client: Client, sums: Adapter, settings: Settings) -> None:
    settings.S3_REDIRECT = False
    forget()
    answer = client.get(f"/owner/sums/resolve/main/{WEIGHTS}", headers={"Range": "bytes=5-24"})
    assert answer.status_code == 206 and b"".join(answer) == make.adapter()[WEIGHTS][5:25]


def test_nobody_gets_a_link_to_what_is_not_theirs(bucket: s3.Bucket, client: Client, owner: User, upload: Upload) -> None:
    upload(owner, "diary", private=True)
    answer = client.get(f"/owner/diary/resolve/main/{WEIGHTS}")
    assert answer.status_code == 401 and "Location" not in answer


@pytest.mark.django_db(transaction=True)
def test_the_real_client_does_not_show_its_token_to_the_bucket(bucket: s3.Bucket, live_server: Any, owner: User, upload: Upload, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    upload(owner, "diary", private=True)
    token = accounts.create_token(actor=owner, name="t", scope="read")[1]
    bucket.asked.clear()
    found = hf_hub_download("owner/diary", WEIGHTS, endpoint=live_server.url, token=token, cache_dir=tmp_path)
    assert Path(found).read_bytes() == make.adapter()[WEIGHTS]
    gets = [asked for asked in bucket.asked if asked["REQUEST_METHOD"] == "GET"]
    assert gets and not any("HTTP_AUTHORIZATION" in asked for asked in gets) and token not in str(bucket.asked)


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_what_is_damaged_in_the_bucket_is_never_handed_out(bucket: s3.Bucket, sums: Adapter, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    sha256 = blob_of(sums, WEIGHTS)
    data = make.adapter()[WEIGHTS]
    if damage == "gone":
        bucket.client.delete_object(Bucket=s3.NAME, Key=object_store.key(sha256))
    else:
        bucket.client.put_object(Bucket=s3.NAME, Key=object_store.key(sha256), Body=data[:-1] + b"?" if damage == "changed" else data[:-1])
    forget()
    with pytest.raises(HubError) as refused:
        storage.open_blob(sha256)
    assert (refused.value.code, refused.value.status) == ("storage-unavailable", 503)
    assert not storage.local_path(sha256).exists() and "cannot be opened" in caplog.text
    assert [fault.what for fault in store.check()] == ["missing"]


def test_a_bucket_that_fails_for_a_moment_is_asked_again(bucket: s3.Bucket, owner: User, upload: Upload) -> None:
    failures = iter([True, False] * 50)
    bucket.failing = lambda environ: next(failures)
    sums = upload(owner, "sums")
    bucket.failing = lambda environ: False
    forget()
    assert storage.open_blob(blob_of(sums, WEIGHTS)).read() == make.adapter()[WEIGHTS]


def test_a_bucket_that_is_down(bucket: s3.Bucket, sums: Adapter, client: Client) -> None:
    forget()
    bucket.failing = lambda environ: True
    revisions = sums.revisions.count()
    with pytest.raises(HubError) as refused:
        commit(sums, {"notes.txt": b"more"})
    assert refused.value.status == 503 and sums.revisions.count() == revisions
    storage.settings.S3_REDIRECT = False
    answer = client.get("/owner/sums/resolve/main/README.md")
    storage.settings.S3_REDIRECT = True
    assert answer.status_code == 503, "ours, and never shown as not found"


def test_the_cache_lets_go_of_what_was_not_used(bucket: s3.Bucket, sums: Adapter, settings: Settings, tmp_path: Path) -> None:
    sha256 = blob_of(sums, WEIGHTS)
    storage.link(sha256, tmp_path / "linked")
    settings.S3_CACHE_BYTES = 0
    assert storage.shrink_cache() > 0 and not storage.local_path(sha256).exists()
    assert (tmp_path / "linked").read_bytes() == make.adapter()[WEIGHTS], "a job that has it keeps it"
    assert storage.is_here(sha256) and not storage.is_here("0" * 64)


def test_prepare_makes_the_bucket(bucket: s3.Bucket, settings: Settings) -> None:
    object_store.Bucket("blobs", "blobs-public").ensure("https://hub.example.org")
    assert [row["Name"] for row in bucket.client.list_buckets()["Buckets"]] == [s3.NAME]
    options = {**settings.STORAGES["blobs"]["OPTIONS"], "bucket_name": "another"}
    settings.STORAGES = {**settings.STORAGES, "blobs": {**settings.STORAGES["blobs"], "OPTIONS": options}}
    object_store.Bucket("blobs", "blobs-public").ensure("https://hub.example.org")
    assert "another" in [row["Name"] for row in bucket.client.list_buckets()["Buckets"]]
    [rule] = bucket.client.get_bucket_cors(Bucket="another")["CORSRules"]
    assert rule["AllowedOrigins"] == ["https://hub.example.org"] and "PUT" in rule["AllowedMethods"] and rule["ExposeHeaders"] == ["ETag"]
    bucket.client.delete_bucket(Bucket="another")


def test_pruning(bucket: s3.Bucket, db: None) -> None:
    old, again = (storage.put(io.BytesIO(data)).sha256 for data in (b"old", b"again"))
    time.sleep(1.1)  # S3 tells times to the second
    before = time.time()
    time.sleep(1.1)
    assert storage.put(io.BytesIO(b"again")).sha256 == again
    forget()
    assert storage.discard(old, before=before) == 3 and storage.discard(again, before=before) == 0
    assert bucket.names() == [object_store.key(again)]
    assert storage.discard(hashlib.sha256(b"none").hexdigest(), before=before) == 0


def test_bytes_that_are_put_while_they_are_pruned_stay(bucket: s3.Bucket, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = storage.put(io.BytesIO(b"contested")).sha256
    here = object_store.bucket()
    assert here is not None
    head, puts = type(here)._head, []

    def slow(self: Any, name: str) -> Any:
        found = head(self, name)
        if found is not None and name.startswith("blobs/") and not puts:
            puts.append(threading.Thread(target=storage.put, args=(io.BytesIO(b"contested"),)))
            puts[0].start()  # it finds the bytes, and the mark of who removes them
            time.sleep(0.5)
        return found

    monkeypatch.setattr(type(here), "_head", slow)
    storage.discard(sha256, before=time.time() + 100)
    puts[0].join()
    assert bucket.names() == [object_store.key(sha256)]
