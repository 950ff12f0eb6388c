"""The upload page: new adapters and new revisions, whole or not at all."""

import errno
import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from hub import storage
from hub.models import Adapter, Revision, User
from hub.services import adapters
from tests import make
from tests.conftest import Upload
from tests.web.conftest import page, text


def form(files: dict[str, bytes], **fields: object) -> dict[str, object]:
    """What the plain form sends: files by their names, and text."""
    return {"files": [SimpleUploadedFile(path, data) for path, data in files.items()], **fields}


def test_it_works(as_owner: Client) -> None:
    response = as_owner.post("/upload", form(make.adapter(card="# Sums\n\nAdds.\n"), name="sums", tags="Arithmetic, digits", message="Hello"))
    assert response["Location"] == "/owner/sums"
    adapter = Adapter.objects.get()
    assert (adapter.repo_id, adapter.private, adapter.composable, adapter.summary) == ("owner/sums", False, True, "Adds.")
    assert {tag.name for tag in adapter.tags.all()} == {"arithmetic", "digits"} and adapter.head.message == "Hello"


def test_a_private_one(as_owner: Client) -> None:
    assert as_owner.post("/upload", form(make.adapter(), name="sums", private="1")).status_code == 302
    assert Adapter.objects.get().private


@pytest.mark.parametrize(
    ("files", "fields", "words"),
    [
        ({}, {"name": "sums"}, "at least one file"),
        ({"adapter_model.bin": b"x"}, {"name": "sums"}, "pickle"),
        ({"adapter_config.json": b"{}"}, {"name": "sums"}, "adapter"),
        ({"x?.txt": b"x", "y.txt": b"y"}, {"name": "sums"}, "cannot be used"),
        (make.adapter(), {"name": ""}, "name has 1 to 96"),
        (make.adapter(), {"name": "a b"}, "name has 1 to 96"),
        (make.adapter(), {"name": "taken"}, "exists already"),
        (make.adapter(), {"name": "sums", "tags": "ok, <b>"}, "is not usable"),
        ({**make.adapter(), "adapter_model.safetensors": make.adapter()["adapter_model.safetensors"][:-9]}, {"name": "sums"}, "adapter_model.safetensors"),
    ],
)
def test_what_is_refused_leaves_nothing(as_owner: Client, owner: User, upload: Upload, files: dict[str, bytes], fields: dict[str, str], words: str) -> None:
    upload(owner, "taken", seed=8)
    given = {"tags": "kept-tag", "message": "kept message", **fields}
    html = page(as_owner.post("/upload", form(files, **given)), as_owner.post("/upload", form(files, **given)).status_code)
    assert words in text(as_owner.post("/upload", form(files, **given)))
    assert 'value="kept message"' in html and (f'value="{fields["name"]}"' in html or not fields["name"])
    assert [a.name for a in Adapter.objects.all()] == ["taken"] and Revision.objects.count() == 1


def test_a_new_revision_of_mine(as_owner: Client, sums: Adapter) -> None:
    html = page(as_owner.get("/upload?to=owner/sums"))
    assert sums.head.sha in html and 'name="name"' not in html and 'value="README.md"' in html
    given = form({"notes.txt": b"n"}, to="owner/sums", parent=sums.head.sha, deletions=["README.md"], message="Swap")
    assert as_owner.post("/upload?to=owner/sums", given)["Location"] == "/owner/sums"
    head = Adapter.objects.get().head
    assert {row.path for row in head.files.all()} == {"adapter_config.json", "adapter_model.safetensors", "notes.txt"} and head.message == "Swap"


def test_an_empty_adapter_is_filled(as_owner: Client, owner: User) -> None:
    adapters.create(actor=owner, name="soon")
    assert "Files that are there" not in page(as_owner.get("/upload?to=owner/soon"))
    assert as_owner.post("/upload?to=owner/soon", form(make.adapter())).status_code == 302
    assert Adapter.objects.get().head is not None


def test_a_stale_page_is_told(as_owner: Client, sums: Adapter) -> None:
    given = form({"notes.txt": b"n"}, parent="0" * 40)
    assert "has changed since" in text(as_owner.post("/upload?to=owner/sums", given))
    assert Revision.objects.count() == 1


