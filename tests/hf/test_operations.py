"""More of what clients write: deletions, weights ahead of their commit, copies, names with a slash, empty files."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RevisionNotFoundError

from tests import make
from tests.hf.conformance import conforms
from tests.hf.site import Site
from tests.hf.test_writing import status as said
from tests.hf.test_writing import write as written

HUB = "huggingface_hub 2.4"
WEIGHTS = "adapter_model.safetensors"


@conforms(HUB, "delete_file, delete_files, delete_folder")
def test_deletions(api: HfApi, site: Site, tmp_path: Path):
    site.upload("pruned", card="# Pruned\n")
    api.upload_folder(repo_id="owner/pruned", folder_path=written(tmp_path, {"docs/a.txt": b"a", "docs/deep/b.txt": b"b", "c.txt": b"c", "d.json": b"{}"}))
    api.delete_file("c.txt", "owner/pruned")
    api.delete_files("owner/pruned", ["d.*"])
    assert "docs/deep/b.txt" in api.list_repo_files("owner/pruned")
    api.delete_folder("docs", "owner/pruned")
    assert sorted(api.list_repo_files("owner/pruned")) == ["README.md", "adapter_config.json", WEIGHTS]
    with pytest.raises(HfHubHTTPError) as error:
        api.delete_file("none.txt", "owner/pruned")
    assert said(error) == (404, "EntryNotFound")


@conforms(HUB, "preupload_lfs_files, then create_commit")
def test_weights_sent_ahead(api: HfApi, site: Site):
    site.upload("ahead")
    data = make.adapter(seed=8)[WEIGHTS]
    addition = CommitOperationAdd(WEIGHTS, data)
    api.preupload_lfs_files("owner/ahead", [addition])
    assert api.get_paths_info("owner/ahead", [WEIGHTS])[0].lfs.sha256 != hashlib.sha256(data).hexdigest(), "nothing is visible before the commit"
    api.create_commit("owner/ahead", operations=[addition], commit_message="Ahead")
    assert api.get_paths_info("owner/ahead", [WEIGHTS])[0].lfs.sha256 == hashlib.sha256(data).hexdigest()


@conforms(HUB, "copy_files between repositories", "differs", "small files only: for weights the client itself asks for Xet downloads")
def test_copy_files(api: HfApi, site: Site):
    site.upload("copied-from", card="# From\n")
    site.upload("copied-to", seed=1)
    api.copy_files("hf://models/owner/copied-from/README.md", "hf://models/owner/copied-to/docs/from.md")
    assert site.http("GET", "/owner/copied-to/resolve/main/docs/from.md").content == b"# From\n"


def test_names_with_a_slash_are_refused_with_a_sentence(api: HfApi, site: Site):
    site.upload("slashed")
    for call in (lambda: api.create_branch("owner/slashed", branch="feature/x"), lambda: api.create_tag("owner/slashed", tag="v/1")):
        with pytest.raises(BadRequestError, match="without a slash") as error:
            call()
        assert said(error) == (400, "ref-invalid")
    for name in ("feature/x", "refs/pr/1", "refs/convert/parquet"):
        assert not api.revision_exists("owner/slashed", name)
        with pytest.raises(RevisionNotFoundError):
            api.list_repo_files("owner/slashed", revision=name)
        with pytest.raises(RevisionNotFoundError):
            api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="owner/slashed", revision=name)
        with pytest.raises(HfHubHTTPError) as error:
            api.delete_branch("owner/slashed", branch=name)
        assert said(error) == (404, "RevisionNotFound")
    refs = api.list_repo_refs("owner/slashed", include_pull_requests=True)
    assert ([b.name for b in refs.branches], refs.tags, refs.pull_requests) == (["main"], [], [])


def test_an_empty_file(api: HfApi, site: Site):
    """Clients send nothing ahead for it, whatever its name, and the answer says so."""
    site.upload("emptied")
    asked = {"files": [{"path": "notes.txt", "size": 0, "sample": ""}, {"path": "more.safetensors", "size": 0, "sample": ""}]}
    modes = site.http("POST", "/api/models/owner/emptied/preupload/main", json=asked).json()["files"]
    assert [mode["uploadMode"] for mode in modes] == ["regular", "regular"]
    api.upload_file(path_or_fileobj=b"", path_in_repo="notes.txt", repo_id="owner/emptied")
    assert api.get_paths_info("owner/emptied", ["notes.txt"])[0].size == 0
    assert site.http("GET", "/owner/emptied/resolve/main/notes.txt").content == b""
    with pytest.raises(BadRequestError):
        api.upload_file(path_or_fileobj=b"", path_in_repo="more.safetensors", repo_id="owner/emptied")


def test_a_pull_request_is_refused_before_anything_changes(api: HfApi, site: Site, tmp_path: Path):
    sha = site.upload("no-requests")
    folder = written(tmp_path, {"a.txt": b"a"})
    for call in (
        lambda: api.upload_folder(repo_id="owner/no-requests", folder_path=folder, create_pr=True),
        lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="owner/no-requests", create_pr=True),
    ):
        with pytest.raises(HfHubHTTPError, match="no pull requests") as error:
            call()
        assert said(error) == (501, "NotImplemented")
    assert api.model_info("owner/no-requests").sha == sha
