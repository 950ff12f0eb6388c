"""LFS uploads that lie: links of others and for other objects, parts missing, doubled or of the wrong size, bytes that are not the announced ones."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.http.response import HttpResponseBase
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub import storage
from hub.hf import lfs
from hub.models import Blob, Upload, User
from hub.services import accounts, uploads
from tests.conftest import Upload as MakeUpload

DATA = b"0123456789" * 1000


@pytest.fixture(autouse=True)
def small_parts(settings: Settings) -> None:
    settings.LFS_PART_BYTES = 4000


@pytest.fixture
def asker(owner: User, upload: MakeUpload) -> Client:
    """The owner of owner/sums, by token."""
    upload(owner, "sums")
    return by_token(owner)


def by_token(user: User) -> Client:
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='t', scope='write')[1]}"})


def oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def said(response: HttpResponseBase) -> tuple[int, str]:
    assert response.headers["X-Error-Message"] and response.headers["X-Request-Id"]
    return response.status_code, response.headers["X-Error-Code"]


def ask(asker: Client, data: bytes = DATA, *, size: int | None = None, transfers: tuple[str, ...] = ("basic", "multipart"), name: str = "owner/sums") -> Any:
    body = {"operation": "upload", "transfers": transfers, "objects": [{"oid": oid(data), "size": len(data) if size is None else size}]}
    return asker.post(f"/{name}.git/info/lfs/objects/batch", body, "application/json").json()["objects"][0]


def put(href: str, data: bytes, **more: Any) -> HttpResponseBase:
    """Send to a link as clients do: without a token."""
    return Client().generic("PUT", urlsplit(href).path, data, "application/octet-stream", **more)


def complete(href: str, parts: Any, sha256: str = oid(DATA)) -> HttpResponseBase:
    return Client().post(urlsplit(href).path, {"oid": sha256, "parts": parts}, "application/json")


def part_urls(action: dict[str, Any]) -> list[str]:
    return [url for name, url in sorted(action["header"].items()) if name.isdigit()]


def pieces(data: bytes = DATA) -> list[bytes]:
    return [data[start : start + 4000] for start in range(0, len(data), 4000)]


def nothing_stored(settings: Settings) -> bool:
    lies = storage_files(settings.BLOBS_DIR)
    return not Upload.objects.exists() and not Blob.objects.filter(sha256=oid(DATA)).exists() and oid(DATA) not in {path.name for path in lies}


def storage_files(folder: Any) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file()]


LISTED = [{"partNumber": n, "etag": "x"} for n in (1, 2, 3)]


def test_it_works(asker: Client, settings: Settings):
    action = ask(asker)["actions"]["upload"]
    for url, piece in zip(part_urls(action), pieces(), strict=True):
        assert put(url, piece).status_code == 200
    assert complete(action["href"], LISTED).status_code == 200
    assert Upload.objects.get().blob_id == oid(DATA)
    assert not storage_files(Path(settings.WORK_DIR)), "no part is left"
    assert complete(action["href"], LISTED).status_code == 200, "a retry after an answer that was lost"


BAD_LISTS = {
    "none": [],
    "no list": "x",
    "one missing": LISTED[:2],
    "out of order": LISTED[::-1],
    "one twice": [*LISTED, LISTED[0]],
    "one too many": [*LISTED, {"partNumber": 4, "etag": "x"}],
    "numbers as texts": [{"partNumber": str(n)} for n in (1, 2, 3)],
    "no objects": [1, 2, 3],
    "from zero": [{"partNumber": n} for n in (0, 1, 2)],
}


@pytest.mark.parametrize("listed", BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_lists_of_parts(asker: Client, settings: Settings, listed: Any):
    action = ask(asker)["actions"]["upload"]
    for url, piece in zip(part_urls(action), pieces(), strict=True):
        put(url, piece)
    assert said(complete(action["href"], listed)) == (400, "parts-invalid")
    assert nothing_stored(settings)


def test_a_part_that_never_came(asker: Client, settings: Settings):
    action = ask(asker)["actions"]["upload"]
    for number in (0, 2):
        put(part_urls(action)[number], pieces()[number])
    assert said(complete(action["href"], LISTED)) == (400, "parts-missing")
    assert nothing_stored(settings)


def test_parts_in_any_order_and_twice(asker: Client):
    action = ask(asker)["actions"]["upload"]
    for number in (2, 0, 1, 0, 2):
        assert put(part_urls(action)[number], pieces()[number]).status_code == 200
    assert complete(action["href"], LISTED).status_code == 200


def test_parts_of_other_bytes(asker: Client, settings: Settings):
    action = ask(asker)["actions"]["upload"]
    for url, piece in zip(part_urls(action), pieces(), strict=True):
        put(url, piece[::-1])
    assert said(complete(action["href"], LISTED)) == (400, "content-mismatch")
    assert nothing_stored(settings) and not storage_files(settings.WORK_DIR), "a client that leaves out what is there would never get through"


def test_parts_that_came_are_marked_for_their_sender_alone(asker: Client, stranger: User, upload: MakeUpload, settings: Settings):
    first = part_urls(ask(asker)["actions"]["upload"])
    put(first[1], pieces()[1])
    action = ask(asker)["actions"]["upload"]
    assert [urlsplit(url).fragment for url in part_urls(action)] == ["", "there", ""]
    upload(stranger, "theirs")
    assert [urlsplit(url).fragment for url in part_urls(ask(by_token(stranger), name="stranger/theirs")["actions"]["upload"])] == ["", "", ""]
    for number in (0, 2):
        put(part_urls(action)[number], pieces()[number])
    assert complete(action["href"], LISTED).status_code == 200
    assert Upload.objects.get().blob_id == oid(DATA)


def test_a_part_of_another_size_is_not_taken_for_one_that_came(asker: Client):
    put(part_urls(ask(asker, size=9_999)["actions"]["upload"])[2], pieces()[2][:-1])
    assert [urlsplit(url).fragment for url in part_urls(ask(asker)["actions"]["upload"])] == ["", "", ""]


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"x", lambda p: b""], ids=["short", "long", "empty"])
def test_parts_of_the_wrong_size(asker: Client, settings: Settings, change: Any):
    url = part_urls(ask(asker)["actions"]["upload"])[1]
    assert said(put(url, change(pieces()[1]))) == (400, "content-mismatch")
    assert not storage_files(settings.WORK_DIR)


class Interrupted(io.BytesIO):
    """A body during which something else happens before its end."""

    def __init__(self, data: bytes, meanwhile: Callable[[], Any]) -> None:
        super().__init__(data)
        self.meanwhile = meanwhile

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == len(self.getvalue()) // 2:
            self.meanwhile()
        return super().read(min(size or -1, len(self.getvalue()) // 2))


def put_while(href: str, data: bytes, meanwhile: Callable[[], Any]) -> HttpResponseBase:
    return put(href, b"x", **{"wsgi.input": Interrupted(data, meanwhile), "CONTENT_LENGTH": str(len(data))})


def test_a_part_still_being_sent_changes_nothing_that_was_put_together(asker: Client, settings: Settings):
    action = ask(asker)["actions"]["upload"]
    for url, piece in zip(part_urls(action), pieces(), strict=True):
        put(url, piece)
    codes = []
    late = put_while(part_urls(action)[1], pieces()[1][:2000] + b"?" * 2000, lambda: codes.append(complete(action["href"], LISTED).status_code))
    assert codes == [200] and said(late) == (409, "parts-missing")
    assert storage.local_path(oid(DATA)).read_bytes() == DATA and not storage_files(settings.WORK_DIR)


def test_a_part_that_breaks_off_takes_no_other_with_it(asker: Client, settings: Settings):
    action = ask(asker)["actions"]["upload"]
    urls = part_urls(action)
    cut = {"wsgi.input": io.BytesIO(b"0" * 50), "CONTENT_LENGTH": "4000"}
    assert put_while(urls[0], pieces()[0], lambda: put(urls[1], b"x", **cut)).status_code == 200
    for number in (1, 2):
        assert put_while(urls[number], pieces()[number], lambda: put(urls[0], pieces()[0])).status_code == 200, "two at once"
    assert complete(action["href"], LISTED).status_code == 200
    assert storage.local_path(oid(DATA)).read_bytes() == DATA


def test_put_together_twice_at_once(asker: Client, monkeypatch: pytest.MonkeyPatch):
    action = ask(asker)["actions"]["upload"]
    for url, piece in zip(part_urls(action), pieces(), strict=True):
        put(url, piece)
    take, codes = uploads.take, []

    def slow(**given: Any) -> Blob:
        blob = take(**given)
        if not codes:
            codes.append(0)
            codes[0] = complete(action["href"], LISTED).status_code
        return blob

    monkeypatch.setattr(uploads, "take", slow)
    assert complete(action["href"], LISTED).status_code == 200 and codes == [200]


@pytest.mark.parametrize("number", ["0", "4", "99999", "-1", "x", "1/../2"])
def test_parts_that_do_not_exist(asker: Client, settings: Settings, number: str):
    url = part_urls(ask(asker)["actions"]["upload"])[0]
    response = put(f"{url.rpartition('/')[0]}/{number}", pieces()[0])
    assert response.status_code in (403, 404)
    assert not storage_files(settings.WORK_DIR)


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: d[::-1], lambda d: b""], ids=["short", "long", "other", "empty"])
def test_whole_files_that_are_not_it(asker: Client, settings: Settings, change: Any):
    href = ask(asker, transfers=("basic",))["actions"]["upload"]["href"]
    assert said(put(href, change(DATA))) == (400, "content-mismatch")
    assert nothing_stored(settings) and not storage_files(settings.WORK_DIR)


def test_a_body_shorter_than_announced(asker: Client, settings: Settings):
    href = ask(asker, transfers=("basic",))["actions"]["upload"]["href"]
    cut = {"wsgi.input": io.BytesIO(DATA[:5000]), "CONTENT_LENGTH": str(len(DATA))}
    assert said(put(href, b"x", **cut)) == (400, "upload-incomplete")
    url = part_urls(ask(asker)["actions"]["upload"])[0]
    cut = {"wsgi.input": io.BytesIO(DATA[:50]), "CONTENT_LENGTH": "4000"}
    assert said(put(url, b"x", **cut)) == (400, "upload-incomplete")
    assert nothing_stored(settings) and not storage_files(settings.WORK_DIR)


def test_links_for_another_object(asker: Client, settings: Settings):
    other = b"another object" * 700
    action, wrong = ask(asker)["actions"]["upload"], ask(asker, other)["actions"]["upload"]
    for url, piece in zip(part_urls(action), pieces(), strict=True):
        put(url, piece)
    assert said(complete(wrong["href"], LISTED, oid(other))) == (400, "parts-missing")
    assert said(complete(wrong["href"], LISTED, oid(DATA))) == (400, "parts-invalid")
    assert said(put(wrong["href"].replace("/complete/", "/file/"), other)) == (403, "link-invalid"), "a link for parts takes no whole file"
    assert nothing_stored(settings)


FORGED = {
    "nothing": "x",
    "unsigned": "eyJ1c2VyIjoxfQ",
    "signed for something else": signing.dumps({"user": 1, "oid": oid(DATA), "size": len(DATA)}, salt="hub.hf.xet"),
    "of another shape": signing.dumps({"user": 1}, salt=lfs.SALT),
    "of a list": signing.dumps([1, 2], salt=lfs.SALT),
    "of nobody": signing.dumps({"user": 10**9, "oid": oid(DATA), "size": len(DATA)}, salt=lfs.SALT),
}


@pytest.mark.parametrize("link", FORGED.values(), ids=FORGED.keys())
def test_forged_links(asker: Client, settings: Settings, link: str):
    for address in (f"/lfs/file/{link}", f"/lfs/part/{link}/1"):
        assert said(put(address, DATA)) == (403, "link-invalid")
    assert said(complete(f"/lfs/complete/{link}", LISTED)) == (403, "link-invalid")
    assert nothing_stored(settings) and not storage_files(settings.WORK_DIR)


def test_a_link_that_was_changed(asker: Client, settings: Settings):
    href = ask(asker, transfers=("basic",))["actions"]["upload"]["href"]
    for place in (10, -5):
        path = urlsplit(href).path
        changed = path[:place] + ("A" if path[place] != "A" else "B") + path[place + 1 :]
        assert put(changed, DATA).status_code in (403, 404, 501)
    assert nothing_stored(settings)


def test_a_link_that_expired(asker: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    href = ask(asker, transfers=("basic",))["actions"]["upload"]["href"]
    monkeypatch.setattr(lfs, "LINK_SECONDS", -1)
    assert said(put(href, DATA)) == (403, "link-invalid")
    assert nothing_stored(settings)


def test_a_link_of_an_account_that_was_closed(asker: Client, owner: User, settings: Settings):
    href = ask(asker, transfers=("basic",))["actions"]["upload"]["href"]
    owner.is_active = False
    owner.save()
    assert said(put(href, DATA)) == (403, "link-invalid")
    assert nothing_stored(settings)


def test_a_link_gives_its_bytes_to_whom_it_was_given(asker: Client, owner: User, stranger: User):
    assert put(ask(asker, transfers=("basic",))["actions"]["upload"]["href"], DATA).status_code == 200
    assert uploads.owned(user=owner, sha256=oid(DATA)) is not None
    assert uploads.owned(user=stranger, sha256=oid(DATA)) is None


OBJECTS = [
    {"oid": "x", "size": 1},
    {"oid": "0" * 64},
    {"oid": "0" * 64, "size": -1},
    {"oid": "0" * 64, "size": "1"},
    {"oid": "0" * 64, "size": True},
    {"oid": "G" * 64, "size": 1},
    5,
]


@pytest.mark.parametrize("entry", OBJECTS, ids=str)
def test_objects_of_wrong_shape(asker: Client, entry: Any):
    answer = asker.post("/owner/sums.git/info/lfs/objects/batch", {"operation": "upload", "objects": [entry]}, "application/json")
    assert said(answer) == (400, "body-invalid")


def test_an_object_that_is_too_large(asker: Client, settings: Settings):
    found = ask(asker, size=settings.MAX_WEIGHTS_BYTES + 1)
    assert found["error"]["code"] == 413 and "actions" not in found


def test_too_many_objects(asker: Client):
    body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}] * 201}
    assert said(asker.post("/owner/sums.git/info/lfs/objects/batch", body, "application/json")) == (400, "body-invalid")
    assert said(asker.post("/owner/sums.git/info/lfs/objects/batch", {"operation": "download", "objects": []}, "application/json")) == (501, "NotImplemented")


def test_a_size_that_lies(asker: Client, settings: Settings):
    for size in (0, 1, len(DATA) - 1, len(DATA) + 1):
        href = ask(asker, size=size, transfers=("basic",))["actions"]["upload"]["href"]
        assert said(put(href, DATA[:size].ljust(size, b"x"))) == (400, "content-mismatch")
    assert nothing_stored(settings)


def test_parts_that_are_never_put_together_are_removed(asker: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    put(part_urls(ask(asker)["actions"]["upload"])[0], pieces()[0])
    assert storage_files(settings.WORK_DIR)
    monkeypatch.setattr(lfs, "LINK_SECONDS", -1)
    lfs.sweep()
    assert not storage_files(settings.WORK_DIR)


def test_nobody_fills_the_disk_with_parts(asker: Client, settings: Settings):
    settings.MAX_WEIGHTS_BYTES = 10_000
    settings.LFS_PART_BYTES = 9_000
    codes = []
    for number in range(25):
        data = bytes([number]) * 10_000
        codes.append(put(part_urls(ask(asker, data)["actions"]["upload"])[0], data[:9_000]).status_code)
    assert codes[0] == 200 and codes[-1] == 429
    assert sum(path.stat().st_size for path in storage_files(settings.WORK_DIR)) <= 17 * 10_000


def test_uploads_are_forgotten(asker: Client, owner: User):
    put(ask(asker, transfers=("basic",))["actions"]["upload"]["href"], DATA)
    assert uploads.forget_old(hours=24) == 0
    Upload.objects.update(created_at=timezone.now() - timezone.timedelta(hours=25))
    assert uploads.forget_old(hours=24) == 1
    assert uploads.owned(user=owner, sha256=oid(DATA)) is None
