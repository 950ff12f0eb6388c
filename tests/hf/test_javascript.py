"""The JavaScript client under node, unmodified, and the file of it that the upload page loads."""

from pathlib import Path
from typing import Any

import pytest

from tests import make
from tests.hf import node
from tests.hf.conformance import conforms
from tests.hf.site import Site
from tests.hf.test_lfs import weights

JS = "@huggingface/hub 2.17.5"
REPO, LARGE, HIDDEN = "owner/js", "more.safetensors", "stranger/diary"
FILES = ["README.md", "adapter_config.json", "adapter_model.safetensors"]
NOT_FOUND = "There is no such adapter, or you may not see it."


class Trip:
    """What the client found, and the requests that it made."""

    def __init__(self, site: Site, folder: Path) -> None:
        for path, data in make.adapter(card="---\nlicense: mit\n---\n# Trip\n", seed=52).items():
            (folder / path).write_bytes(data)
        (folder / LARGE).write_bytes(weights(12_000_000, seed=4))
        site.shell("from hub.services import adapters\nadapters.create(actor=User.objects.get(username='stranger'), name='diary', private=True)")
        before = len(site.requests())
        self.found: dict[str, Any] = site.run("javascript/client.mjs", str(folder), REPO, LARGE, HIDDEN, python=node.node(), READ_TOKEN=site.reader)
        self.requests = site.requests(before)
        self.url = site.url


@pytest.fixture(scope="module")
def trip(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Trip:
    """One round trip for all tests of this file."""
    return Trip(site, tmp_path_factory.mktemp("js"))


@conforms(JS, "accessToken", "differs", note="the client takes only tokens that begin with `hf_`: put `hf_` before yours")
def test_tokens(trip: Trip):
    assert trip.found["whoami"] == "owner"
    assert trip.found["refused"]["bare token"] == ["TypeError", 0]


@conforms(JS, "createRepo(visibility), deleteRepo, repoExists")
def test_repositories(trip: Trip):
    assert trip.found["created"] == f"{trip.url}/{REPO}" and trip.found["info"]["private"]
    assert trip.found["again"] == ["HubApiError", 409, f"{REPO} exists already. Choose another name, or add a revision to that adapter."]
    assert trip.found["gone"] == [False, ["HubApiError", 404, NOT_FOUND]]


@conforms(JS, "createRepo(files, license), snapshotDownload")
def test_a_repository_that_begins_with_files(trip: Trip):
    assert trip.found["begun"] == [{"license": "mit"}, [["README.md", 21], ["empty.txt", 0]]]
    assert trip.found["empty"] == "" and trip.found["snapshot"] == ["README.md", "empty.txt"]


@conforms(JS, "uploadFiles: small files in the commit, weights by LFS")
def test_uploads(trip: Trip):
    assert trip.found["first"]["url"] == f"{trip.url}/{REPO}/commit/{trip.found['first']['oid']}"
    assert trip.found["same"] and all(trip.found["sums"].values()) and set(trip.found["sums"]) == {*FILES, LARGE}
    assert len([line for line in trip.requests if line.startswith("PUT /lfs/file/")]) == 1


@conforms(JS, "uploadFilesWithProgress, a file larger than LFS_PART_MB in parts")
def test_parts(trip: Trip):
    assert trip.found["phases"] == ["preuploading", "uploadingLargeFiles", "committing"]
    assert trip.found["states"] == {"hashing": 1, "uploading": 1}
    assert len([line for line in trip.requests if line.startswith("PUT /lfs/part/")]) == 3
    assert len([line for line in trip.requests if line.startswith("POST /lfs/complete/")]) == 1


@conforms(JS, "useXet: true", "differs", note="the hub offers this client LFS, and it follows")
def test_xet_is_not_offered(trip: Trip):
    assert trip.found["second"] and not [line for line in trip.requests if "xet" in line or "/v1/xorbs" in line]


@conforms(JS, "downloadFile (whole and by range), fileDownloadInfo, fileExists")
def test_downloads(trip: Trip):
    assert trip.found["range"] and trip.found["download"] == trip.found["files"][3][2]
    assert trip.found["exists"] == [True, False] and trip.found["old"] is False and trip.found["missing"] is None
    assert any(line.startswith(f"GET /{REPO}/resolve/main/{LARGE} 206") for line in trip.requests)


@conforms(JS, "listFiles, pathsInfo, listCommits, countCommits")
def test_trees(trip: Trip):
    assert [entry[:2] for entry in trip.found["files"]] == [["file", path] for path in [*FILES, LARGE]]
    assert [len(entry[3] or "") for entry in trip.found["files"]] == [0, 0, 64, 64]
    assert trip.found["paths"] == [LARGE] and trip.found["commits"] == ["Large", "Upload"]
    assert trip.found["count"] == 2


@conforms(JS, "modelInfo(additionalFields), listModels(search: query, owner, tags; sort, limit)")
def test_models(trip: Trip):
    info = trip.found["info"]
    assert (info["name"], info["author"], info["task"], info["cardData"]) == (REPO, "owner", "text-generation", {"license": "mit"})
    assert {"lora", "license:mit"} <= set(info["tags"]) and info["sha"] == trip.found["second"] and info["filePaths"] == [*FILES, LARGE]
    assert trip.found["listed"] == {"query": [REPO], "owner": [REPO], "tags": [REPO], "none": []} and trip.found["limited"] == 1


@conforms(JS, "parseSafetensorsMetadata")
def test_safetensors(trip: Trip):
    header = make.header(make.adapter(seed=52)["adapter_model.safetensors"])
    count = sum(tensor["shape"][0] * tensor["shape"][1] for name, tensor in header.items() if name != "__metadata__")
    assert trip.found["tensors"] == [8, {"F32": count}]


@conforms(JS, "commit (add, delete, parentCommit), deleteFile, createBranch, deleteBranch")
def test_changes(trip: Trip):
    assert trip.found["branch"] == [True, False]
    assert trip.found["left"] == [*FILES, "notes.txt"]
    status = trip.found["refused"]["stale parent"]
    assert status[:2] == ["HubApiError", 412] and "has changed since" in status[2]


@conforms(JS, "errors: HubApiError with the hub's sentence and status")
def test_errors(trip: Trip):
    refused = trip.found["refused"]
    assert refused["hidden from nobody"] == ["HubApiError", 401, NOT_FOUND]
    assert refused["hidden from the owner"] == ["HubApiError", 404, NOT_FOUND]
    assert refused["no token"] == ["HubApiError", 401, "Log in, or send an access token, to do this."]
    assert refused["bad token"][1] == 401 and "is not valid" in refused["bad token"][2]
    assert refused["read token"][1] == 403 and "may only read" in refused["read token"][2]
    assert refused["pickle"][1] == 400 and "can be Python pickles" in refused["pickle"][2]


def test_the_upload_page_loads_the_released_client(tmp_path: Path):
    assert node.BUNDLE.read_bytes() == node.bundle(tmp_path / "made.js"), "run: python -m tests.hf.node"
    assert node.LICENCE.read_text() == node.licence(), "run: python -m tests.hf.node"
    assert [path.name for path in node.VENDOR.glob("huggingface-hub-*.js")] == [node.BUNDLE.name]
    assert f"../vendor/{node.BUNDLE.name}" in (node.VENDOR.parent / "js" / "upload_worker.js").read_text()


def test_the_lock_names_no_host():
    lock = (node.FOLDER / "package-lock.json").read_text()
    assert "resolved" not in lock and "://" not in lock and f'"@huggingface/hub": "{node.VERSION}"' in lock and node.VERSION in JS
