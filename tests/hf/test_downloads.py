"""What clients download: single files, snapshots, ranges, after a cut, and how downloads are counted."""

import hashlib
import http.client
import io
import re
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError
from safetensors.numpy import save

from tests import make
from tests.hf.conformance import conforms
from tests.hf.proxy import CuttingProxy
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"
WEIGHTS = "adapter_model.safetensors"
FILES = make.adapter(card="# Adds\n\nAdds.\n", seed=11)


@pytest.fixture(scope="module")
def adds(site: Site) -> str:
    """A public adapter; the sha of its only revision."""
    return site.upload("adds", card="# Adds\n\nAdds.\n", seed=11)


@pytest.fixture(scope="module")
def big(site: Site) -> bytes:
    """The weights of owner/big, of 25 MB."""
    weights = large_weights(25_000_000)
    files = {"adapter_config.json": make.adapter()["adapter_config.json"], "other.safetensors": weights, WEIGHTS: make.adapter()[WEIGHTS]}
    site.stack.call("POST", "/adapters", json={"name": "big"})
    site.stack.call("POST", "/adapters/owner/big/commits", files=[("files", (path, data)) for path, data in files.items()])
    return weights


def large_weights(size: int, seed: int = 0) -> bytes:
    """Sound safetensors with about `size` bytes that do not compress."""
    return save({"weight": np.random.default_rng(seed).standard_normal(size // 4, dtype=np.float32)})


@conforms(HUB, "hf_hub_download")
def test_one_file(api: HfApi, cache: Path, adds: str):
    for name, data in FILES.items():
        path = Path(api.hf_hub_download("owner/adds", name, cache_dir=cache))
        assert path.read_bytes() == data
        assert path.parent.name == adds


def test_a_cached_file_is_asked_for_and_not_sent_again(api: HfApi, site: Site, cache: Path, adds: str):
    api.hf_hub_download("owner/adds", WEIGHTS, cache_dir=cache)
    before = len(site.requests())
    api.hf_hub_download("owner/adds", WEIGHTS, cache_dir=cache)
    assert [line.split()[0] for line in site.requests(before)] == ["HEAD"]


def test_a_connection_outlives_the_pause_a_client_may_make(site: Site):
    """Clients keep a connection for five seconds. A site that closed it first would cut off whoever asks at that moment."""
    with closing(http.client.HTTPConnection("127.0.0.1", site.stack.port, timeout=30)) as connection:
        for pause in (0, 6):
            time.sleep(pause)
            connection.request("GET", "/healthz")
            local = connection.sock.getsockname()
            assert connection.getresponse().read()
            assert connection.sock and connection.sock.getsockname() == local, "the same connection"


@conforms(HUB, "get_hf_file_metadata")
def test_the_headers(site: Site, api: HfApi, adds: str):
    sha256 = hashlib.sha256(FILES[WEIGHTS]).hexdigest()
    found = get_hf_file_metadata(hf_hub_url("owner/adds", WEIGHTS, endpoint=site.url), token=site.token)
    assert (found.commit_hash, found.etag, found.size, found.xet_file_data) == (adds, sha256, len(FILES[WEIGHTS]), None)
    head = site.http("HEAD", f"/owner/adds/resolve/main/{WEIGHTS}", token="")
    assert head.content == b"" and head.headers["X-Repo-Commit"] == adds and head.headers["Accept-Ranges"] == "bytes"
    assert head.headers["X-Linked-Etag"] == head.headers["ETag"] == f'"{sha256}"' and head.headers["X-Linked-Size"] == str(len(FILES[WEIGHTS]))
    assert re.fullmatch("[0-9a-f]{32}", head.headers["X-Request-Id"])
    small = site.http("HEAD", "/owner/adds/resolve/main/README.md", token="")
    assert "X-Linked-Etag" not in small.headers and small.headers["ETag"] and small.headers["Content-Length"] == str(len(FILES["README.md"]))
    again = site.http("GET", "/owner/adds/resolve/main/README.md", headers={"If-None-Match": small.headers["ETag"]})
    assert again.status_code == 304 and again.headers["X-Repo-Commit"] == adds


@conforms(HUB, "snapshot_download(revision = branch, tag or sha; allow_patterns, local_dir)")
def test_snapshots(api: HfApi, site: Site, tmp_path: Path):
    first = site.upload("snaps")
    api.create_tag("owner/snaps", tag="v1")
    api.create_branch("owner/snaps", branch="dev")
    second = api.upload_file(repo_id="owner/snaps", path_in_repo="README.md", path_or_fileobj=b"# Two\n").oid
    for revision, sha in (("main", second), ("v1", first), ("dev", first), (first, first), (second, second)):
        folder = Path(api.snapshot_download("owner/snaps", revision=revision, cache_dir=tmp_path / revision))
        assert folder.name == sha and (folder / "README.md").exists() == (sha == second)
        assert (folder / WEIGHTS).read_bytes() == make.adapter()[WEIGHTS]
    folder = Path(api.snapshot_download("owner/snaps", allow_patterns="*.json", cache_dir=tmp_path / "some"))
    assert [p.name for p in folder.iterdir()] == ["adapter_config.json"]
    folder = Path(api.snapshot_download("owner/snaps", local_dir=tmp_path / "local"))
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == ["README.md", "adapter_config.json", WEIGHTS]


def test_a_snapshot_of_an_adapter_without_files(api: HfApi, tmp_path: Path):
    api.create_repo("owner/hollow")
    assert [p.name for p in Path(api.snapshot_download("owner/hollow", local_dir=tmp_path / "hollow")).iterdir()] == [".cache"]


@conforms(HUB, "hf_hub_download, resumed by Range after a cut")
def test_a_download_resumes_after_a_cut(site: Site, big: bytes, cache: Path):
    with CuttingProxy(site.url, matches=b"GET /owner/big/resolve", after=15_000_000) as proxy:
        before = len(site.requests())
        path = Path(HfApi(endpoint=proxy.url, token=site.token).hf_hub_download("owner/big", "other.safetensors", cache_dir=cache))
        assert proxy.cuts == 1
    assert path.read_bytes() == big
    gets = [line for line in site.requests(before) if line.startswith("GET")]
    assert [line.split()[-1] for line in gets] == ["200", "206"]


@pytest.mark.parametrize(
    "given, status, span",
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=100-", 206, (100, None)),
        ("bytes=-5", 206, (-5, None)),
        ("bytes=0-99999999999", 206, (0, None)),
        ("bytes=99999999-", 416, None),
        ("bytes=5-2", 200, (0, None)),
        ("bytes=a-b", 200, (0, None)),
        ("bytes=0-1,5-6", 200, (0, None)),
        ("lines=1-2", 200, (0, None)),
        ("bytes=-0", 416, None),
        ("bytes=" + "9" * 40 + "-", 200, (0, None)),
    ],
)
def test_ranges(site: Site, adds: str, given: str, status: int, span: tuple[int, int | None] | None):
    found = site.http("GET", f"/owner/adds/resolve/main/{WEIGHTS}", headers={"Range": given})
    assert found.status_code == status and found.headers["X-Repo-Commit"] == adds
    if span is not None:
        assert found.content == FILES[WEIGHTS][span[0] : span[1]]
    else:
        assert found.headers["Content-Range"] == f"bytes */{len(FILES[WEIGHTS])}"


@conforms(HUB, "HfApi.parse_safetensors_file_metadata")
def test_safetensors_metadata(api: HfApi, adds: str):
    found = api.parse_safetensors_file_metadata("owner/adds", WEIGHTS)
    assert set(found.tensors) == set(make.tensors())


@conforms(HUB, "HfFileSystem (ls, glob, open with ranges, write), ModelCard.load, push_to_hub, metadata_update")
def test_higher_levels(site: Site, adds: str):
    site.upload("levels", card="---\nlicense: mit\n---\n# Levels\n", seed=4)
    found = site.run("client_levels.py", "owner/levels")
    expected = make.adapter(seed=4)[WEIGHTS]
    assert found["ls"] == ["owner/levels/README.md", "owner/levels/adapter_config.json", f"owner/levels/{WEIGHTS}"]
    assert found["glob"] == [f"owner/levels/{WEIGHTS}"]
    assert found["range"] == expected[1000:2000].hex()
    assert found["card"] == "mit" and found["pushed"] == "apache-2.0" and found["updated"] == ["digits"]
    assert found["written"] == "written through the file system"


def downloads(site: Site, name: str) -> int:
    return int(site.http("GET", f"/api/models/owner/{name}?expand=downloads").json()["downloads"])


@conforms(HUB, "download counts", "differs", "GETs of weights, once a client, adapter and day; a HEAD or a cached file does not count")
def test_download_counts(site: Site, tmp_path: Path):
    site.upload("counted")
    owner, stranger, nobody = (HfApi(endpoint=site.url, token=token) for token in (site.token, site.stranger, False))
    address = hf_hub_url("owner/counted", WEIGHTS, endpoint=site.url)
    for _ in range(3):
        get_hf_file_metadata(address, token=site.token)
    owner.hf_hub_download("owner/counted", "adapter_config.json", cache_dir=tmp_path / "c")
    assert downloads(site, "counted") == 0
    for number in range(2):
        owner.hf_hub_download("owner/counted", WEIGHTS, cache_dir=tmp_path / str(number))
        owner.hf_hub_download("owner/counted", WEIGHTS, cache_dir=tmp_path / str(number))
        assert downloads(site, "counted") == 1
    stranger.snapshot_download("owner/counted", cache_dir=tmp_path / "s")
    nobody.snapshot_download("owner/counted", cache_dir=tmp_path / "n")
    assert downloads(site, "counted") == 3
    site.http("GET", f"/owner/counted/resolve/main/{WEIGHTS}", token="", headers={"Range": "bytes=100-200"})
    assert downloads(site, "counted") == 3


def test_raw_is_the_same(site: Site, adds: str):
    assert site.http("GET", "/owner/adds/raw/main/README.md").content == FILES["README.md"]
    assert site.http("GET", "/api/models/owner/adds/resolve/main/README.md").content == FILES["README.md"]


def test_files_of_a_folder(api: HfApi, site: Site, cache: Path):
    site.upload("foldered")
    api.upload_file(repo_id="owner/foldered", path_in_repo="deep/down/ä b.md", path_or_fileobj=io.BytesIO(b"# x\n"))
    assert Path(api.hf_hub_download("owner/foldered", "deep/down/ä b.md", cache_dir=cache)).read_bytes() == b"# x\n"
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("owner/foldered", "deep/down", cache_dir=cache)
