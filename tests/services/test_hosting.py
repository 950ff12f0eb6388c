"""Base models that operators host: under whose name, by whom, what they may hold, and that they are nowhere taken for adapters."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import AnonymousUser
from pytest_django.fixtures import Settings
from safetensors.numpy import save

from hub.models import Adapter, BaseModel, Revision, User
from hub.services import accounts, adapters, hosted, hosting, lifecycle, numbers, refs, search
from tests import make, other_hub
from tests.conftest import PASSWORD, Upload, commit
from tests.services.stage import incoming, refused, submit

REPO = "HuggingFaceTB/Tiny"


@pytest.fixture
def operator(stranger: User) -> User:
    """A staff account."""
    stranger.is_staff = True
    stranger.save()
    return stranger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model on disk, with files that stay out."""
    target = tmp_path / "model"
    target.mkdir()
    for path, data in other_hub.model().items():
        (target / path).write_bytes(data)
    (target / ".cache").mkdir()
    (target / ".cache" / "note.json").write_text("{}")
    return target


def test_it_works(db: Any, folder: Path) -> None:
    revision, left_out = hosting.host(repo_id=REPO, folder=folder)
    assert left_out == ["modeling.py", "pytorch_model.bin"]
    found = adapters.find(actor=AnonymousUser(), repo_id=REPO.lower())
    assert (found.repo_id, found.kind, found.head) == (REPO, "base-model", revision)
    assert revision.model == {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "parameters": {"F32": 1000},
        "weights_bytes": revision.model["weights_bytes"],
    }
    assert {"transformers", "llama", "text-generation", "license:mit"} <= set(found.labels.split("\n")) and "peft" not in found.labels
    row = BaseModel.objects.get(name=REPO)
    assert row.repository == found and row.available_at
    assert not User.objects.get(username="HuggingFaceTB").has_usable_password() and not User.objects.get(username="HuggingFaceTB").is_active


def test_a_newer_state_is_a_revision_on_top(db: Any, folder: Path) -> None:
    first, _ = hosting.host(repo_id=REPO, folder=folder)
    (folder / "README.md").write_text("# Better\n")
    second, _ = hosting.host(repo_id=REPO, folder=folder)
    assert second.parent == first and second.model == first.model and Adapter.objects.count() == 1


def test_nobody_signs_up_under_its_name(db: Any, folder: Path) -> None:
    hosting.host(repo_id=REPO, folder=folder)
    with refused("name-taken", 409) as caught:
        accounts.create_user(username="HuggingFaceTB", email="a@example.org", password=PASSWORD)
    assert "hosts base models under the name huggingfacetb" in caught.value.message
    assert User.objects.count() == 1


def test_not_under_the_name_of_somebody(owner: User, folder: Path) -> None:
    with refused("namespace-taken", 403):
        hosting.host(repo_id="Owner/Tiny", folder=folder)
    assert not Adapter.objects.exists()


def test_under_an_operators_own_name(operator: User, folder: Path) -> None:
    revision, _ = hosting.host(repo_id="stranger/Tiny", folder=folder)
    assert revision.adapter.owner == operator and revision.adapter.is_base_model
    assert BaseModel.objects.get().repository == revision.adapter


@pytest.mark.parametrize("repo_id", ["api/x", "static/x", "two words/x", "-x/y", "a.b/c", "x" * 40 + "/y", "/x"])
def test_names_that_own_nothing(db: Any, folder: Path, repo_id: str) -> None:
    with refused("namespace-invalid", 400):
        hosting.host(repo_id=repo_id, folder=folder)
    assert not User.objects.exists()


@pytest.mark.parametrize(("gone", "code"), [("config.json", "base-model-incomplete"), ("model.safetensors", "base-model-incomplete")])
def test_a_folder_without_a_model(db: Any, folder: Path, gone: str, code: str) -> None:
    (folder / gone).unlink()
    with refused(code, 400):
        hosting.host(repo_id=REPO, folder=folder)
    assert not Adapter.objects.exists()


