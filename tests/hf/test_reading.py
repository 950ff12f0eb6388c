"""What clients read: who they are, models and their lists, trees, branches, commits."""

import hashlib
import json
import re

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests import make
from tests.hf.conformance import conforms
from tests.hf.site import Site

CARD = """---
license: apache-2.0
language: [en, de]
datasets: [acme/sums]
tags: [arithmetic, Digits]
---
# Sums

Adds small numbers.
"""
HUB = "huggingface_hub 2.4"


@pytest.fixture(scope="module")
def sums(site: Site) -> str:
    """A public adapter with a card; the sha of its only revision."""
    return site.upload("sums", card=CARD)


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@conforms(HUB, "whoami")
def test_whoami(api: HfApi, site: Site):
    me = api.whoami()
    assert me["name"] == "owner" and me["type"] == "user"
    assert me["auth"]["accessToken"]["role"] == "write"
    assert HfApi(endpoint=site.url, token=site.operator).whoami()["orgs"] == []  # whom no test makes a member of anything
    assert HfApi(endpoint=site.url, token=site.reader).whoami()["auth"]["accessToken"]["role"] == "read"


def test_whoami_with_a_bad_token(site: Site):
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=site.url, token="hf_nobodys").whoami()


@conforms(HUB, "model_info")
def test_model_info(anonymous: HfApi, sums: str):
    info = anonymous.model_info("owner/sums")
    assert (info.id, info.author, info.sha, info.private, info.gated, info.disabled) == ("owner/sums", "owner", sums, False, False, False)
    assert info.library_name == "peft" and info.pipeline_tag == "text-generation"
    assert info.config == {"peft": {"base_model_name_or_path": make.BASE, "task_type": "CAUSAL_LM", "peft_type": "LORA"}}
    assert info.card_data.license == "apache-2.0" and info.card_data.datasets == ["acme/sums"]
    assert [s.rfilename for s in info.siblings] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert info.safetensors.total == sum(t.size for t in make.tensors().values()) == info.safetensors.parameters["F32"]
    assert info.base_models == {"relation": "adapter", "models": [{"id": make.BASE}]}
    assert info.created_at <= info.last_modified


@conforms(HUB, "model_info(files_metadata=True)")
def test_model_info_with_blobs(api: HfApi, sums: str):
    files = {s.rfilename: s for s in api.model_info("owner/sums", files_metadata=True).siblings}
    expected = make.adapter(card=CARD)
    assert files["README.md"].size == len(CARD) and files["README.md"].blob_id == git_oid(CARD.encode()) and files["README.md"].lfs is None
    weights = files["adapter_model.safetensors"]
    assert weights.lfs.sha256 == hashlib.sha256(expected["adapter_model.safetensors"]).hexdigest()
    assert weights.size == weights.lfs.size == len(expected["adapter_model.safetensors"])


@conforms(HUB, "model_info(expand=...)")
def test_model_info_expand(api: HfApi, sums: str):
    info = api.model_info("owner/sums", expand=["downloads", "likes", "cardData", "baseModels", "trendingScore", "spaces"])
    assert info.downloads is not None and info.likes == 0 and info.base_models and info.card_data.license == "apache-2.0"
    assert info.siblings is None and info.sha is None and info.tags is None


@conforms(HUB, "model_info(revision=...)", note="a branch, a tag, a sha or at least seven digits of one")
def test_model_info_at_a_revision(api: HfApi, site: Site):
    first = site.upload("grows")
    site.stack.call("POST", "/adapters/owner/grows/commits", files=[("files", ("README.md", CARD.encode()))], data={"message": "Card"})
    now = api.model_info("owner/grows")
    assert now.sha != first and now.card_data.license == "apache-2.0" and "license:apache-2.0" in now.tags
    for name in (first, first[:7]):
        then = api.model_info("owner/grows", revision=name)
        assert then.sha == first and then.card_data is None
        assert [s.rfilename for s in then.siblings] == ["adapter_config.json", "adapter_model.safetensors"]
        assert "license:apache-2.0" not in then.tags and "peft" in then.tags
    assert api.model_info("owner/grows", revision="main").sha == now.sha


