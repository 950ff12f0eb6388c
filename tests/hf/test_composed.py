"""A really composed adapter, made on a tiny base model by the worker's own task, as the released client sees it."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from tests import make, tiny
from tests.hf.conformance import conforms
from tests.hf.site import Site
from tests.worker.stack import EXAMPLES

HUB = "huggingface_hub 2.4"
RUN = """
from compose_worker import tasks
from hub.services import jobs
owner = User.objects.get(username="owner")
order = dict(base_model={base!r}, modules={modules!r}, examples={examples!r}, name="mixed", private=True)
job = jobs.submit(actor=owner, method="cma", method_settings={{"budget": 10}}, **order)
tasks.run(job.pk)
job.refresh_from_db()
assert job.status == "succeeded", job.error_message
"""


@pytest.fixture(scope="module")
def parents(site: Site) -> list[str]:
    """The two parents of the private adapter owner/mixed; both have a part in it."""
    tiny.llama(site.stack.folder / "base-models" / make.BASE.replace("/", "--"))
    names = ["owner/parent-a", "owner/parent-b"]
    for seed, name in enumerate(names, 70):
        site.upload(name.partition("/")[2], seed=seed)
    site.shell(RUN.format(base=make.BASE, modules=names, examples=EXAMPLES))
    return names


@conforms(HUB, "model_info(...).card_data.base_model of a composed adapter", "differs", "a list: the base model, then every parent")
def test_base_models(api: HfApi, site: Site, parents: list[str], tmp_path: Path):
    used = site.stack.call("GET", "/adapters/owner/mixed")["parents"]
    lineage = [parent["id"] for parent in used]
    assert sorted(lineage) == parents
    info = api.model_info("owner/mixed", expand=["baseModels", "cardData", "tags", "config"])
    assert info.card_data.base_model == [make.BASE, *lineage]
    assert info.base_models["models"] == [{"id": name} for name in (make.BASE, *lineage)]
    assert {f"base_model:adapter:{make.BASE}", f"base_model:{make.BASE}", *(f"base_model:merge:{name}" for name in parents)} <= set(info.tags)
    assert info.config["peft"]["base_model_name_or_path"] == make.BASE
    config = json.loads(Path(api.hf_hub_download("owner/mixed", "adapter_config.json", cache_dir=tmp_path)).read_text())
    assert config["base_model_name_or_path"] == make.BASE
    data = ModelCard.load(api.hf_hub_download("owner/mixed", "README.md", cache_dir=tmp_path)).data
    assert data.base_model[0] == make.BASE and sorted(data.base_model[1:]) == parents and data.base_model_relation == "merge"
    listed = {m.id: m for m in api.list_models(filter=f"base_model:merge:{parents[0]}", cardData=True)}
    assert listed["owner/mixed"].card_data.base_model == [make.BASE, *lineage]
    assert "owner/mixed" in [m.id for m in api.list_models(filter=f"base_model:adapter:{make.BASE}")]


def test_a_rewritten_card_does_not_change_the_lineage(api: HfApi, parents: list[str]):
    before = api.model_info("owner/mixed").sha
    api.upload_file(path_or_fileobj=b"---\nlicense: mit\nbase_model: acme/other\n---\n# Mine\n", path_in_repo="README.md", repo_id="owner/mixed")
    for revision in (None, before):
        info = api.model_info("owner/mixed", revision=revision)
        assert sorted(info.card_data.base_model) == sorted([make.BASE, *parents])
        assert not [tag for tag in info.tags if "acme/other" in tag]
    assert api.model_info("owner/mixed").card_data.license == "mit"


def test_a_hidden_parent_is_not_named(api: HfApi, outsider: HfApi, anonymous: HfApi, parents: list[str]):
    api.update_repo_settings("owner/mixed", private=False)
    api.update_repo_settings(parents[0], private=True)
    for asker in (outsider, anonymous):
        info = asker.model_info("owner/mixed")
        assert info.card_data.base_model == [make.BASE, parents[1]] and f"base_model:merge:{parents[0]}" not in info.tags
        assert parents[0] not in str(asker.model_info("owner/mixed", expand=["baseModels", "cardData", "tags"]).__dict__)
        assert [m.id for m in asker.list_models(filter=f"base_model:merge:{parents[0]}")] == []
        assert next(m for m in asker.list_models(search="mixed", full=True)).tags == info.tags
    assert sorted(api.model_info("owner/mixed").card_data.base_model[1:]) == parents
