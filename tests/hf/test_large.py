"""A file of 300 MB by every way up and the way down: byte for byte, and without memory of the site's process that grows with it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import HfApi

from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"
SIZE = 300_000_000
BLOCK = 10_000_000
GROWTH = 100  # MB
NAME = "model.safetensors"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sound weights that cannot be compressed."""
    path = tmp_path_factory.mktemp("large") / NAME
    header = json.dumps({"weight": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}).encode()
    header += b" " * (-len(header) % 8)
    random = np.random.default_rng()
    with path.open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for _ in range(SIZE // BLOCK):
            out.write(random.bytes(BLOCK))
    yield path
    path.unlink()


@pytest.fixture
def other(large: Path) -> Path:
    """The same file with another last byte, so that nobody has it yet."""
    with large.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([(last + 1) % 256]))
    return large


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check(site: Site, api: HfApi, repo: str, path: Path, before: int) -> None:
    """Hold that the site took the file in little memory, and that it comes back as it was; then make room."""
    assert site.memory() - before < GROWTH
    sha256, cache = sha256_of(path), path.parent / "cache"
    assert sha256_of(site.blob(sha256)) == sha256
    before = site.forget_peak()
    found = Path(api.hf_hub_download(repo, NAME, cache_dir=cache)).resolve()
    assert sha256_of(found) == sha256
    assert site.memory() - before < GROWTH
    found.unlink()
    site.blob(sha256).unlink()


@conforms(HUB, "upload_file and hf_hub_download of 300 MB", "works", "by Xet, by LFS in one piece and in parts; the memory of the server does not grow")
def test_by_xet(site: Site, api: HfApi, other: Path):
    api.create_repo("owner/large-xet")
    before, since = site.forget_peak(), len(site.requests())
    api.upload_file(repo_id="owner/large-xet", path_in_repo=NAME, path_or_fileobj=other)
    assert sum("/v1/xorbs/" in line for line in site.requests(since)) >= SIZE // 67_200_000
    check(site, api, "owner/large-xet", other, before)


def test_by_lfs_in_parts(site: Site, api: HfApi, other: Path):
    api.create_repo("owner/large-parts")
    before, since = site.forget_peak(), len(site.requests())
    with other.open("rb") as file:
        api.upload_file(repo_id="owner/large-parts", path_in_repo=NAME, path_or_fileobj=file)
    assert sum("/lfs/part/" in line for line in site.requests(since)) > SIZE // 5_000_000
    check(site, api, "owner/large-parts", other, before)


def test_by_lfs_in_one_piece(site: Site, api: HfApi, other: Path):
    api.create_repo("owner/large-whole")
    before, known = site.forget_peak(), {"oid": sha256_of(other), "size": other.stat().st_size}
    asked = {"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256", "objects": [known]}
    link = site.http("POST", "/owner/large-whole.git/info/lfs/objects/batch", json=asked).json()["objects"][0]["actions"]["upload"]
    assert "header" not in link
    with other.open("rb") as file:
        assert httpx.put(link["href"], content=file, headers={"Content-Length": str(known["size"])}, timeout=120).status_code == 200
    line = {"key": "lfsFile", "value": {"path": NAME, "algo": "sha256", **known}}
    assert site.http("POST", "/api/models/owner/large-whole/commit/main", json=line).status_code == 200
    check(site, api, "owner/large-whole", other, before)
