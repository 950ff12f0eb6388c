"""More of what clients read: checksums, shards, trends, fields, and old revisions."""

import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem
from safetensors.numpy import save

from tests import make
from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"


@conforms(HUB, "repo_info, resolve_revision, verify_repo_checksums")
def test_more_ways_to_look(api: HfApi, site: Site, tmp_path: Path):
    sha = site.upload("looked-at", card="# Look\n")
    assert api.repo_info("owner/looked-at").sha == api.repo_info("owner/looked-at", repo_type="model", revision="main").sha == sha
    resolved = api.resolve_revision("owner/looked-at", cache_dir=tmp_path)
    assert resolved.resolved == sha
    api.snapshot_download("owner/looked-at", local_dir=tmp_path / "got")
    checked = api.verify_repo_checksums("owner/looked-at", local_dir=tmp_path / "got")
    assert checked.checked_count == 3 and not checked.mismatches and not checked.missing_paths
    weights = tmp_path / "got" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert [m["path"] for m in api.verify_repo_checksums("owner/looked-at", local_dir=tmp_path / "got").mismatches] == ["adapter_model.safetensors"]


@conforms(HUB, "get_safetensors_metadata")
def test_weights_of_base_models(api: HfApi):
    tensors = make.tensors()
    half = len(tensors) // 2
    names = list(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    index = {"metadata": {}, "weight_map": {name: shard for shard, inside in shards.items() for name in inside}}
    api.create_repo("owner/in-shards")
    files = {shard: save({name: tensors[name] for name in inside}) for shard, inside in shards.items()}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    api.create_commit("owner/in-shards", operations=[CommitOperationAdd(p, d) for p, d in files.items()], commit_message="x")
    found = api.get_safetensors_metadata("owner/in-shards")
    assert found.sharded and found.parameter_count == {"F32": sum(t.size for t in tensors.values())}
    api.create_repo("owner/in-one")
    api.upload_file(path_or_fileobj=save(tensors), path_in_repo="model.safetensors", repo_id="owner/in-one")
    assert not api.get_safetensors_metadata("owner/in-one").sharded


def test_trending_and_expand(api: HfApi, site: Site):
    """What was fetched this week comes first, whatever was fetched before."""
    for name in ("trend-a", "trend-b"):
        site.upload(name)
    site.http("GET", "/owner/trend-a/resolve/main/adapter_model.safetensors", token="")
    site.shell("Adapter.objects.filter(name='trend-b').update(downloads=1000)")
    assert [m.id for m in api.list_models(search="trend-", sort="trending_score")] == ["owner/trend-a", "owner/trend-b"]
    assert [m.id for m in api.list_models(search="trend-", sort="downloads")] == ["owner/trend-b", "owner/trend-a"]
    scores = {m["id"]: m.get("trendingScore") for m in site.http("GET", "/api/models?search=trend-&sort=trendingScore").json()}
    assert scores == {"owner/trend-a": 1, "owner/trend-b": 0}
    for sent in ("expand=downloads&expand=author", "expand[]=downloads&expand[]=author", "expand=downloads&expand=author&expand=nonsense"):
        found = site.http("GET", f"/api/models/owner/trend-b?{sent}").json()
        assert found.keys() == {"_id", "id", "modelId", "downloads", "author"}


def test_the_file_system_at_a_revision(api: HfApi, site: Site):
    first = site.upload("by-revision", card="# One\n")
    site.upload_again("by-revision", card="# Two\n", seed=1)
    api.create_tag("owner/by-revision", tag="v1", revision=first)
    files = HfFileSystem(endpoint=site.url, token=site.token, skip_instance_cache=True)
    assert files.read_text("owner/by-revision/README.md") == "# Two\n"
    for revision in ("v1", first):
        assert files.read_text(f"owner/by-revision@{revision}/README.md") == files.read_text("owner/by-revision/README.md", revision=revision) == "# One\n"
        assert f"owner/by-revision@{revision}/README.md" in files.glob(f"owner/by-revision@{revision}/*.md")
        with files.open(f"owner/by-revision@{revision}/README.md", "rb") as stream:
            stream.seek(2)
            assert stream.read(3) == b"One"


def test_an_old_revision_after_a_rename(api: HfApi, site: Site, tmp_path: Path):
    first = site.upload("renamed-from", card="# One\n")
    site.upload_again("renamed-from", card="# Two\n", seed=1)
    api.move_repo("owner/renamed-from", "owner/renamed-to")
    for name in ("renamed-from", "renamed-to"):
        path = api.snapshot_download(f"owner/{name}", revision=first, cache_dir=tmp_path)
        assert (Path(path) / "README.md").read_text() == "# One\n"
