"""What clients write: repositories, files by every way they come, commits, branches and tags."""

import hashlib
import io
import threading
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from tests import make
from tests.hf.conformance import conforms
from tests.hf.site import Site

pytestmark = [pytest.mark.filterwarnings("ignore:Warnings while validating")]
HUB = "huggingface_hub 2.4"
WEIGHTS = "adapter_model.safetensors"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Put files into a folder."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def status(error: "pytest.ExceptionInfo[HfHubHTTPError]") -> tuple[int, str]:
    """What the server said."""
    return error.value.response.status_code, error.value.response.headers["X-Error-Code"]


@conforms(HUB, "create_repo(private, visibility, exist_ok), repo_exists")
def test_create(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    url = api.create_repo("owner/made")
    assert url == f"{site.url}/owner/made" and url.repo_id == "owner/made"
    assert api.create_repo("made", exist_ok=True).repo_id == "owner/made"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("owner/made")
    assert status(error) == (409, "name-taken") and "exists already" in str(error.value)
    api.create_repo("owner/made-private", private=True)
    api.create_repo("owner/made-hidden", visibility="private")
    assert api.model_info("owner/made-private").private and api.model_info("owner/made-hidden").private
    assert not outsider.repo_exists("owner/made-private") and not anonymous.repo_exists("owner/made-private")
    with pytest.raises(HfHubHTTPError, match="make adapters under that name") as error:
        outsider.create_repo("owner/theirs")
    assert status(error) == (403, "forbidden")
    assert outsider.create_repo("owner/made", exist_ok=True) == f"{site.url}/owner/made"
    with pytest.raises(HfHubHTTPError) as error:
        anonymous.create_repo("owner/nobodys")
    assert status(error) == (401, "login-required")
    for name in ("a--b", "settings", "-a", "x" * 97, "a.git", "ä"):
        refused = site.http("POST", "/api/repos/create", json={"name": name, "organization": "owner"})
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (400, "name-invalid")


@conforms(HUB, "delete_repo(missing_ok)")
def test_delete(api: HfApi, outsider: HfApi, site: Site):
    site.upload("doomed")
    with pytest.raises(HfHubHTTPError) as error:
        outsider.delete_repo("owner/doomed")
    assert status(error) == (403, "forbidden") and api.repo_exists("owner/doomed")
    api.delete_repo("owner/doomed")
    assert not api.repo_exists("owner/doomed")
    api.delete_repo("owner/doomed", missing_ok=True)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("owner/doomed")


@conforms(HUB, "move_repo", "differs", "to another owner only where one makes adapters there; whoever else shall have it must accept it on the pages (403)")
def test_move(api: HfApi, outsider: HfApi, site: Site, tmp_path: Path):
    sha = site.upload("before")
    site.upload("occupied", seed=2)
    api.move_repo("owner/before", "owner/after")
    assert api.model_info("owner/after").sha == sha
    assert api.model_info("owner/before").id == "owner/after", "the old id leads to the new one"
    assert Path(api.hf_hub_download("owner/before", WEIGHTS, cache_dir=tmp_path)).read_bytes() == make.adapter()[WEIGHTS]
    with pytest.raises(HfHubHTTPError) as error:
        api.move_repo("owner/after", "owner/occupied")
    assert status(error) == (409, "name-taken")
    with pytest.raises(HfHubHTTPError) as error:
        api.move_repo("owner/after", "stranger/after")
    assert status(error) == (403, "forbidden") and "has to accept" in str(error.value)
    with pytest.raises(HfHubHTTPError) as error:
        outsider.move_repo("owner/after", "owner/stolen")
    assert status(error) == (403, "forbidden")
    api.create_repo("owner/before")
    assert api.model_info("owner/before").id == "owner/before", "a new adapter takes the name"
    assert api.model_info("owner/after").sha == sha


def test_a_former_name_does_not_reveal_a_private_adapter(api: HfApi, outsider: HfApi, site: Site):
    site.upload("old-diary", private=True)
    api.move_repo("owner/old-diary", "owner/new-diary")
    assert api.repo_exists("owner/old-diary") and not outsider.repo_exists("owner/old-diary")


@conforms(HUB, "update_repo_settings(private, visibility)")
def test_settings(api: HfApi, outsider: HfApi, site: Site):
    site.upload("shy")
    api.update_repo_settings("owner/shy", private=True)
    assert api.model_info("owner/shy").private and not outsider.repo_exists("owner/shy")
    api.update_repo_settings("owner/shy", visibility="public", gated=False)
    assert not outsider.model_info("owner/shy").private


@conforms(HUB, "upload_folder, weights by Xet, small files in the commit")
def test_upload_folder(api: HfApi, site: Site, tmp_path: Path):
    files = {**make.adapter(card="---\nlicense: mit\n---\n# Folder\n", seed=21), "notes/deep.txt": "ünï".encode(), "notes/empty.txt": b""}
    api.create_repo("owner/folder")
    before = len(site.requests())
    made = api.upload_folder(repo_id="owner/folder", folder_path=write(tmp_path / "in", files), commit_message="All of it", commit_description="At once.")
    assert any("/v1/shards" in line for line in site.requests(before)), "the weights came by Xet"
    assert made.commit_url == f"{site.url}/owner/folder/commit/{made.oid}"
    out = Path(api.snapshot_download("owner/folder", local_dir=tmp_path / "out"))
    assert {path: (out / path).read_bytes() for path in files} == files
    assert (api.list_repo_commits("owner/folder")[0].title, api.list_repo_commits("owner/folder")[0].message) == ("All of it", "At once.")
    again = api.upload_folder(repo_id="owner/folder", folder_path=tmp_path / "in")
    assert again.oid == made.oid and len(api.list_repo_commits("owner/folder")) == 1, "what is the same makes no commit"
    del_info = api.upload_folder(repo_id="owner/folder", folder_path=tmp_path / "in", delete_patterns="notes/*", allow_patterns="README.md")
    assert del_info.oid != made.oid and "notes/deep.txt" not in api.list_repo_files("owner/folder")


@conforms(HUB, "upload_file of an adapter's files, one after the other", note="it is an adapter as soon as config and weights are there")
@pytest.mark.parametrize("order", [("adapter_config.json", WEIGHTS), (WEIGHTS, "adapter_config.json")])
def test_file_by_file(api: HfApi, site: Site, order: tuple[str, str]):
    name, files = f"owner/by-file-{order[0].removeprefix('adapter_')}", make.adapter(seed=23)
    api.create_repo(name)
    api.upload_file(repo_id=name, path_in_repo=order[0], path_or_fileobj=files[order[0]])
    assert "peft" not in api.model_info(name).tags
    api.upload_file(repo_id=name, path_in_repo="notes.txt", path_or_fileobj=b"halfway")
    api.upload_file(repo_id=name, path_in_repo=order[1], path_or_fileobj=files[order[1]])
    assert {"peft", "lora"} <= set(api.model_info(name).tags)
    with pytest.raises(HfHubHTTPError, match="Upload both files"):
        api.delete_file(order[1], repo_id=name)


@conforms(HUB, "upload_file from bytes, a path or an open file (by LFS)")
def test_upload_file(api: HfApi, site: Site, tmp_path: Path):
    files = make.adapter(seed=22)
    api.create_repo("owner/single")
    folder = write(tmp_path / "in", files)
    before = len(site.requests())
    with (folder / WEIGHTS).open("rb") as weights:
        operations = [CommitOperationAdd(WEIGHTS, weights), CommitOperationAdd("adapter_config.json", files["adapter_config.json"])]
        api.create_commit(repo_id="owner/single", operations=operations, commit_message="By LFS")
    sent = site.requests(before)
    assert any("/info/lfs/objects/batch" in line for line in sent) and any(line.startswith("PUT /lfs/file/") for line in sent)
    assert not any("/v1/shards" in line for line in sent)
    api.upload_file(repo_id="owner/single", path_in_repo="notes.txt", path_or_fileobj=b"bytes")
    api.upload_file(repo_id="owner/single", path_in_repo="other.txt", path_or_fileobj=io.BytesIO(b"open"))
    out = Path(api.snapshot_download("owner/single", local_dir=tmp_path / "out"))
    assert (out / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert (out / "notes.txt").read_bytes() == b"bytes" and (out / "other.txt").read_bytes() == b"open"


@conforms(HUB, "create_commit: add, copy and delete files and folders")
def test_operations(api: HfApi, outsider: HfApi, site: Site, tmp_path: Path):
    site.upload("ops", seed=23)
    adds = [CommitOperationAdd(path, b"x") for path in ("a/one.txt", "a/two.txt", "b/three.txt", "four.txt")]
    api.create_commit(repo_id="owner/ops", operations=adds, commit_message="Four")
    operations = [
        CommitOperationDelete("a/", is_folder=True),
        CommitOperationDelete("four.txt"),
        CommitOperationCopy(WEIGHTS, "copy/first.safetensors"),
        CommitOperationCopy("b/three.txt", "copy/three.txt"),
    ]
    api.create_commit(repo_id="owner/ops", operations=operations, commit_message="All kinds")
    names = ["adapter_config.json", WEIGHTS, "b/three.txt", "copy/first.safetensors", "copy/three.txt"]
    assert sorted(api.list_repo_files("owner/ops")) == names
    out = Path(api.snapshot_download("owner/ops", local_dir=tmp_path))
    assert (out / "copy/first.safetensors").read_bytes() == make.adapter(seed=23)[WEIGHTS]
    with pytest.raises(RemoteEntryNotFoundError, match="to delete"):
        api.delete_file("nothing.txt", "owner/ops")
    with pytest.raises(RemoteEntryNotFoundError, match="to delete"):
        api.delete_folder("nowhere", "owner/ops")
    api.delete_folder("copy", "owner/ops")
    api.delete_files("owner/ops", ["*.txt"])
    assert sorted(api.list_repo_files("owner/ops")) == ["adapter_config.json", WEIGHTS]
    with pytest.raises(HfHubHTTPError) as error:
        outsider.delete_file(WEIGHTS, "owner/ops")
    assert status(error) == (403, "forbidden")


@conforms(HUB, "create_commit(parent_commit=...), 412 when it is not the newest")
def test_a_stale_parent(api: HfApi, site: Site):
    first = site.upload("moving")
    second = api.upload_file(repo_id="owner/moving", path_in_repo="n.txt", path_or_fileobj=b"1", parent_commit=first).oid
    with pytest.raises(HfHubHTTPError, match="has changed since") as error:
        api.upload_file(repo_id="owner/moving", path_in_repo="n.txt", path_or_fileobj=b"2", parent_commit=first)
    assert status(error) == (412, "parent-stale")
    assert api.upload_file(repo_id="owner/moving", path_in_repo="n.txt", path_or_fileobj=b"2", parent_commit=second[:10]).oid != second
    api.create_repo("owner/fresh")
    root = api.model_info("owner/fresh").sha
    made = api.upload_file(repo_id="owner/fresh", path_in_repo="README.md", path_or_fileobj=b"# x\n", parent_commit=root).oid
    with pytest.raises(HfHubHTTPError) as error:
        api.upload_file(repo_id="owner/fresh", path_in_repo="README.md", path_or_fileobj=b"# y\n", parent_commit=root)
    assert status(error) == (412, "parent-stale") and api.model_info("owner/fresh").sha == made


@conforms(HUB, "two commits at once to one repository: both land, or with a parent one gets 412")
def test_commits_at_once(site: Site):
    first = site.upload("busy")
    results: dict[str, object] = {}

    def send(name: str, parent: str | None) -> None:
        api = HfApi(endpoint=site.url, token=site.token)
        try:
            results[name] = api.upload_file(repo_id="owner/busy", path_in_repo=f"{name}.txt", path_or_fileobj=name.encode(), parent_commit=parent).oid
        except HfHubHTTPError as error:
            results[name] = error.response.status_code

    def together(names: list[str], parent: str | None) -> None:
        threads = [threading.Thread(target=send, args=(name, parent)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    api = HfApi(endpoint=site.url, token=site.token)
    together(["a", "b", "c"], None)
    assert {"a.txt", "b.txt", "c.txt"} <= set(api.list_repo_files("owner/busy")) and len(api.list_repo_commits("owner/busy")) == 4
    now = api.model_info("owner/busy").sha
    together(["d", "e"], now)
    assert sorted(str(results[name]) for name in ("d", "e")).count("412") == 1
    assert len(api.list_repo_commits("owner/busy")) == 5 and api.list_repo_commits("owner/busy")[-1].commit_id == first


@conforms(HUB, "create_branch, delete_branch, commits to a branch", note="branch and tag names have no slash")
def test_branches(api: HfApi, outsider: HfApi, site: Site, tmp_path: Path):
    first = site.upload("branchy")
    api.create_branch("owner/branchy", branch="dev")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_branch("owner/branchy", branch="dev")
    assert status(error) == (409, "ref-taken")
    api.create_branch("owner/branchy", branch="dev", exist_ok=True)
    other = make.adapter(seed=31, rank=8)
    made = api.upload_folder(repo_id="owner/branchy", folder_path=write(tmp_path / "in", other), revision="dev").oid
    again = api.upload_folder(repo_id="owner/branchy", folder_path=tmp_path / "in", revision="dev").oid
    assert again == made
    assert api.model_info("owner/branchy").sha == first and api.model_info("owner/branchy", revision="dev").sha == made
    assert api.model_info("owner/branchy", revision="refs/heads/dev").sha == made
    assert site.stack.call("GET", "/adapters/owner/branchy")["rank"] == 4, "pages and lists show main"
    out = Path(api.snapshot_download("owner/branchy", revision="dev", local_dir=tmp_path / "out"))
    assert (out / WEIGHTS).read_bytes() == other[WEIGHTS]
    api.create_branch("owner/branchy", branch="older", revision=first)
    refs = {b.name: b.target_commit for b in api.list_repo_refs("owner/branchy").branches}
    assert refs == {"main": first, "dev": made, "older": first}
    assert [c.commit_id for c in api.list_repo_commits("owner/branchy", revision="dev")] == [made, first]
    with pytest.raises(HfHubHTTPError) as error:
        outsider.create_branch("owner/branchy", branch="mine")
    assert status(error) == (403, "forbidden")
    api.delete_branch("owner/branchy", branch="dev")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("owner/branchy", revision="dev")
    assert api.model_info("owner/branchy", revision=made).sha == made
    with pytest.raises(HfHubHTTPError) as error:
        api.delete_branch("owner/branchy", branch="main")
    assert status(error) == (403, "branch-main")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(repo_id="owner/branchy", path_in_repo="n.txt", path_or_fileobj=b"1", revision="nowhere")


def test_a_bad_adapter_is_refused_on_every_branch(api: HfApi, site: Site):
    site.upload("guarded")
    api.create_branch("owner/guarded", branch="dev")
    with pytest.raises(BadRequestError, match="adapter_config"):
        api.upload_file(repo_id="owner/guarded", path_in_repo="adapter_config.json", path_or_fileobj=b"{", revision="dev")


def test_a_branch_of_an_adapter_without_files(api: HfApi, site: Site):
    api.create_repo("owner/seedling")
    api.create_branch("owner/seedling", branch="dev")
    assert api.model_info("owner/seedling", revision="dev").siblings == []
    made = api.upload_file(repo_id="owner/seedling", path_in_repo="README.md", path_or_fileobj=b"# x\n", revision="dev").oid
    assert api.model_info("owner/seedling", revision="dev").sha == made != api.model_info("owner/seedling").sha
    with pytest.raises(RevisionNotFoundError):
        api.create_tag("owner/seedling", tag="v1")


@conforms(HUB, "create_tag, delete_tag")
def test_tags(api: HfApi, site: Site):
    first = site.upload("tagged")
    api.create_tag("owner/tagged", tag="v1.0", tag_message="First")
    second = api.upload_file(repo_id="owner/tagged", path_in_repo="README.md", path_or_fileobj=b"# x\n").oid
    api.create_tag("owner/tagged", tag="v2.0", revision=second)
    assert {t.name: t.target_commit for t in api.list_repo_refs("owner/tagged").tags} == {"v1.0": first, "v2.0": second}
    assert api.model_info("owner/tagged", revision="v1.0").sha == first
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag("owner/tagged", tag="v1.0")
    assert status(error) == (409, "ref-taken")
    api.create_tag("owner/tagged", tag="v1.0", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="tags do not move"):
        api.upload_file(repo_id="owner/tagged", path_in_repo="n.txt", path_or_fileobj=b"1", revision="v1.0")
    api.delete_tag("owner/tagged", tag="v1.0")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("owner/tagged", tag="v1.0")
    for name in ("main", "a/b", "..", "-x", "x.lock", "deadbeef", "HEAD", "x" * 101, "refs/pr/1"):
        with pytest.raises(HfHubHTTPError) as error:
            api.create_tag("owner/tagged", tag=name)
        assert status(error)[1] in ("ref-invalid", "ref-taken")


@conforms(HUB, "validate-yaml: our card rules as errors and warnings")
def test_cards_are_checked_first(api: HfApi, site: Site):
    site.upload("carded")
    before = len(site.requests())
    with pytest.raises(ValueError, match=r"front matter of README\.md cannot be read"):
        api.upload_file(repo_id="owner/carded", path_in_repo="README.md", path_or_fileobj=b"---\na: [1\n---\n# x\n")
    assert [line.split()[1] for line in site.requests(before)] == ["/api/validate-yaml"]
    with pytest.warns(UserWarning, match="names no licence"):
        api.upload_file(repo_id="owner/carded", path_in_repo="README.md", path_or_fileobj=b"---\ntags: [a]\n---\n# x\n")
    with pytest.warns(UserWarning, match=r"ModelCard\.load will fail"):
        api.upload_file(repo_id="owner/carded", path_in_repo="README.md", path_or_fileobj=b"---\nlicense: mit\nmodel-index: 3\n---\n")


@pytest.mark.parametrize(
    "path, data, words",
    [
        ("pytorch_model.bin", b"\x80\x02", "pickles"),
        ("training_args.bin", b"\x80\x02", "pickles"),
        ("script.py", b"print(1)", "scripts"),
        ("../up.txt", b"x", "not allowed"),
        ("a\\b.txt", b"x", "backslash"),
    ],
)
def test_what_is_refused_is_refused_before_it_is_sent(site: Site, path: str, data: bytes, words: str):
    if not site.http("GET", "/api/models/owner/picky").is_success:
        site.upload("picky")
    answer = site.http("POST", "/api/models/owner/picky/preupload/main", json={"files": [{"path": path, "size": len(data), "sample": ""}]})
    assert answer.status_code == 400 and words in answer.json()["error"]


def test_the_client_shows_why_a_file_is_refused(api: HfApi, site: Site):
    site.upload("strict")
    with pytest.raises(BadRequestError, match=r"load the adapter with PEFT and save it again"):
        api.upload_file(repo_id="owner/strict", path_in_repo="adapter_model.bin", path_or_fileobj=b"\x80\x02")
    with pytest.raises(BadRequestError, match="safetensors"):
        api.upload_file(repo_id="owner/strict", path_in_repo=WEIGHTS, path_or_fileobj=b"not safetensors at all")
    assert len(api.list_repo_commits("owner/strict")) == 1


def test_bytes_are_not_had_by_knowing_their_hash(api: HfApi, outsider: HfApi, site: Site):
    """A private file must not come out through a commit that names its sha256."""
    site.upload("vault", private=True, seed=77)
    secret = make.adapter(seed=77)[WEIGHTS]
    sha256 = hashlib.sha256(secret).hexdigest()
    outsider.create_repo("stranger/thief")
    line = '{"key":"lfsFile","value":{"path":"x.safetensors","algo":"sha256","oid":"%s"}}\n'
    known, unknown = (
        site.http("POST", "/api/models/stranger/thief/commit/main", token=site.stranger, content=line % oid)
        for oid in (sha256, hashlib.sha256(b"?").hexdigest())
    )
    assert known.status_code == unknown.status_code == 400 and known.headers["X-Error-Code"] == unknown.headers["X-Error-Code"] == "object-missing"
    assert known.text.replace(sha256[:12], "") == unknown.text.replace(hashlib.sha256(b"?").hexdigest()[:12], "")
    body = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": sha256, "size": len(secret)}]}
    offer = site.http("POST", "/stranger/thief.git/info/lfs/objects/batch", token=site.stranger, json=body).json()["objects"][0]
    assert "upload" in offer["actions"], "it is not told that the bytes are here already"
    answer = site.http("POST", "/stranger/thief.git/info/lfs/verify", token=site.stranger, json={"oid": sha256, "size": len(secret)})
    assert answer.status_code == 404
    mine = site.http("POST", "/owner/vault.git/info/lfs/objects/batch", json=body).json()["objects"][0]
    assert "actions" not in mine, "its owner need not send it again"


@conforms(HUB, "CommitOperationCopy from another repository", "differs", "small files only: for weights the client itself asks for Xet downloads")
def test_a_copy_from_another_adapter(api: HfApi, outsider: HfApi, site: Site):
    site.upload("closed", private=True, seed=78)
    site.upload("open", seed=79)
    outsider.create_repo("stranger/copier")

    def copy(source: str, path: str, target: str) -> object:
        operation = CommitOperationCopy(path, target, src_repo_id=source, src_repo_type="model")
        return outsider.create_commit(repo_id="stranger/copier", operations=[operation], commit_message="Copy")

    for path in (WEIGHTS, "adapter_config.json"):
        with pytest.raises(RepositoryNotFoundError):
            copy("owner/closed", path, "x.json")
    copy("owner/open", "adapter_config.json", "other.json")
    assert list(outsider.list_repo_files("stranger/copier")) == ["other.json"]
    with pytest.raises(ValueError, match="has no xet hash"):
        copy("owner/open", WEIGHTS, "x.safetensors")
    value = {"path": "x.safetensors", "algo": "sha256", "oid": hashlib.sha256(make.adapter(seed=79)[WEIGHTS]).hexdigest()}
    line = {"key": "lfsFile", "value": value}
    assert site.http("POST", "/api/models/stranger/copier/commit/main", token=site.stranger, json=line).is_success, "who may read it may name it"


@conforms(HUB, "calls with a token of scope read, 403")
def test_a_token_that_may_only_read(site: Site):
    site.upload("readable")
    reader = HfApi(endpoint=site.url, token=site.reader)
    assert reader.model_info("owner/readable").id == "owner/readable"
    assert [e.path for e in reader.get_paths_info("owner/readable", ["adapter_config.json"])] == ["adapter_config.json"]
    with pytest.raises(HfHubHTTPError, match="may only read") as error:
        reader.upload_file(repo_id="owner/readable", path_in_repo="n.txt", path_or_fileobj=b"1")
    assert status(error) == (403, "scope-too-narrow")
