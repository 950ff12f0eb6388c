"""What accounts store and may store: counted right, whoever shares what, and refused in one sentence at every door."""

import io
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub import storage
from hub.errors import HubError
from hub.models import Adapter, Blob, DirectUpload, Holding, RevisionFile, Role, Usage, User
from hub.models import Upload as Sent
from hub.services import accounts, adapters, hosting, jobs, lifecycle, organizations, quotas, uploads
from tests import make
from tests.conftest import Upload, commit, person

FILES = make.adapter()
SIZE = sum(map(len, FILES.values()))


def used(account: User) -> int:
    """What the kept count says, which is what the rows say."""
    assert list(quotas.differences()) == []
    return quotas.of(account).used


def limit(account: User, megabytes: int, *, left: int | None = None) -> None:
    """Set a quota; with `left`, count so much that this many bytes are left of it."""
    Usage.objects.update_or_create(account=account, defaults={"quota_mb": megabytes})
    if left is not None:
        Usage.objects.filter(account=account).update(bytes=megabytes * 1_000_000 - left)


def client_of(user: User) -> Client:
    """The user by token."""
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='t', scope='write')[1]}"})


def exceeds(answer: Any) -> bool:
    """Whether this is the refusal, in the words of its door."""
    text = answer.content.decode()
    return answer.status_code == 413 and "that it may" in text and ("quota-exceeded" in text or answer.headers.get("X-Error-Code") == "quota-exceeded")


def test_each_owner_is_charged_for_each_blob_once(owner: User, friend: User, upload: Upload) -> None:
    upload(owner, "one", files=FILES)
    assert used(owner) == SIZE
    upload(owner, "two", files=FILES)
    assert used(owner) == SIZE, "the same bytes again"
    upload(friend, "three", files=FILES)
    assert (used(owner), used(friend)) == (SIZE, SIZE), "shared, and charged to both"
    commit(Adapter.objects.get(name="one"), {"notes.txt": b"12345"})
    commit(Adapter.objects.get(name="one"), {"notes.txt": b"123"})
    assert used(owner) == SIZE + 8, "older revisions count"


def test_what_is_deleted_counts_until_it_is_removed(owner: User, upload: Upload) -> None:
    upload(owner, "one", files=FILES)
    two = upload(owner, "two", files={**FILES, "notes.txt": b"12345"})
    lifecycle.delete(actor=owner, adapter=two)
    assert used(owner) == SIZE + 5
    two = lifecycle.find_deleted(actor=owner, repo_id="owner/two")
    lifecycle.purge(actor=owner, adapter=two)
    assert used(owner) == SIZE
    lifecycle.delete(actor=owner, adapter=Adapter.objects.get(name="one"))
    Adapter.with_deleted.update(deleted_at=timezone.now() - timedelta(days=30))
    assert lifecycle.purge_old() == 1 and used(owner) == 0 and not Holding.objects.exists()


def test_what_is_handed_over_goes_with_its_bytes(owner: User, friend: User, upload: Upload) -> None:
    adapter = upload(owner, "one", files=FILES)
    upload(owner, "two", files={**FILES, "notes.txt": b"12345"})
    limit(friend, 1, left=10)
    offer = lifecycle.transfer(actor=owner, adapter=adapter, to=friend)
    with pytest.raises(HubError) as refused:
        lifecycle.accept(actor=friend, offer=offer)  # type: ignore[arg-type]
    assert refused.value.code == "quota-exceeded" and Adapter.objects.get(name="one").owner == owner
    Usage.objects.filter(account=friend).update(bytes=0, quota_mb=None)
    lifecycle.accept(actor=friend, offer=offer)  # type: ignore[arg-type]
    assert (used(owner), used(friend)) == (SIZE + 5, SIZE)


def test_who_has_which_limit(owner: User, friend: User, settings: Settings) -> None:
    club = organizations.create(actor=owner, name="club")
    assert quotas.of(owner).limit is None and quotas.of(club).limit is None
    settings.QUOTA_MB, settings.QUOTA_ORGANIZATION_MB = 5, 7
    assert (quotas.of(owner).limit, quotas.of(club).limit) == (5_000_000, 7_000_000)
    limit(owner, 0), limit(friend, 3)
    assert (quotas.of(owner).limit, quotas.of(friend).limit) == (None, 3_000_000)
    operator = person("operator")
    operator.is_staff = True
    assert quotas.of(operator).limit is None and quotas.of(hosting.namespace("Qwen")).limit is None


