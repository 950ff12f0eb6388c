"""What every address of the door shares: who asks, errors in headers, limits, and what is not offered."""

import json
import re
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import resolve
from huggingface_hub.utils._http import parse_ratelimit_headers
from pytest_django.fixtures import Settings

from hub.hf import models
from hub.models import Adapter, User
from hub.services import accounts, search
from tests.conftest import Upload
from tests.hf.conformance import conforms

HUB = "huggingface_hub 2.4"
WEIGHTS = "adapter_model.safetensors"


def client(user: User | None, scope: str = "write", **more: Any) -> Client:
    """Send a token with every request."""
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='t', scope=scope)[1]}"} if user else {}, **more)


def said(response: HttpResponseBase) -> tuple[int, str]:
    """The status and the code that clients read; every error has a sentence and an id."""
    assert response.headers["X-Error-Message"] and response.json()["error"]
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])
    return response.status_code, response.headers["X-Error-Code"]


READS = [
    ("get", "/api/models/{id}"),
    ("get", "/api/models/{id}/revision/main"),
    ("get", "/api/models/{id}/tree/main"),
    ("get", "/api/models/{id}/refs"),
    ("get", "/api/models/{id}/commits/main"),
    ("post", "/api/models/{id}/paths-info/main"),
    ("get", "/api/models/{id}/auth-check"),
    ("get", "/api/models/{id}/discussions"),
    ("get", "/api/models/{id}/xet-write-token/main"),
    ("get", "/{id}/resolve/main/README.md"),
    ("head", "/{id}/resolve/main/README.md"),
    ("get", "/{id}/raw/main/README.md"),
    ("put", "/api/models/{id}/settings"),
    ("post", "/api/models/{id}/preupload/main"),
    ("post", "/api/models/{id}/commit/main"),
    ("post", "/api/models/{id}/branch/dev"),
    ("delete", "/api/models/{id}/tag/v1"),
    ("post", "/{id}.git/info/lfs/objects/batch"),
    ("post", "/{id}.git/info/lfs/verify"),
    ("post", "/{id}/ask-access"),
    ("get", "/api/models/{id}/user-access-request/pending"),
    ("post", "/api/models/{id}/user-access-request/grant"),
]


@pytest.mark.parametrize("method, address", READS)
def test_what_is_private_is_the_same_as_missing(owner: User, stranger: User, upload: Upload, method: str, address: str):
    upload(owner, "diary", private=True)
    for asker in (client(stranger), client(stranger, "read"), client(None)):
        hidden, missing = (getattr(asker, method)(address.replace("{id}", repo), content_type="application/json") for repo in ("owner/diary", "owner/other"))
        assert (hidden.status_code, hidden.content) == (missing.status_code, missing.content)
        assert {k: v for k, v in hidden.headers.items() if k != "X-Request-Id"} == {k: v for k, v in missing.headers.items() if k != "X-Request-Id"}
        assert hidden.status_code in (401, 403, 404)


def test_codes_of_what_is_missing(owner: User, upload: Upload):
    upload(owner, "sums")
    mine, nobody = client(owner), Client()
    assert said(mine.get("/api/models/owner/none")) == (404, "RepoNotFound")
    assert said(nobody.get("/api/models/owner/none")) == (401, "RepoNotFound")
    assert said(mine.get("/api/models/owner/sums/revision/v9")) == (404, "RevisionNotFound")
    assert said(mine.get("/owner/sums/resolve/v9/README.md")) == (404, "RevisionNotFound")
    missing = mine.get("/owner/sums/resolve/main/nope.bin")
    assert said(missing) == (404, "EntryNotFound") and missing.headers["X-Repo-Commit"] == Adapter.objects.get().head.sha
    assert said(mine.get("/api/models/owner/sums/tree/main/nowhere")) == (404, "EntryNotFound")
    assert said(mine.get("/gpt2/resolve/main/config.json")) == (404, "RepoNotFound")
    assert said(mine.get("/api/models/gpt2")) == (404, "RepoNotFound")
    assert said(mine.get("/api/datasets/acme/sums")) == (404, "RepoNotFound")
    assert said(mine.get("/datasets/acme/sums/resolve/main/a.csv")) == (404, "RepoNotFound")


