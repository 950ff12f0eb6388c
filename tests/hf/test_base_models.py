"""Base models with unmodified clients: hosted by an operator, or read through from a second Medley."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from transformers import LlamaForCausalLM

from tests import make, tiny
from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB, TRANSFORMERS = "huggingface_hub 2.4", "transformers 5.23"
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with its tokenizer and a card."""
    folder = tiny.llama(tmp_path_factory.mktemp("base"))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n# Small\n\nA small model.\n")
    return folder


@pytest.fixture(scope="module")
def logits(folder: Path) -> list[float]:
    """What the model computes, loaded from its folder."""
    with torch.no_grad():
        found = LlamaForCausalLM.from_pretrained(folder)(torch.arange(10)[None]).logits[0, -1, :8].tolist()
    return [round(value, 4) for value in found]


@pytest.fixture(scope="module")
def hosted(site: Site, folder: Path) -> str:
    """The tiny model, hosted under the name of a large one; its sha."""
    return site.stack.manage("host_base_model", str(folder), "--as", NAME).partition(" is hosted at ")[2].strip().rstrip(".")


def same(folder: Path, pulled: str | Path) -> bool:
    files = {path.name for path in folder.iterdir()}
    return {p.name for p in Path(pulled).iterdir()} >= files and all((Path(pulled) / name).read_bytes() == (folder / name).read_bytes() for name in files)


@conforms(TRANSFORMERS, "AutoModelForCausalLM.from_pretrained of a hosted base model by its own name, AutoTokenizer")
def test_a_hosted_base_model(site: Site, hosted: str, folder: Path, logits: list[float]):
    found = site.run("client_base_model.py", NAME, token="")
    assert found["logits"] == logits and found["tokens"] and same(folder, found["folder"]) and hosted in found["folder"]


@conforms(HUB, "model_info, list_repo_tree, snapshot_download of a base model")
def test_what_the_hub_says_of_it(anonymous: HfApi, hosted: str, folder: Path, cache: Path):
    info = anonymous.model_info(NAME.lower(), files_metadata=True)
    assert (info.id, info.author, info.sha, info.library_name, info.pipeline_tag) == (NAME, "HuggingFaceTB", hosted, "transformers", "text-generation")
    assert {"transformers", "safetensors", "llama", "license:apache-2.0"} <= set(info.tags) and not {"peft", "lora"} & set(info.tags)
    assert info.config == {"model_type": "llama", "architectures": ["LlamaForCausalLM"]} and info.safetensors.total > 1000
    assert {f.path for f in anonymous.list_repo_tree(NAME)} == {path.name for path in folder.iterdir()}
    assert same(folder, snapshot_download(NAME, endpoint=anonymous.endpoint, token=False, cache_dir=cache))


@conforms(HUB, "list_models with base models", note="lists base models beside adapters, as Hugging Face does; the filter peft leaves them out")
def test_lists(site: Site, anonymous: HfApi, hosted: str):
    site.upload("on-small", base=NAME)
    assert [m.id for m in anonymous.list_models(author="HuggingFaceTB")] == [NAME]
    assert [m.id for m in anonymous.list_models(filter=f"base_model:adapter:{NAME}")] == ["owner/on-small"]
    assert NAME not in [m.id for m in anonymous.list_models(filter="peft")]
    assert NAME not in [item["id"] for item in site.http("GET", "/api/v1/adapters").json()["items"]]
    row = next(item for item in site.http("GET", "/api/v1/base-models").json()["items"] if item["name"] == NAME)
    assert row["adapters"] == 1 and row["hosted"] is True and row["available_at"]


@conforms(HUB, "create_repo and upload_folder of a base model under a name without an account", note="operators only")
def test_an_operator_pushes_one(site: Site, folder: Path, cache: Path):
    operator = HfApi(endpoint=site.url, token=site.operator)
    repo = operator.create_repo("Qwen/Tiny", exist_ok=True).repo_id
    assert repo == "Qwen/Tiny" and operator.create_repo("Qwen/Tiny", exist_ok=True).repo_id == repo
    (folder / "unigram.model").write_bytes(b"\x0a\x05piece")
    try:
        operator.upload_folder(repo_id=repo, folder_path=folder)
        assert same(folder, snapshot_download(repo, endpoint=site.url, token=False, cache_dir=cache))
    finally:
        (folder / "unigram.model").unlink()
    with pytest.raises(HfHubHTTPError, match="Only the hub's operators") as caught:
        HfApi(endpoint=site.url, token=site.token).upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)
    assert caught.value.response.status_code == 403
    operator.delete_repo(repo)
    assert not operator.repo_exists(repo)


@conforms(HUB, "upload_folder of a whole model by an ordinary account, 403", note="HOST_MODELS=everyone allows it")
def test_an_ordinary_account_hosts_none(api: HfApi, site: Site, folder: Path):
    api.create_repo("owner/whole")
    before = len(site.requests())
    with pytest.raises(HfHubHTTPError, match="only its operators host base models") as caught:
        api.upload_folder(repo_id="owner/whole", folder_path=folder)
    assert caught.value.response.headers["X-Error-Code"] == "base-model-refused" and caught.value.response.status_code == 403
    assert not [line for line in site.requests(before) if "/v1/shards" in line or "/lfs/" in line], "not a byte was sent"
    with pytest.raises(HfHubHTTPError, match="make adapters under that name"):
        api.create_repo("HuggingFaceTB/mine")


@pytest.fixture(scope="module")
def through(site: Site, hosted: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A second Medley that reads the first one's base models through."""
    settings = {"READ_THROUGH": site.url, "READ_THROUGH_MODELS": "HuggingFaceTB/*"}
    second = Site(tmp_path_factory.mktemp("second"), **settings)
    yield second
    second.stop()


@conforms(TRANSFORMERS, "AutoModelForCausalLM.from_pretrained of a base model that is read through (READ_THROUGH)")
def test_read_through(site: Site, through: Site, hosted: str, folder: Path, logits: list[float]):
    before = len(site.requests())
    found: Any = through.run("client_base_model.py", NAME)
    assert found["logits"] == logits and same(folder, found["folder"])
    assert hosted in found["folder"], "pinned to the commit of the other hub"
    asked = site.requests(before)
    assert sum("model.safetensors" in line for line in asked) == 1, asked
    again = len(site.requests())
    pulled = snapshot_download(NAME, endpoint=through.url, token=False, cache_dir=through.folder / "again")
    assert same(folder, pulled) and len(site.requests()) == again, "what is here is not asked for again"


def test_what_is_not_read_through(site: Site, through: Site, hosted: str):
    site.upload("an-adapter", base=make.BASE)
    before = len(site.requests())
    api = HfApi(endpoint=through.url, token=through.token)
    for repo in ("owner/an-adapter", "owner/none", "Other/model"):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info(repo)
    assert len(site.requests()) == before