def shard(folder: Path, *names: str) -> None:
    """Make the model one of several files."""
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    for name in names:
        (folder / name).write_bytes(weights)
    table = {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def test_shards(db: Any, folder: Path) -> None:
    shard(folder, "model-00001-of-00002.safetensors")
    with refused("base-model-incomplete", 400) as caught:
        hosting.host(repo_id=REPO, folder=folder)
    assert "model-00002-of-00002.safetensors" in caught.value.message
    shard_two = folder / "model-00002-of-00002.safetensors"
    shard_two.write_bytes((folder / "model-00001-of-00002.safetensors").read_bytes())
    revision, _ = hosting.host(repo_id=REPO, folder=folder)
    assert revision.model["parameters"] == {"F32": 2000} and hosted.is_whole(revision)


def test_what_ordinary_accounts_push(owner: User, settings: Settings) -> None:
    """Whole models are for operators, in whatever order the files come; a plain repository stays possible."""
    files = other_hub.model()
    adapter = adapters.create(actor=owner, name="mine")
    commit(adapter, {"model.safetensors": files["model.safetensors"]})
    with refused("base-model-refused", 403) as caught:
        commit(adapter, {"config.json": files["config.json"]})
    assert "only its operators host base models" in caught.value.message
    with refused("base-model-refused", 403):
        commit(adapter, {"sub/config.json": b"{}", "sub/model-1.safetensors": files["model.safetensors"]})
    with refused("base-model-refused", 403):
        adapters.publish(actor=owner, name="other", files=incoming({k: files[k] for k in ("config.json", "model.safetensors")}))
    with refused("base-model-refused", 403):
        commit(adapter, {"config.json": files["config.json"], **make.adapter()}, branch="main")
    with refused("file-type-refused", 400):
        commit(adapter, {"unigram.model": b"\x0a\x05piece"})
    adapter.refresh_from_db()
    assert adapter.kind == "adapter" and Revision.objects.count() == 1 and not BaseModel.objects.exists()
    settings.HOST_MODELS = "everyone"
    commit(adapter, {"config.json": files["config.json"]})
    adapter.refresh_from_db()
    assert adapter.is_base_model and adapter.repo_id == BaseModel.objects.get().name


def test_a_branch_is_no_way_around(owner: User) -> None:
    adapter = adapters.create(actor=owner, name="mine")
    commit(adapter, {"notes.txt": b"x"})
    refs.create_branch(actor=owner, adapter=adapter, name="dev")
    files = other_hub.model()
    with refused("base-model-refused", 403):
        commit(adapter, {k: files[k] for k in ("config.json", "model.safetensors")}, branch="dev")


def test_what_operators_push(operator: User, settings: Settings) -> None:
    files = other_hub.model()
    adapter = hosting.create(actor=operator, repo_id=REPO)
    assert adapter.is_base_model
    with refused("file-type-refused", 400):
        adapters.commit(actor=operator, adapter=adapter, files=incoming({"pytorch_model.bin": b"\x80\x02"}))
    with refused("file-type-refused", 400) as caught:
        adapters.commit(actor=operator, adapter=adapter, files=incoming({"unigram.model": b"\x80\x04\x95pickle"}))
    assert "a Python pickle" in caught.value.message
    settings.MAX_WEIGHTS_BYTES = 1000  # of adapters
    kept = {k: files[k] for k in ("config.json", "tokenizer.json", "model.safetensors")} | {
        "unigram.model": b"\x0a\x05piece",
        "chat_template.jinja": b"{{ x }}",
    }
    adapters.commit(actor=operator, adapter=adapter, files=incoming(kept))
    assert BaseModel.objects.get().available_at
    with refused("file-too-large", 413):
        adapters.commit(actor=operator, adapter=adapter, files=incoming({"adapter_model.safetensors": files["model.safetensors"]}))
    settings.MAX_MODEL_BYTES = 1000
    with refused("file-too-large", 413):
        adapters.commit(actor=operator, adapter=adapter, files=incoming({"model.safetensors": other_hub.model(seed=1)["model.safetensors"]}))


def test_a_large_tokenizer(operator: User) -> None:
    adapter = hosting.create(actor=operator, repo_id=REPO)
    large = b'{"a": "' + b"x" * 12_000_000 + b'"}'
    adapters.commit(actor=operator, adapter=adapter, files=incoming({"tokenizer.json": large, "vocab.json": large}))
    assert adapter.head.files.count() == 2


def test_weights_of_a_model_are_sound_but_may_hold_infinity(operator: User) -> None:
    adapter = hosting.create(actor=operator, repo_id=REPO)
    masked = save({"mask": np.array([0, -np.inf], np.float32)})
    adapters.commit(actor=operator, adapter=adapter, files=incoming({"config.json": b"{}", "model.safetensors": masked}))
    with refused("weights-invalid", 400):
        adapters.commit(actor=operator, adapter=adapter, files=incoming({"model.safetensors": masked[:-1]}))
    with refused("config-invalid", 400):
        adapters.commit(actor=operator, adapter=adapter, files=incoming({"config.json": b"[]"}))


def test_who_may_change_it(owner: User, operator: User, folder: Path) -> None:
    revision, _ = hosting.host(repo_id=REPO, folder=folder)
    with refused("forbidden", 403) as caught:
        adapters.commit(actor=owner, adapter=revision.adapter, files=incoming({"notes.txt": b"x"}))
    assert "Only the hub's operators" in caught.value.message
    with refused("forbidden", 403):
        lifecycle.delete(actor=owner, adapter=revision.adapter)
    with refused("forbidden", 403):
        hosting.create(actor=owner, repo_id="HuggingFaceTB/Other")
    with refused("base-model-public", 409):
        adapters.update(actor=operator, adapter=revision.adapter, private=True)
    lifecycle.delete(actor=operator, adapter=revision.adapter)
    row = BaseModel.objects.get()
    assert row.repository is None and row.available_at is None


def test_it_is_no_adapter(owner: User, folder: Path, upload: Upload) -> None:
    (folder / "README.md").write_text("---\nbase_model: other/base\ntags: [sums]\n---\n# Tiny\n")
    revision, _ = hosting.host(repo_id=REPO, folder=folder)
    upload(owner, "sums", base=REPO, tags=("sums",))
    assert revision.adapter.labels.count("base_model:finetune:other/base") == 1
    listed = search.adapters(actor=owner)
    assert ([a.name for a in listed.items], listed.total) == (["sums"], 1)
    assert [a.name for a in search.adapters(actor=owner, with_base_models=True, owner="huggingfacetb").items] == ["Tiny"]
    assert numbers.totals()["adapters"] == 1 and search.tags(actor=owner, q="") == [("sums", 1)]
    assert [(b.name, b.adapters) for b in search.base_models(actor=owner)] == [(REPO, 1)]
    assert submit(owner, "auto", base_model=REPO).ingredients.get().repo_id == "owner/sums"
    with refused("base-model-unknown", 400):
        submit(owner, "auto", base_model="other/base", name="another")
    with refused("module-other-base", 400) as told:
        submit(owner, [REPO], base_model=REPO, name="third")
    assert "is a base model" in told.value.message


def test_a_private_model_of_an_operator_is_not_named(operator: User, owner: User) -> None:
    files = other_hub.model()
    adapter = adapters.create(actor=operator, name="secret", private=True)
    commit(adapter, {k: files[k] for k in ("config.json", "tokenizer.json", "model.safetensors")})
    assert adapter.is_base_model and not BaseModel.objects.exists() and hosted.folder("stranger/secret") is None
    adapters.update(actor=operator, adapter=adapter, private=False)
    assert hosted.folder("stranger/secret")
    adapters.update(actor=operator, adapter=adapter, private=True)
    assert not search.base_models(actor=owner).exists() and hosted.folder("stranger/secret") is None


def test_a_worker_reads_it_in_place(db: Any, folder: Path) -> None:
    hosting.host(repo_id=REPO, folder=folder)
    found = hosted.folder(REPO)
    assert found and found == hosted.folder(REPO)
    assert sorted(p.name for p in found.iterdir()) == ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model"]
    assert (found / "model.safetensors").is_symlink() and (found / "model.safetensors").read_bytes() == other_hub.model()["model.safetensors"]
    (folder / "tokenizer.json").write_text('{"v": 2}')
    hosting.host(repo_id=REPO, folder=folder)
    assert hosted.folder(REPO) != found and (hosted.folder(REPO) / "tokenizer.json").read_text() == '{"v": 2}'
    assert hosted.folder("no/such") is None


def test_without_a_tokenizer_no_worker_has_it(operator: User) -> None:
    files = other_hub.model()
    adapter = hosting.create(actor=operator, repo_id=REPO)
    adapters.commit(actor=operator, adapter=adapter, files=incoming({k: files[k] for k in ("config.json", "model.safetensors")}))
    assert BaseModel.objects.get().available_at is None and hosted.folder(REPO) is None
    adapters.commit(actor=operator, adapter=adapter, files=[adapters.Incoming("tokenizer.json", io.BytesIO(b"{}"))])
    assert BaseModel.objects.get().available_at and hosted.folder(REPO)
