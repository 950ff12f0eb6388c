"""Addresses and headers with tricks: no way of writing a path leads to another file than the one it names, and no header of a client is believed."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest
from django.conf import settings as site
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, User
from tests.attacks import hidden
from tests.conftest import Upload, commit

pytestmark = pytest.mark.django_db
SECRET = b"hushbytes"

# Ways to write "one folder up", each as it stands in the request line.
UP = ["..", "%2e%2e", ".%2E", "%252e%252e", "%c0%ae%c0%ae", "%ef%bc%8e%ef%bc%8e", "..%00", "..;"]
SLASHES = ["/", "%2f", "%5c", "%252f", "//"]


@pytest.fixture
def secret(owner: User, sums: Adapter) -> Adapter:
    """A private adapter beside the public one."""
    return hidden.adapter(owner, "hush-plan")


def read(address: str, **headers: str) -> tuple[HttpResponseBase, bytes]:
    """Ask as the address stands: what the test client would tidy goes as it is."""
    path, _, query = address.partition("?")
    answer = Client(headers=headers).generic("GET", "/", QUERY_STRING=query, PATH_INFO=unquote_to_bytes(path).decode("latin-1"))
    return answer, b"".join(answer.streaming_content) if answer.streaming else answer.content


def paths() -> Iterator[str]:
    """Ways from a file of the public adapter to one of the private adapter, to the store, and out of the site's folder."""
    for up in UP:
        for slash in SLASHES:
            yield f"{up}{slash}{up}{slash}hush-plan{slash}files{slash}hush-notes.txt"
            yield slash.join([up] * 9) + f"{slash}etc{slash}passwd"
            yield slash.join([up] * 4) + f"{slash}secret_key"


def test_no_path_leads_to_another_file(secret: Adapter, settings: Settings) -> None:
    key = site.SECRET_KEY.encode()
    asked = 0
    for start in ("/owner/sums/files/", "/owner/sums/resolve/main/", "/api/v1/adapters/owner/sums/files/", "/static/"):
        for path in paths():
            answer, body = read(start + path)
            assert answer.status_code in (301, 302, 400, 401, 403, 404), (start + path, answer.status_code)
            assert SECRET not in body and b"root:" not in body and key not in body and "hush-notes" not in str(answer.headers.get("ETag", ""))
            asked += 1
    assert asked > 400


def test_names_that_look_alike_are_not_the_same(owner: User, sums: Adapter) -> None:
    """A path is its bytes: another spelling of it is another file, or none."""
    composed, apart = unicodedata.normalize("NFC", "café.txt"), unicodedata.normalize("NFD", "café.txt")
    commit(sums, {composed: b"composed"})
    for path, there in ((composed, True), (apart, False), (composed.upper(), False), (f"{composed}.", False), (f"{composed} ", False), (f"{composed}/", False)):
        for start in ("/owner/sums/files/", "/owner/sums/resolve/main/", "/api/v1/adapters/owner/sums/files/"):
            assert (read(start + quote(path))[0].status_code == 200) == there, path


def test_nothing_of_an_address_becomes_a_header(sums: Adapter, owner: User) -> None:
    """Line ends in paths, queries, names of files and revisions."""
    for evil in (
        "x%0d%0aSet-Cookie:evil=1",
        "x%0aSet-Cookie:evil=1",
        "x%e5%98%8a%e5%98%8dSet-Cookie:evil=1",
        "%0d%0a%0d%0a<script>",
        "x%c4%8d%c4%8aSet-Cookie:evil=1",
    ):
        for address in (
            f"/{evil}",
            f"/owner/sums/files/{evil}",
            f"/owner/sums/files/README.md?revision={evil}",
            f"/owner/sums/resolve/{evil}/README.md",
            f"/owner/sums/commit/{evil}",
            f"/owner/sums/tree/main/{evil}",
            f"/owner/sums/blob/main/{evil}",
            f"/accounts/login/?next=/{evil}",
            f"/api/v1/adapters?cursor={evil}&q={evil}",
            f"/api/models?search={evil}&limit=1",
            f"/api/models/owner/{evil}",
        ):
            answer, _ = read(address)
            assert answer.status_code < 500 and not answer.cookies.get("evil"), address
            for name, value in answer.headers.items():
                assert not set("\r\n\0") & set(name + value) and value.isascii(), (address, name, value)


def test_forged_hosts(sums: Adapter) -> None:
    for host in (
        "evil.example",
        "testserver.evil.example",
        "testserver@evil.example",
        "testserver:80@evil.example",
        "testserver:x",
        "testserver/evil",
        "evil#testserver",
    ):
        for address in ("/", "/owner/sums", "/api/v1/adapters", "/api/models", "/accounts/login/", "/owner/sums/resolve/main/README.md"):
            answer, body = read(address, Host=host)
            assert answer.status_code == 400 and b"evil" not in body and "evil" not in str(answer.headers), (host, address)
    answer, _ = read("/healthz/live", Host="evil.example")
    assert answer.status_code == 200, "a load balancer knows no name"