def test_a_bad_token_is_told_as_such(owner: User, upload: Upload):
    upload(owner, "sums")
    for header in ("Bearer nonsense", "Bearer ", "Bearer a b", "Bearer \xff"):
        response = Client(headers={"Authorization": header}).get("/api/models/owner/sums")
        assert said(response) == (401, "token-invalid")
        assert response.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert Client(headers={"Authorization": "Basic b3duZXI6eA=="}).get("/api/models/owner/sums").status_code == 200


def test_a_closed_account_has_no_token(owner: User, upload: Upload):
    upload(owner, "sums")
    mine = client(owner)
    owner.is_active = False
    owner.save()
    assert said(mine.get("/api/whoami-v2")) == (401, "token-invalid")


CHANGES = [
    ("post", "/api/repos/create", {"name": "new"}),
    ("delete", "/api/repos/delete", {"name": "sums", "organization": "owner"}),
    ("post", "/api/repos/move", {"fromRepo": "owner/sums", "toRepo": "owner/other"}),
    ("put", "/api/models/owner/sums/settings", {"visibility": "private"}),
    ("post", "/api/models/owner/sums/preupload/main", {"files": []}),
    ("post", "/api/models/owner/sums/commit/main", {"key": "deletedFile", "value": {"path": "adapter_config.json"}}),
    ("post", "/api/models/owner/sums/branch/dev", {}),
    ("delete", "/api/models/owner/sums/branch/dev", {}),
    ("post", "/api/models/owner/sums/tag/main", {"tag": "v1"}),
    ("delete", "/api/models/owner/sums/tag/v1", {}),
    ("post", "/owner/sums.git/info/lfs/objects/batch", {"operation": "upload", "objects": []}),
    ("post", "/owner/sums.git/info/lfs/verify", {"oid": "0" * 64, "size": 1}),
    ("get", "/api/models/owner/sums/xet-write-token/main", {}),
    ("post", "/api/models/owner/sums/user-access-request/handle", {"user": "stranger", "status": "accepted"}),
    ("post", "/api/models/owner/sums/user-access-request/grant", {"user": "stranger"}),
]


@pytest.mark.parametrize("method, address, body", CHANGES)
def test_who_may_change(owner: User, stranger: User, upload: Upload, method: str, address: str, body: Any):
    upload(owner, "sums")
    before = (Adapter.objects.count(), Adapter.objects.get().head_id)

    def send(asker: Client) -> HttpResponseBase:
        return asker.generic(method.upper(), address, json.dumps(body), "application/json")

    assert said(send(client(owner, "read"))) == (403, "scope-too-narrow")
    assert said(send(Client()))[0] == 401
    browser = Client()
    browser.force_login(owner)
    assert said(send(browser)) == (403, "csrf-failed")
    if address != "/api/repos/create":
        assert said(send(client(stranger))) == (403, "forbidden")
    assert (Adapter.objects.count(), Adapter.objects.get().head_id) == before


NOT_OFFERED = {
    "create_discussion, create_pull_request": ("post", "/api/models/owner/sums/discussions"),
    "get_repo_discussions": ("get", "/api/models/owner/sums/discussions?p=0"),
    "super_squash_history": ("post", "/api/models/owner/sums/super-squash/main"),
    "duplicate_repo": ("post", "/api/models/owner/sums/duplicate"),
    "list_lfs_files": ("get", "/api/models/owner/sums/lfs-files"),
    "create_repo(repo_type='dataset')": ("post", "/api/repos/create"),
    "create_commit(create_pr=True)": ("post", "/api/models/owner/sums/commit/main?create_pr=1"),
    "list_datasets": ("get", "/api/datasets"),
    "list_user_followers": ("get", "/api/users/owner/followers"),
    "git clone": ("get", "/owner/sums/info/refs?service=git-upload-pack"),
    "git clone of an address with .git": ("get", "/owner/sums.git/info/refs?service=git-upload-pack"),
}
BODIES = {"create_repo(repo_type='dataset')": {"name": "x", "type": "dataset"}}


