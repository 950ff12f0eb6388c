"""Uploads by LFS: whole and in parts, begun again, cut off, and without memory that grows with the file."""

import hashlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from safetensors.numpy import save

from tests.hf.conformance import conforms
from tests.hf.proxy import CuttingProxy
from tests.hf.site import Site

pytestmark = [pytest.mark.filterwarnings("ignore:Use 'content")]
HUB = "huggingface_hub 2.4"
PART = 5_000_000


def left(site: Site) -> list[Path]:
    """What is under way, but for Xet uploads of other tests, which wait to be taken up again."""
    return [path for path in site.pending() if "xet" not in path.parts]


def weights(size: int, seed: int = 0) -> bytes:
    """Sound safetensors of about this size."""
    return save({"weight": np.random.default_rng(seed).standard_normal(size // 4, dtype=np.float32)})


def batch(site: Site, name: str, data: bytes, **more: Any) -> Any:
    """Ask where to send an object."""
    body = {"operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": [{"oid": oid(data), "size": len(data)}], **more}
    answer = site.http("POST", f"/owner/{name}.git/info/lfs/objects/batch", json=body)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/vnd.git-lfs+json"
    return answer.json()["objects"][0]


def oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def commit(site: Site, name: str, path: str, data: bytes) -> httpx.Response:
    return site.http(
        "POST", f"/api/models/owner/{name}/commit/main", json={"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid(data), "size": len(data)}}
    )


@conforms(HUB, "LFS multipart (an open file larger than LFS_PART_MB)")
def test_parts(api: HfApi, site: Site, tmp_path: Any):
    data = weights(12_000_000)
    site.upload("in-parts")
    before = len(site.requests())
    operation = CommitOperationAdd("more.safetensors", io.BytesIO(data))
    api.create_commit(repo_id="owner/in-parts", operations=[operation], commit_message="In parts")
    sent = site.requests(before)
    assert sum("/lfs/part/" in line for line in sent) == math.ceil(len(data) / PART) == 3 and any("/lfs/complete/" in line for line in sent)
    assert site.blob(oid(data)).read_bytes() == data and not left(site)
    again = batch(site, "in-parts", data)
    assert "actions" not in again, "what is here is not sent again"


def test_what_was_sent_but_not_committed_is_not_visible(api: HfApi, site: Site):
    data = weights(10_000, seed=1)
    site.upload("halfway")
    action = batch(site, "halfway", data)["actions"]
    assert httpx.put(action["upload"]["href"], content=data).status_code == 200
    assert site.http("POST", "/owner/halfway.git/info/lfs/verify", json={"oid": oid(data), "size": len(data)}).status_code == 200
    assert sorted(api.list_repo_files("owner/halfway")) == ["adapter_config.json", "adapter_model.safetensors"]
    assert "actions" not in batch(site, "halfway", data), "an upload that is begun again is cheap"
    assert commit(site, "halfway", "x.safetensors", data).status_code == 200
    assert "x.safetensors" in api.list_repo_files("owner/halfway")


def test_an_upload_cut_off_is_sent_again_by_the_client(site: Site):
    data = weights(4_000_000, seed=2)
    site.upload("cut")
    with CuttingProxy(site.url, matches=b"PUT /lfs/file/", after=1_500_000, up=True) as proxy:
        api = HfApi(endpoint=proxy.url, token=site.token)
        api.create_commit(repo_id="owner/cut", operations=[CommitOperationAdd("x.safetensors", io.BytesIO(data))], commit_message="Cut")
        assert proxy.cuts == 1
    assert site.blob(oid(data)).read_bytes() == data and not left(site)


def test_a_part_cut_off_is_sent_again_by_the_client(site: Site):
    data = weights(11_000_000, seed=3)
    site.upload("cut-part")
    with CuttingProxy(site.url, matches=b"PUT /lfs/part/", after=7_000_000, up=True) as proxy:
        api = HfApi(endpoint=proxy.url, token=site.token)
        api.create_commit(repo_id="owner/cut-part", operations=[CommitOperationAdd("x.safetensors", io.BytesIO(data))], commit_message="Cut")
        assert proxy.cuts == 1
    assert site.blob(oid(data)).read_bytes() == data and not left(site)


def test_a_commit_cut_off_leaves_nothing(site: Site, api: HfApi):
    site.upload("cut-commit")
    before = api.model_info("owner/cut-commit").sha
    line = b'{"key":"file","value":{"path":"n.txt","content":"eA==","encoding":"base64"}}\n'
    with CuttingProxy(site.url, matches=b"POST /api/models", after=300, up=True) as proxy, pytest.raises(httpx.HTTPError):
        httpx.post(f"{proxy.url}/api/models/owner/cut-commit/commit/main", content=line * 20, headers={"Authorization": f"Bearer {site.token}"})
    assert api.model_info("owner/cut-commit").sha == before and not left(site)


def test_a_body_of_unknown_length(site: Site, api: HfApi):
    site.upload("chunked")
    line = b'{"key":"file","value":{"path":"n.txt","content":"eA==","encoding":"base64"}}\n'

    def pieces() -> Iterator[bytes]:
        yield line[:20]
        yield line[20:]

    assert site.http("POST", "/api/models/owner/chunked/commit/main", content=pieces()).status_code == 200
    data = weights(20_000, seed=4)
    action = batch(site, "chunked", data)["actions"]["upload"]
    assert httpx.put(action["href"], content=iter([data[:5000], data[5000:]])).status_code == 200
    short = weights(20_000, seed=5)
    action = batch(site, "chunked", short)["actions"]["upload"]
    assert httpx.put(action["href"], content=iter([short[:5000]])).status_code == 400
    assert not left(site) and not site.blob(oid(short)).exists()


def test_memory_does_not_grow_with_the_file(site: Site):
    site.upload("heavy")
    data = weights(160_000_000, seed=6)
    before = site.memory()
    whole = batch(site, "heavy", data, transfers=["basic"])["actions"]["upload"]
    assert "header" not in whole and httpx.put(whole["href"], content=data, timeout=120).status_code == 200
    other = weights(160_000_000, seed=7)
    parts = batch(site, "heavy", other)["actions"]["upload"]
    urls = sorted((name, url) for name, url in parts["header"].items() if name.isdigit())
    tags = [httpx.put(url, content=other[n * PART : (n + 1) * PART], timeout=60).headers["ETag"] for n, (_, url) in enumerate(urls)]
    done = httpx.post(parts["href"], json={"oid": oid(other), "parts": [{"partNumber": n, "etag": tag} for n, tag in enumerate(tags, 1)]}, timeout=120)
    assert done.status_code == 200
    for number, sent in enumerate((data, other)):
        answer = commit(site, "heavy", f"{number}.safetensors", sent)
        assert answer.status_code == 200, answer.text
    with httpx.stream("GET", f"{site.url}/owner/heavy/resolve/main/0.safetensors") as answer:
        assert sum(len(piece) for piece in answer.iter_raw()) == len(data)
    assert site.memory() - before < 60, f"{site.memory()} MB, {before} before"