FORWARDED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Script-Name": "/evil",
    "X-Original-URL": "/owner/hush-plan",
    "X-Rewrite-URL": "/owner/hush-plan",
    "X-HTTP-Method-Override": "DELETE",
    "X-Method-Override": "DELETE",
    "Forwarded": "for=127.0.0.1;host=evil.example;proto=https",
    "X-Real-IP": "127.0.0.1",
    "X-Accel-Redirect": "/_blobs/x",
    "X-Sendfile": "/etc/passwd",
    "Remote-User": "owner",
    "X-Remote-User": "owner",
    "X-Forwarded-User": "owner",
}


def test_what_a_proxy_would_say_is_not_believed_of_a_client(secret: Adapter, owner: User) -> None:
    for address in ("/", "/owner/sums", "/api/v1/adapters", "/api/models?limit=1", "/api/v1/me", "/owner/hush-plan", "/settings/tokens"):
        plain, plain_body = read(address)
        answer, body = read(address, **FORWARDED)
        assert answer.status_code == plain.status_code and b"evil" not in body and SECRET not in body
        assert answer.headers.get("Location") == plain.headers.get("Location") and "X-Accel-Redirect" not in answer.headers
        if answer["Content-Type"] == "application/json":
            assert body == plain_body
    program = hidden.clients(owner)[1]
    for name in ("X-HTTP-Method-Override", "X-Method-Override"):
        assert program.post("/api/v1/adapters/owner/sums", headers={name: "DELETE"}).status_code == 405
    assert program.post("/api/v1/adapters/owner/sums?_method=DELETE", {"_method": "DELETE"}).status_code == 405
    assert Adapter.objects.filter(name="sums").exists()


def test_a_claimed_address_does_not_get_round_a_limit(sums: Adapter, settings: Settings) -> None:
    """Without a proxy that the operator named, X-Forwarded-For counts for nothing."""
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"anon": "5/min", "user": "5/min"}}
    codes = [read("/api/models?limit=1", **{"X-Forwarded-For": f"203.0.113.{n}"})[0].status_code for n in range(8)]
    assert codes == [200] * 5 + [429] * 3


def test_a_long_address_is_an_address(sums: Adapter) -> None:
    for start in (
        "/",
        "/owner/",
        "/owner/sums/files/",
        "/owner/sums/resolve/",
        "/api/v1/",
        "/api/v1/adapters/owner/",
        "/api/models/",
        "/api/models/owner/sums/tree/main/",
    ):
        for path in ("a" * 8000, "a/" * 3000, "%00" * 500, "💥" * 1000, "?" + "a=1&" * 1500, "?q=" + "(" * 5000):
            status = read(start + path)[0].status_code
            assert status < 500 or status == 501, start


def test_the_hash_of_private_bytes_tells_nothing(secret: Adapter, friend: User, upload: Upload, settings: Settings) -> None:
    """Whoever asks by hash, by ETag or by a part of a file gets the answer for bytes that nobody has."""
    upload(friend, "mine", seed=7)
    blob = secret.head.files.select_related("blob").get(path="adapter_model.safetensors")
    program = hidden.clients(friend)[1]
    for sha256, size in ((blob.blob_id, blob.blob.size), (blob.blob_id, 1), ("a" * 64, blob.blob.size)):
        asked = {"operation": "upload", "objects": [{"oid": sha256, "size": size}]}
        [one] = program.post("/friend/mine.git/info/lfs/objects/batch", asked, "application/json").json()["objects"]
        assert set(one) == {"oid", "size", "authenticated", "actions"} and set(one["actions"]) == {"upload", "verify"}
        assert program.post("/friend/mine.git/info/lfs/verify", {"oid": sha256, "size": size}, "application/json").status_code == 404
        value = {"path": "x.safetensors", "algo": "sha256", "oid": sha256, "size": size}
        body = "\n".join(map(json.dumps, ({"key": "header", "value": {"summary": "x"}}, {"key": "lfsFile", "value": value})))
        answer = program.post("/api/models/friend/mine/commit/main", body, "application/x-ndjson")
        assert answer.status_code == 400 and answer.json()["code"] == "object-missing"
        for headers in (
            {"If-None-Match": f'"{sha256}"'},
            {"If-Match": f'"{sha256}"'},
            {"Range": "bytes=0-0"},
            {"If-Range": f'"{sha256}"', "Range": "bytes=0-0"},
        ):
            for address in ("/owner/hush-plan/resolve/main/adapter_model.safetensors", "/api/v1/adapters/owner/hush-plan/files/adapter_model.safetensors"):
                found, missing = (program.get(path, headers=headers) for path in (address, address.replace("hush", "null")))
                assert found.status_code == missing.status_code == 404 and "ETag" not in found.headers
    assert not (Path(settings.BLOBS_DIR) / "a").exists()