def test_tags_come_from_the_files_first(api: HfApi, sums: str):
    tags = api.model_info("owner/sums").tags
    wanted = ["peft", "lora", "safetensors", "text-generation", "arithmetic", "Digits", "en", "de", "dataset:acme/sums"]
    assert tags[: len(wanted)] == wanted
    assert set(tags[len(wanted) :]) == {f"base_model:{make.BASE}", f"base_model:adapter:{make.BASE}", "license:apache-2.0", "digits"}


def test_the_config_wins_over_the_card(api: HfApi, site: Site):
    site.upload("liar", card="---\nbase_model: acme/another\n---\n# Liar\n")
    tags = api.model_info("owner/liar").tags
    assert f"base_model:adapter:{make.BASE}" in tags and "base_model:acme/another" not in tags


@pytest.mark.parametrize(
    "filters",
    [
        "peft",
        "lora",
        "arithmetic",
        "en",
        f"base_model:adapter:{make.BASE}",
        f"base_model:{make.BASE}",
        "license:apache-2.0",
        "dataset:acme/sums",
        ["peft", "lora", "license:apache-2.0"],
    ],
    ids=str,
)
@conforms(HUB, "list_models(filter=...)")
def test_filters(anonymous: HfApi, site: Site, sums: str, filters: str | list[str]):
    assert "owner/sums" in [m.id for m in anonymous.list_models(filter=filters)]
    wrong = [*([filters] if isinstance(filters, str) else filters), "license:mit"]
    assert "owner/sums" not in [m.id for m in anonymous.list_models(filter=wrong)]


def test_filters_match_whole_labels(anonymous: HfApi, sums: str):
    for part in ("pef", "license:apache", "base_model:", "arith%", "_eft"):
        assert "owner/sums" not in [m.id for m in anonymous.list_models(filter=part)]


@conforms(HUB, "list_models(search, author, pipeline_tag, trained_dataset)")
def test_search(anonymous: HfApi, sums: str):
    def ids(**more: object) -> list[str]:
        return [m.id for m in anonymous.list_models(**more)]

    assert "owner/sums" in ids(search="sums") and "owner/sums" in ids(search="small numbers") and not ids(search="zebra")
    assert "owner/sums" in ids(author="owner") and not ids(author="stranger") and not ids(author="nobody")
    assert "owner/sums" in ids(pipeline_tag="text-generation") and not ids(pipeline_tag="fill-mask")
    assert "owner/sums" in ids(trained_dataset="acme/sums") and not ids(trained_dataset="acme/other")
    assert "owner/sums" not in ids(gated=True) and "owner/sums" in ids(gated=False)


@conforms(HUB, "list_models(full, cardData, fetch_config, expand)")
def test_more_of_each(anonymous: HfApi, sums: str):
    def one(**more: object):
        return next(m for m in anonymous.list_models(author="owner", **more) if m.id == "owner/sums")

    brief, full = one(), one(full=True)
    assert brief.siblings is None and brief.sha is None and brief.card_data is None and brief.config is None
    assert full.sha == sums and len(full.siblings) == 3 and full.last_modified
    assert one(cardData=True).card_data.license == "apache-2.0"
    assert one(fetch_config=True).config["peft"]["task_type"] == "CAUSAL_LM"
    expanded = one(expand=["safetensors", "author"])
    assert expanded.safetensors.total and expanded.author == "owner" and expanded.tags is None


@conforms(HUB, "list_models(sort, limit)", "differs", "downloads are counted from the beginning, once a client and day; there is no 30-day count")
def test_sorting_and_limit(api: HfApi, site: Site):
    for name in ("sorted-a", "sorted-b", "sorted-c"):
        site.upload(name, card="---\ntags: [sorting]\n---\n# x\n")
    site.stack.call("PUT", "/adapters/owner/sorted-b/like")
    site.http("GET", "/owner/sorted-a/resolve/main/adapter_model.safetensors", token="")

    def ids(**more: object) -> list[str]:
        return [m.id.removeprefix("owner/sorted-") for m in api.list_models(filter="sorting", **more)]

    assert ids(sort="created_at") == ids(sort="last_modified") == ids() == ["c", "b", "a"]
    assert ids(sort="likes")[0] == "b" and ids(sort="downloads")[0] == "a" and ids(sort="trending_score")[0] == "a"
    assert ids(sort="created_at", limit=2) == ["c", "b"]
    with pytest.raises(HfHubHTTPError, match="Sort by one of"):
        ids(sort="beauty")