@conforms(HUB, "create_discussion, get_repo_discussions, create_pull_request, create_commit(create_pr=True)", "501")
@conforms(HUB, "super_squash_history", "501", "a composition names the revisions that it was made from, so every commit stays")
@conforms(HUB, "duplicate_repo, list_lfs_files, get_sharded_safetensors_metadata, get_model_tags, followers", "501")
@conforms(HUB, "every call with repo_type dataset, space, kernel", "501", "reading says RepositoryNotFoundError")
@pytest.mark.parametrize("call", NOT_OFFERED)
def test_what_is_not_offered_says_so(owner: User, upload: Upload, call: str, caplog: pytest.LogCaptureFixture):
    upload(owner, "sums")
    method, address = NOT_OFFERED[call]
    response = client(owner).generic(method.upper(), address, json.dumps(BODIES.get(call, {})), "application/json")
    assert said(response) == (501, "NotImplemented")
    assert response.json()["error"].startswith(("Medley ", "An adapter "))
    assert not caplog.records, "nothing is wrong on our side"


@pytest.mark.parametrize(
    "address, status", [(f"/owner/sums/resolve/main/{WEIGHTS}", 200), ("/owner/sums/resolve/main/none.json", 404), ("/api/models/owner/sums", 200)]
)
def test_a_head_is_answered_without_a_body(owner: User, upload: Upload, address: str, status: int):
    """Seen from the view: the test client would take the body away."""
    upload(owner, "sums")
    view = resolve(address)
    asked, answered = (view.func(RequestFactory().generic(method, address), **view.kwargs) for method in ("GET", "HEAD"))
    assert answered.status_code == asked.status_code == status
    assert answered.content == b"" and int(answered.headers["Content-Length"]) == len(asked.getvalue()) > 0


def test_what_a_trainer_writes_for_itself_is_left_out(owner: User, upload: Upload):
    upload(owner, "sums")

    def preupload(*paths: str) -> Any:
        body = {"files": [{"path": path, "size": 9, "sample": ""} for path in paths]}
        return client(owner).post("/api/models/owner/sums/preupload/main", body, "application/json")

    behind = ["training_args.bin", "last-checkpoint/optimizer.pt", "last-checkpoint/rng_state_0.pth", "runs/x/events.out.tfevents.1.host"]
    modes = {file["path"]: file["shouldIgnore"] for file in preupload("notes.txt", *behind).json()["files"]}
    assert modes == {"notes.txt": False, **dict.fromkeys(behind, True)}
    for paths in (["training_args.bin"], ["notes.txt", "my_training_args.bin"], ["notes.txt", "training_args.bin/x.pt"], ["notes.txt", "../optimizer.pt"]):
        assert preupload(*paths).status_code == 400, paths


@pytest.mark.parametrize(
    "more", [{"files": "x"}, {"files": [1]}, {"files": [{"path": "../a.txt", "content": ""}]}, {"license": "mit\ntags: [x]"}, {"license": 1}]
)
def test_a_repository_with_bad_first_files_is_not_created(owner: User, more: dict[str, Any]):
    assert said(client(owner).post("/api/repos/create", {"name": "new", **more}, "application/json"))[0] == 400
    assert not Adapter.objects.exists()


def test_the_rest_api_is_untouched(owner: User):
    response = client(owner).get("/api/v1/nothing")
    assert response.status_code == 404 and response.json()["error"]["code"] == "no-such-address"


def test_wrong_methods(owner: User, upload: Upload):
    upload(owner, "sums")
    assert said(client(owner).post("/api/models")) == (405, "method-not-allowed")
    assert said(client(owner).delete("/owner/sums/resolve/main/README.md")) == (405, "method-not-allowed")


@conforms(HUB, "429 with the RateLimit headers that the client reads")
def test_limits(owner: User, settings: Settings):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"anon": "2/min", "user": "4/min"}}
    mine = client(owner)
    assert [mine.get("/api/whoami-v2").status_code for _ in range(5)] == [200] * 4 + [429]
    refused = mine.get("/api/whoami-v2")
    assert said(refused) == (429, "too-many-requests")
    info = parse_ratelimit_headers(refused.headers)
    assert info.remaining == 0 and 0 < info.reset_in_seconds <= 61 and info.limit == 4 and info.window_seconds == 60
    assert refused.headers["Retry-After"] == str(info.reset_in_seconds)
    assert [Client().get("/api/models").status_code for _ in range(3)] == [200, 200, 429]
    assert Client(headers={"Authorization": "Bearer wrong"}).get("/api/models").status_code == 429