def test_a_commit_that_does_not_fit_leaves_nothing(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "one", files=FILES)
    limit(owner, 1, left=4)
    before = {path.name for path in storage.settings.BLOBS_DIR.glob("??/??/*")}
    with pytest.raises(HubError) as refused:
        commit(adapter, {"notes.txt": b"12345"})
    assert (refused.value.code, refused.value.status) == ("quota-exceeded", 413)
    assert refused.value.message.startswith("owner stores 1.00 MB of the 1.00 MB that it may and 5 B more would not fit. Delete adapters for good")
    assert adapter.revisions.count() == 1 and {path.name for path in storage.settings.BLOBS_DIR.glob("??/??/*")} == before
    commit(adapter, {"copy.txt": FILES["adapter_config.json"], "notes.txt": b"1234"})
    commit(adapter, {}, deletions=["copy.txt"])
    assert quotas.of(owner).left == 0


@pytest.mark.django_db(transaction=True)
def test_two_that_race_for_the_last_room(owner: User, upload: Upload) -> None:
    targets = [upload(owner, name, seed=n) for n, name in enumerate(("one", "two"))]
    limit(owner, 1, left=150_000)
    start, said = threading.Barrier(2), []

    def send(adapter: Adapter, letter: bytes) -> None:
        start.wait()
        try:
            commit(adapter, {"notes.txt": letter * 100_000})
            said.append("landed")
        except HubError as error:
            said.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=pair) for pair in zip(targets, (b"a", b"b"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["landed", "quota-exceeded"] and quotas.of(owner).left == 50_000
    assert RevisionFile.objects.filter(path="notes.txt").count() == 1


def test_every_door_says_so(owner: User, upload: Upload, client: Client, settings: Settings) -> None:
    upload(owner, "one", files=FILES)
    limit(owner, 1, left=1000)
    by_token, large = client_of(owner), b"x" * 1001
    assert exceeds(by_token.post("/api/v1/adapters/owner/one/commits", {"files": SimpleUploadedFile("notes.txt", large), "message": "m"}))
    ahead = {"files": [{"path": "notes.txt", "size": len(large), "sample": ""}]}
    assert exceeds(by_token.post("/api/models/owner/one/preupload/main", ahead, "application/json"))
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": "0" * 64, "size": len(large)}]}
    assert exceeds(by_token.post("/owner/one.git/info/lfs/objects/batch", batch, "application/json"))
    assert exceeds(by_token.post("/owner/new.git/info/lfs/objects/batch?create_repo=1", batch, "application/json"))
    line = {"key": "file", "value": {"path": "notes.txt", "content": "eHh4" * 400, "encoding": "base64"}}
    assert exceeds(by_token.post("/api/models/owner/one/commit/main", json.dumps(line), "application/x-ndjson"))
    uploads.remember(user=owner, stored=storage.put(io.BytesIO(large)))
    named = {"key": "lfsFile", "value": {"path": "notes.txt", "algo": "sha256", "oid": Sent.objects.get().blob_id}}
    assert exceeds(by_token.post("/api/models/owner/one/commit/main", json.dumps(named), "application/x-ndjson"))
    client.force_login(owner)
    page = client.post("/upload?to=owner/one", {"files": SimpleUploadedFile("notes.txt", large), "message": "m"})
    assert page.status_code == 400 and "that it may" in page.content.decode()
    assert Adapter.objects.get().revisions.count() == 1 and Adapter.objects.count() == 1
    unchanged = {"files": [{"path": path, "size": len(data), "sample": ""} for path, data in FILES.items()]}
    assert by_token.post("/api/models/owner/one/preupload/main", unchanged, "application/json").status_code == 200


def test_nothing_begins_whose_result_could_not_be_kept(owner: User, upload: Upload) -> None:
    upload(owner, "one", files=FILES)
    limit(owner, 1, left=0)
    with pytest.raises(HubError) as refused:
        jobs.submit(actor=owner, base_model=make.BASE, modules=["owner/one"], examples=[{"input": "a", "output": "b"}] * 8, name="mix")
    assert refused.value.code == "quota-exceeded" and "is full" in refused.value.message
    assert exceeds(client_of(owner).get("/api/models/owner/one/xet-write-token/main"))


def test_a_result_that_does_not_fit_fails_with_the_sentence(owner: User, upload: Upload) -> None:
    with pytest.raises(HubError) as refused:
        limit(owner, 1, left=100)
        adapters.publish(actor=owner, name="mix", files=adapters.prepare(files=[adapters.Incoming(path, io.BytesIO(data)) for path, data in FILES.items()]))
    assert refused.value.code == "quota-exceeded" and not Adapter.objects.exists()


def test_what_waits_for_a_commit_is_bounded(owner: User, friend: User, upload: Upload, settings: Settings) -> None:
    settings.MAX_WEIGHTS_BYTES, settings.MAX_MODEL_BYTES = 1000, 0
    for number in range(16):
        uploads.remember(user=owner, stored=storage.put(io.BytesIO(bytes([number]) * 1000)))
    assert quotas.pending(owner) == 16_000
    with pytest.raises(HubError, match=r"16.0 kB that no commit names yet, and 16.0 kB may wait") as refused:
        uploads.receive(user=owner, stream=io.BytesIO(b"x"), sha256=storage.put(io.BytesIO(b"x")).sha256, size=1)
    assert (refused.value.code, refused.value.status) == ("too-much-pending", 413)
    with pytest.raises(HubError):
        uploads.remember(user=owner, stored=storage.put(io.BytesIO(b"y")))
    assert not Blob.objects.filter(size=1).exists() and quotas.pending(friend) == 0
    first = Sent.objects.order_by("pk").first()
    assert first is not None
    adapter = adapters.create(actor=friend, name="has-it")
    commit(adapter, {"data.txt": bytes([65]) * 10})
    Holding.objects.create(account=friend, blob=first.blob)
    assert quotas.pending(owner) == 15_000, "what a revision holds takes no room of its own"
    DirectUpload.objects.create(user=owner, sha256="0" * 64, size=500, part=500, key="k", upload="u")
    assert quotas.pending(owner) == 15_500


def test_a_small_quota_bounds_what_waits_too(owner: User, settings: Settings) -> None:
    settings.QUOTA_MB = 1
    quotas.check_pending(owner, 1_000_000)
    with pytest.raises(HubError):
        quotas.check_pending(owner, 1_000_001)
    club = organizations.create(actor=owner, name="club")
    limit(club, 5)
    quotas.check_pending(owner, 5_000_000)


def test_a_wrong_count_is_found_and_mended(owner: User, upload: Upload, capsys: pytest.CaptureFixture[str]) -> None:
    upload(owner, "one", files=FILES)
    Usage.objects.update(bytes=5)
    Holding.objects.filter(blob__size=max(map(len, FILES.values()))).delete()
    with pytest.raises(SystemExit):
        call_command("check_store", "--fast")
    assert f"wrong-usage  owner  5 bytes are counted, {SIZE} are stored" in capsys.readouterr().out
    call_command("check_store", "--fast", "--mend")
    assert "1 count mended" in capsys.readouterr().out and used(owner) == SIZE and Holding.objects.count() == len(FILES)
    call_command("check_store", "--fast")


def test_people_see_what_they_store(owner: User, friend: User, upload: Upload, client: Client) -> None:
    club = organizations.create(actor=owner, name="club")
    organizations.invite(actor=owner, organization=club, username="friend", role=Role.READER)
    upload(owner, "one", files=FILES)
    assert client_of(owner).get("/api/v1/me").json()["storage"] == {"used": SIZE, "limit": None, "pending": 0}
    limit(owner, 2), limit(club, 3)
    assert client_of(owner).get("/api/v1/me").json()["storage"]["limit"] == 2_000_000
    assert client_of(owner).get("/api/v1/organizations/club").json()["storage"] == {"used": 0, "limit": 3_000_000}
    assert client_of(friend).get("/api/v1/organizations/club").json()["storage"] is None
    client.force_login(owner)
    assert "of 2.00 MB" in client.get("/settings/profile").content.decode()
    assert "of 3.00 MB" in client.get("/club/settings").content.decode()


def test_operators_set_quotas(owner: User, client: Client) -> None:
    operator = person("operator")
    User.objects.filter(pk=operator.pk).update(is_staff=True, is_superuser=True)
    client.force_login(User.objects.get(pk=operator.pk))
    assert client.post("/admin/hub/usage/add/", {"account": owner.pk, "quota_mb": "12"}).status_code == 302
    assert quotas.of(owner).limit == 12_000_000
    assert client.post(f"/admin/hub/usage/{owner.pk}/change/", {"quota_mb": ""}).status_code == 302
    page = client.get("/admin/hub/usage/").content.decode()
    assert "owner" in page and quotas.of(owner).limit is None