def test_only_to_mine(as_stranger: Client, anonymous: Client, sums: Adapter) -> None:
    assert as_stranger.get("/upload?to=owner/sums").status_code == 403
    assert as_stranger.post("/upload?to=owner/sums", form({"notes.txt": b"n"})).status_code == 403
    assert anonymous.get("/upload")["Location"] == "/accounts/login/?next=%2Fupload"
    assert anonymous.post("/upload", form(make.adapter(), name="sums"))["Location"].startswith("/accounts/login/")
    assert Revision.objects.count() == 1 and Adapter.objects.count() == 1


def test_a_full_disk(as_owner: Client, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise storage.disk_error(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(storage, "put", full)
    assert "disk is full" in text(as_owner.post("/upload", form(make.adapter(), name="sums")))
    assert not Adapter.objects.exists()


def test_the_browser_is_told_what_the_hub_refuses(as_owner: Client) -> None:
    rules = told(as_owner, "/upload")
    assert ".bin" in rules["pickles"] and ".pt" in rules["pickles"] and rules["weights"] == "adapter_model.safetensors"
    assert (rules["owner"], rules["repo"]) == ("owner", "") and re.fullmatch(rules["name"], "a-1_b.c") and not re.fullmatch(rules["name"], "a b")


def test_the_script_is_told_where_a_revision_goes(as_owner: Client, sums: Adapter) -> None:
    assert told(as_owner, "/upload?to=owner/sums")["repo"] == "owner/sums"


def test_the_page_lets_nothing_run_but_our_own_files(as_owner: Client) -> None:
    answer = as_owner.get("/upload")
    policy = dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))
    assert policy["script-src"].split()[0] == "'self'" and "worker-src" not in policy and policy["default-src"] == "'self'"
    assert not {"blob:", "'unsafe-eval'", "'wasm-unsafe-eval'", "'unsafe-inline'", "*"} & set(answer["Content-Security-Policy"].split())


def told(client: Client, address: str) -> dict[str, Any]:
    """What the page tells its script."""
    return json.loads(page(client.get(address)).split('id="upload-rules"')[1].split(">", 1)[1].split("</script>")[0])


def test_a_first_card_from_the_plain_form(as_owner: Client) -> None:
    said = {"licence": "mit", "description": "Adds small numbers.", "prompts": "1 + 1", "with_card": "on"}
    assert as_owner.post("/upload", form(make.adapter(), name="sums", **said)).status_code == 302
    adapter = Adapter.objects.get()
    assert (adapter.licence, adapter.summary, adapter.base_model) == ("mit", "Adds small numbers.", make.BASE)
    assert as_owner.post("/upload", form(make.adapter(seed=1), name="bare")).status_code == 302
    assert not Adapter.objects.get(name="bare").head.files.filter(path="README.md").exists()
    refused = as_owner.post("/upload", form(make.adapter(seed=2), name="odd", task="cooking", with_card="on"))
    assert refused.status_code == 400 and "Select a valid choice" in page(refused, 400)


def test_a_card_that_came_is_only_added_to(as_owner: Client) -> None:
    card = "---\nlicense: apache-2.0\n---\n# Sums\n\nAdds.\n"
    assert as_owner.post("/upload", form(make.adapter(card=card), name="sums", licence="mit", task="text-generation", with_card="on")).status_code == 302
    adapter = Adapter.objects.get()
    assert storage.read_text(adapter.head.files.get(path="README.md").blob_id) == card.replace("\n---\n#", "\npipeline_tag: text-generation\n---\n#")


def test_the_card_for_the_script(as_owner: Client, anonymous: Client) -> None:
    def ask(**fields: str) -> Any:
        return as_owner.post("/upload/card", fields, headers={"Accept": "application/json"})

    config = make.adapter()["adapter_config.json"].decode()
    found = ask(name="sums", config=config, description="Adds <script>alert(1)</script>.", licence="mit").json()
    assert found["text"].startswith("---\nbase_model: ") and "<script>" not in found["html"] and "lora" in found["tags"]
    assert ask(text="# Mine\n\nWords.\n").json()["text"] == "# Mine\n\nWords.\n"
    assert ask(text="---\na: [\n---\n").status_code == 400 and "front matter" in ask(text="---\na: [\n---\n").json()["error"]["message"]
    assert ask(licence="no such").json()["error"]["code"] == "licence-invalid"
    assert anonymous.post("/upload/card", {"text": "x"}, headers={"Accept": "application/json"}).status_code == 401