@conforms(HUB, "list_models, pages by Link")
def test_pages(api: HfApi, site: Site):
    site.shell(
        "from hub.services import index\nowner = User.objects.get(username='owner')\n"
        "for n in range(205): index.refresh(Adapter.objects.create(owner=owner, name=f'paged-{n:03d}'))"
    )
    before = len(site.requests())
    found = [m.id for m in api.list_models(search="paged-")]
    assert len(found) == len(set(found)) == 205
    assert sum(line.startswith("GET /api/models ") for line in site.requests(before)) == 3
    assert [m.id for m in api.list_models(search="paged-", limit=150)] == found[:150]


@pytest.mark.parametrize("unknown", [{"apps": "vllm"}, {"num_parameters": "min:1B"}, {"inference_provider": "acme"}, {"inference": "warm"}], ids=str)
@conforms(HUB, "list_models(apps, inference, inference_provider, num_parameters)", "501")
def test_unknown_filters_are_not_passed_over(api: HfApi, unknown: dict[str, str]):
    with pytest.raises(HfHubHTTPError, match="does not know the filter") as caught:
        list(api.list_models(**unknown))
    assert caught.value.response.status_code == 501


def test_what_is_private_is_listed_to_its_owner(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    site.upload("diary", private=True)
    assert "owner/diary" in [m.id for m in api.list_models(author="owner", search="diary")]
    for other in (outsider, anonymous):
        assert "owner/diary" not in [m.id for m in other.list_models(search="diary")]


@conforms(HUB, "list_repo_files, list_repo_tree(recursive, expand), get_paths_info")
def test_trees(api: HfApi, site: Site):
    first = site.upload("forest")
    files = [("files", (path, text.encode())) for path, text in {"docs/a.md": "a", "docs/more/b.md": "b", "notes.txt": "n"}.items()]
    second = site.stack.call(
        "POST", "/adapters/owner/forest/commits", files=files, data={"message": "Notes", "paths": ["docs/a.md", "docs/more/b.md", "notes.txt"]}
    )["sha"]
    names = ["adapter_config.json", "adapter_model.safetensors", "docs/a.md", "docs/more/b.md", "notes.txt"]
    assert sorted(api.list_repo_files("owner/forest")) == names
    top = list(api.list_repo_tree("owner/forest"))
    assert sorted(e.path for e in top) == ["adapter_config.json", "adapter_model.safetensors", "docs", "notes.txt"]
    assert [e.path for e in api.list_repo_tree("owner/forest", "docs")] == ["docs/more", "docs/a.md"]
    deep = {e.path: e for e in api.list_repo_tree("owner/forest", recursive=True, expand=True)}
    assert set(deep) == {*names, "docs", "docs/more"}
    assert {path: e.last_commit.oid for path, e in deep.items()} == {p: first if p.startswith("adapter_") else second for p in deep}
    assert deep["notes.txt"].last_commit.title == "Notes" and deep["notes.txt"].blob_id == git_oid(b"n")
    found = {e.path: e for e in api.get_paths_info("owner/forest", ["docs", "docs/a.md", "missing", "adapter_model.safetensors"], expand=True)}
    assert set(found) == {"docs", "docs/a.md", "adapter_model.safetensors"}
    assert found["adapter_model.safetensors"].lfs.pointer_size > 100 and found["docs"].last_commit.oid == second
    assert [e.path for e in api.list_repo_tree("owner/forest", revision=first)] == ["adapter_config.json", "adapter_model.safetensors"]


@conforms(HUB, "list_repo_commits, list_repo_refs")
def test_commits_and_refs(api: HfApi, site: Site):
    shas = [site.upload("logged")]
    for number in range(1, 4):
        body = {"message": f"Change {number}\n\nBecause <b>."}
        shas.append(site.stack.call("POST", "/adapters/owner/logged/commits", files=[("files", ("n.txt", str(number).encode()))], data=body)["sha"])
    rows = api.list_repo_commits("owner/logged", formatted=True)
    assert [r.commit_id for r in rows] == shas[::-1]
    assert (
        rows[0].title == "Change 3" and rows[0].message == "Because <b>." and rows[0].formatted_message == "Because &lt;b&gt;." and rows[0].authors == ["owner"]
    )
    assert [r.commit_id for r in api.list_repo_commits("owner/logged", revision=shas[1])] == shas[1::-1]
    refs = api.list_repo_refs("owner/logged", include_pull_requests=True)
    assert [(b.name, b.ref, b.target_commit) for b in refs.branches] == [("main", "refs/heads/main", shas[-1])]
    assert refs.tags == refs.converts == refs.pull_requests == []


def test_many_commits_come_in_pages(api: HfApi, site: Site):
    site.upload("long")
    script = """
import io
from hub.services import adapters
a = Adapter.objects.get(name="long")
for n in range(60):
    adapters.commit(actor=a.owner, adapter=a, files=[adapters.Incoming("n.txt", io.BytesIO(b"%d" % n))])
"""
    site.shell(script)
    before = len(site.requests())
    assert len({r.commit_id for r in api.list_repo_commits("owner/long")}) == 61
    assert len([r for r in site.requests(before) if "/commits/main" in r]) == 2
    entry = next(e for e in api.list_repo_tree("owner/long", expand=True) if e.path == "adapter_config.json")
    assert entry.last_commit.oid == api.list_repo_commits("owner/long")[-1].commit_id


@conforms(HUB, "repo_exists, revision_exists, file_exists")
def test_exists(api: HfApi, sums: str):
    assert api.repo_exists("owner/sums") and not api.repo_exists("owner/none") and not api.repo_exists("nobody/none")
    assert api.revision_exists("owner/sums", sums) and not api.revision_exists("owner/sums", "v9") and not api.revision_exists("owner/sums", "f" * 40)
    assert api.file_exists("owner/sums", "README.md") and not api.file_exists("owner/sums", "nope.bin")
    assert not api.repo_exists("owner/sums", repo_type="dataset")


@conforms(HUB, "auth_check")
def test_auth_check(api: HfApi, outsider: HfApi, site: Site, sums: str):
    api.auth_check("owner/sums")
    outsider.auth_check("owner/sums")
    assert site.http("GET", "/api/models/owner/sums/auth-check/write", token=site.stranger).status_code == 403


def test_an_adapter_without_files_is_at_a_commit_of_its_own(api: HfApi, site: Site):
    api.create_repo("owner/empty")
    info = api.model_info("owner/empty")
    assert re.fullmatch("[0-9a-f]{40}", info.sha) and info.siblings == [] and api.model_info("owner/empty", revision=info.sha).sha == info.sha
    assert list(api.list_repo_tree("owner/empty")) == [] and api.list_repo_commits("owner/empty") == []
    assert api.list_repo_refs("owner/empty").branches[0].target_commit == info.sha
    assert not api.file_exists("owner/empty", "README.md")


RESULT = "task: {type: t}, dataset: {type: d, name: n}, metrics: [{type: m, value: 1}]"
HOSTILE = {
    "tags as a number": "tags: 5",
    "tags with a list": "tags: [[a], b]",
    "a name of the parser": "ignore_metadata_errors: false\nself: 1",
    "results of nothing": "eval_results: 7",
    "an index of texts": "model-index: [a, b]",
    "an index without results": "model-index: [{name: x}]",
    "an index of half a result": "model-index: [{name: x, results: [{task: {type: t}, dataset: 5, metrics: [1]}]}]",
    "an index with a broken source": f"model-index: [{{name: x, results: [{{{RESULT}, source: 3}}]}}]",
    "lists everywhere": "license: [a]\nbase_model: {a: b}\npipeline_tag: [x]\nlibrary_name: {y: z}\nlanguage: 3",
}


@pytest.mark.parametrize("front", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_strange_card_breaks_no_listing(api: HfApi, site: Site, front: str):
    name = "strange-" + hashlib.sha1(front.encode()).hexdigest()[:8]
    site.upload(name, card=f"---\n{front}\n---\n# Strange\n")
    assert f"owner/{name}" in [m.id for m in api.list_models(author="owner", search="strange", cardData=True, full=True, fetch_config=True)]
    assert api.model_info(f"owner/{name}").id == f"owner/{name}"


def test_a_sound_model_index_arrives(api: HfApi, site: Site):
    result = {"task": {"type": "t"}, "dataset": {"type": "d", "name": "n"}, "metrics": [{"type": "accuracy", "value": 0.5}]}
    site.upload("indexed", card=f"---\nmodel-index: {json.dumps([{'name': 'x', 'results': [result]}])}\n---\n# Indexed\n")
    assert api.model_info("owner/indexed").card_data.eval_results[0].metric_value == 0.5
