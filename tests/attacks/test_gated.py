"""Every way around the gate of an adapter: its bytes by another address, by their hash, by their chunks, or mixed into something else."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from hub.errors import HubError
from hub.models import Adapter, Upload, User
from hub.services import accounts, adapters, gates, recipes, uploads
from hub.services.trees import Known
from tests import make, raw_xet
from tests.conftest import PASSWORD
from tests.conftest import Upload as MakeUpload
from tests.hf.test_xet import Sender
from tests.raw_xet import Xorb, whole

WEIGHTS, CONFIG, CARD = "adapter_model.safetensors", "adapter_config.json", "README.md"
BIG = bytes(range(32, 127)) * 20_000


def by_token(user: User | None) -> Client:
    return Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='t', scope='write')[1]}"} if user else {})


def browser(user: User) -> Client:
    made = Client()
    assert made.login(username=user.username, password=PASSWORD)
    return made


@pytest.fixture
def gated(owner: User, upload: MakeUpload) -> Adapter:
    """A gated adapter of two revisions, with a branch and a tag."""
    adapter = upload(owner, "gated", files={**make.adapter(card="# Gated\n"), "docs/README.md": b"inner\n"})
    adapters.commit(actor=owner, adapter=adapter, files=[adapters.Incoming("notes.txt", io.BytesIO(b"a secret note\n"))])
    return adapters.update(actor=owner, adapter=adapter, gated="manual")


def addresses(adapter: Adapter) -> tuple[list[str], list[str]]:
    """Every address under which a file of the adapter could be had: those that take tokens, and those of pages."""
    found, pages = [], [f"/{adapter.repo_id}/files/notes.txt"]
    shas = list(adapter.revisions.values_list("sha", flat=True))
    for rev in ("main", shas[0], shas[-1], shas[-1][:7]):
        for path in (WEIGHTS, CONFIG, "docs/README.md"):
            found += [f"/{adapter.repo_id}/{word}/{rev}/{path}" for word in ("resolve", "raw")]
            found += [f"/api/models/{adapter.repo_id}/resolve/{rev}/{path}"]
            found.append(f"/api/v1/adapters/{adapter.repo_id}/files/{path}?revision={rev}")
            pages.append(f"/{adapter.repo_id}/files/{path}?revision={rev}")
        pages.append(f"/{adapter.repo_id}/zip?revision={rev}")
    return found, pages


def asking(client: Client, address: str, secret: bytes, **headers: str) -> HttpResponseBase:
    for method in ("head", "get"):
        answer = getattr(client, method)(address, headers=headers)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert secret not in body
    return answer


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-99"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}], ids=["plain", "range", "known", "match"])
def test_no_address_gives_a_file(gated: Adapter, friend: User, stranger: User, headers: dict[str, str]) -> None:
    gates.ask(actor=friend, adapter=gated)
    secret = make.adapter()[WEIGHTS][100:200]
    calls, pages = addresses(gated)
    for client, status in ((by_token(friend), 403), (by_token(stranger), 403), (browser(stranger), 403), (Client(), 401)):
        for address in calls:
            answer = asking(client, address, secret, **headers)
            assert answer.status_code == status, address
            assert answer.headers.get("X-Error-Code", "GatedRepo") == "GatedRepo"
    for client, status in ((browser(friend), 403), (browser(stranger), 403), (Client(), 302)):
        for address in pages:
            assert asking(client, address, secret, **headers).status_code == status, address
    assert Adapter.objects.get(pk=gated.pk).downloads == 0


def test_who_is_let_in_and_the_owner_get_every_file(gated: Adapter, owner: User, friend: User) -> None:
    gates.grant(actor=owner, adapter=gated, username="friend")
    calls, pages = addresses(gated)
    for user in (friend, owner):
        for client, allowed in ((by_token(user), calls), (browser(user), pages)):
            for address in allowed:
                assert client.get(address).status_code == 200, address
    archive = browser(friend).get("/owner/gated/zip").getvalue()
    assert WEIGHTS in "".join(zipfile.ZipFile(io.BytesIO(archive)).namelist())


def test_the_card_and_the_facts_are_for_everyone(gated: Adapter, stranger: User) -> None:
    for client in (Client(), by_token(stranger)):
        assert client.get("/owner/gated/resolve/main/README.md").getvalue() == b"# Gated\n"
        info = client.get("/api/models/owner/gated?blobs=true").json()
        assert info["gated"] == "manual" and info["config"]["peft"]["base_model_name_or_path"] == make.BASE
        assert {f["path"] for f in client.get("/api/models/owner/gated/tree/main").json()} >= {WEIGHTS, CONFIG, CARD}
        assert client.get("/api/v1/adapters/owner/gated").json()["gated"] == "manual"
        assert "Gated" in client.get("/owner/gated").content.decode()


def oids(adapter: Adapter) -> dict[str, tuple[str, int]]:
    return {row.path: (row.blob_id, row.blob.size) for row in adapter.head.files.select_related("blob")}


def test_no_link_by_hash(gated: Adapter, friend: User) -> None:
    gates.ask(actor=friend, adapter=gated)
    mine = adapters.create(actor=friend, name="mine")
    client, (oid, size) = by_token(friend), oids(gated)[WEIGHTS]
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": size}]}
    offered = client.post("/friend/mine.git/info/lfs/objects/batch", batch, "application/json").json()["objects"][0]
    assert "actions" in offered, "an object that is said to be here already would be a copy for nothing"
    assert client.post("/friend/mine.git/info/lfs/verify", {"oid": oid, "size": size}, "application/json").status_code == 404
    for path, (sha256, length) in oids(gated).items():
        for value in ({"path": path, "algo": "sha256", "oid": sha256, "size": length}, {"path": path, "algo": "sha256", "oid": sha256}):
            lines = "\n".join(json.dumps(line) for line in ({"key": "header", "value": {"summary": "x"}}, {"key": "lfsFile", "value": value}))
            answer = client.post("/api/models/friend/mine/commit/main", lines, "application/x-ndjson")
            assert (answer.status_code, answer.headers["X-Error-Code"]) == (400, "object-missing"), path
    mine.refresh_from_db()
    assert mine.head is None and not Upload.objects.filter(user=friend).exists()
    gates.decide(actor=gated.owner, adapter=gated, request=gated.access_requests.get(), status="accepted")
    assert "actions" not in client.post("/friend/mine.git/info/lfs/objects/batch", batch, "application/json").json()["objects"][0]


def test_no_chunk_by_its_hash(owner: User, friend: User, stranger: User) -> None:
    adapters.create(actor=friend, name="mine")
    adapters.create(actor=stranger, name="theirs")
    adapter = adapters.create(actor=owner, name="gated")
    theirs, mine = Sender(owner, "owner/gated"), Sender(friend, "friend/mine")
    xorb = Xorb(raw_xet.cut(BIG))
    assert theirs.send(xorb).status_code == 200 and theirs.finish(whole(xorb)).status_code == 200
    adapters.commit(actor=owner, adapter=adapter, files=[Known("big.txt", hashlib.sha256(BIG).hexdigest())])
    first = xorb.chunks[0]
    assert Sender(stranger, "stranger/theirs").ask(first).status_code == 200, "open bytes need not be sent again"
    adapters.update(actor=owner, adapter=adapter, gated="auto")
    assert mine.ask(first).status_code == 404
    answer = mine.finish(whole(xorb))
    assert (answer.status_code, answer.json()["code"]) == (400, "xorb-missing")
    assert uploads.owned(user=friend, sha256=hashlib.sha256(BIG).hexdigest()) is None


def test_no_composition_of_it(gated: Adapter, friend: User) -> None:
    gates.ask(actor=friend, adapter=gated)
    examples: list[dict[str, Any]] = [{"input": f"{n}", "output": f"{n}"} for n in range(6)]
    order = {"base_model": make.BASE, "modules": ["owner/gated"], "examples": examples, "name": "copy", "private": True}
    answer = by_token(friend).post("/api/v1/compositions", order, "application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "module-gated")
    picker = browser(friend).get("/compose/modules", {"base_model": make.BASE, "find": "gated"}).content.decode()
    assert 'value="owner/gated"' not in picker


def test_nobody_opens_the_gate_of_another(gated: Adapter, friend: User) -> None:
    client, page = by_token(friend), browser(friend)
    row = gates.ask(actor=friend, adapter=gated)
    calls = {
        "/api/models/owner/gated/user-access-request/handle": {"user": "friend", "status": "accepted"},
        "/api/models/owner/gated/user-access-request/grant": {"user": "friend"},
    }
    for address, body in calls.items():
        assert client.post(address, body, "application/json").status_code == 403
    assert client.put("/api/models/owner/gated/settings", {"gated": False}, "application/json").status_code == 403
    assert client.patch("/api/v1/adapters/owner/gated", {"gated": ""}, "application/json").status_code == 403
    assert page.post("/owner/gated/settings/access", {"user": "friend", "status": "accepted"}).status_code == 403
    assert page.post("/owner/gated/settings", {"gated": ""}).status_code == 403
    row.refresh_from_db()
    gated.refresh_from_db()
    assert (row.status, gated.gated) == ("pending", "manual")


def test_no_rebuilding_from_a_recipe(gated: Adapter, friend: User, tmp_path: Path) -> None:
    """Whoever names a gated adapter as a parent in a recipe of their own gets none of its files."""
    gates.ask(actor=friend, adapter=gated)
    folder = tmp_path / "rebuilt"
    for ask in (
        lambda: recipes.parent(repo_id="owner/gated", sha=gated.head.sha, folder=folder, actor=friend),
        lambda: recipes.published(repo_id="owner/gated", ref="main", folder=folder, actor=friend),
    ):
        with pytest.raises(HubError):
            ask()
        assert not folder.exists()
    gates.decide(actor=gated.owner, adapter=gated, request=gated.access_requests.get(), status="accepted")
    recipes.parent(repo_id="owner/gated", sha=gated.head.sha, folder=folder, actor=friend)
    assert (folder / WEIGHTS).exists()