def test_a_fault_of_ours_is_told_without_its_traceback(owner: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def broken(**arguments: Any) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(search, "adapters", broken)
    asker = client(owner, raise_request_exception=False)
    response = asker.get("/api/models")
    assert said(response) == (500, "internal") and b"secret" not in response.content
    assert "the secret of the house" in caplog.text


def test_a_blob_that_is_gone_is_never_a_missing_file(owner: User, upload: Upload, own_store: Any):
    upload(owner, "sums")
    for path in own_store.rglob("*"):
        if path.is_file():
            path.unlink()
    assert said(client(owner).get(f"/owner/sums/resolve/main/{WEIGHTS}")) == (503, "storage-unavailable")


@pytest.mark.parametrize("host", ["evil.example", "localhost:99999x", "a b", "127.0.0.1.evil.example"])
def test_a_forged_host_is_refused(owner: User, upload: Upload, host: str, settings: Settings):
    settings.ALLOWED_HOSTS = ["testserver"]
    upload(owner, "sums")
    asker = client(owner)
    for method, address in (("post", "/api/repos/create"), ("post", "/owner/sums.git/info/lfs/objects/batch"), ("get", "/api/models?limit=1")):
        response = getattr(asker, method)(address, HTTP_HOST=host)
        assert said(response) == (400, "bad-request") and host.encode() not in response.content
    assert "X-Error-Code" not in asker.get("/adapters", HTTP_HOST=host).headers


def test_addresses_that_clients_print_lead_to_pages(owner: User, upload: Upload):
    adapter = upload(owner, "sums", card="# Sums\n")
    for address, target in {
        f"/owner/sums/commit/{adapter.head.sha}": f"/owner/sums?revision={adapter.head.sha}",
        "/owner/sums/tree/main": "/owner/sums",
        "/owner/sums/tree/main/": "/owner/sums",
        f"/owner/sums/tree/{adapter.head.sha}/docs/deep": f"/owner/sums?revision={adapter.head.sha}",
        "/owner/sums/blob/main/README.md": "/owner/sums/files/README.md",
        f"/owner/sums/blob/{adapter.head.sha}/README.md": f"/owner/sums/files/README.md?revision={adapter.head.sha}",
    }.items():
        assert Client().get(address).headers["Location"] == target
        assert Client().get(target).status_code == 200
    assert Client().get("/%5cevil.example/x/tree/main").headers["Location"] == "/%5Cevil.example/x"


@pytest.mark.parametrize("sent", [{}, {"paths": "README.md"}, {"paths": [1]}, ["README.md"]], ids=["nothing", "a text", "a number", "a list"])
def test_paths_asked_for_as_json(owner: User, upload: Upload, sent: Any):
    upload(owner, "sums", card="# Sums\n")
    address = "/api/models/owner/sums/paths-info/main"
    asked = Client().post(address, {"paths": ["README.md", "none"], "expand": True}, "application/json").json()
    assert [(entry["path"], entry["lastCommit"]["title"]) for entry in asked] == [("README.md", "Upload 3 files")]
    assert said(Client().post(address, sent, "application/json")) == (400, "body-invalid")


def test_a_browser_that_is_logged_in_reads_what_is_private(owner: User, upload: Upload):
    upload(owner, "diary", private=True)
    browser = Client()
    browser.force_login(owner)
    assert browser.get(f"/owner/diary/resolve/main/{WEIGHTS}").status_code == 200
    assert browser.get("/api/whoami-v2").json()["auth"] == {"type": "session"}


PAGES = ["/adapters", "/upload", "/compose", "/owner", "/owner/sums", "/owner/sums/revisions", "/docs/composition", "/robots.txt", "/api/v1/docs"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_not_shadowed(owner: User, upload: Upload, path: str):
    upload(owner, "sums")
    response = Client().get(path)
    assert not hasattr(response.resolver_match.func, "hub_door"), "another door answered"
    assert response.status_code in (200, 302, 401)


def test_every_sort_is_one_of_the_verb() -> None:
    assert set(models.SORTS.values()) <= set(search.SORTS)
