"""The released client uploads by Xet to a hub under gunicorn, and what arrives is what was sent."""

import hashlib
import json
import os
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from safetensors.numpy import save

from tests import make, raw_weights
from tests.hf.site import Site
from tests.worker.stack import wait

SCRIPT = "xet_upload.py"
XORB = 67_000_000  # bytes, and a little more


@pytest.fixture(autouse=True)
def adapter(site: Site) -> None:
    """There is owner/chunked to upload to."""
    if site.http("GET", "/api/models/owner/chunked").status_code == 404:
        site.stack.call("POST", "/adapters", json={"name": "chunked"})


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def xorbs_sent(site: Site, since: int = 0) -> int:
    return sum("/v1/xorbs/" in line and line.endswith(" 200") for line in site.requests(since))


def check(site: Site, *paths: Path) -> int:
    """Upload files, hold that each became a blob with its bytes and that nothing else was left, and return how many xorbs it took."""
    before, pending = len(site.requests()), site.pending()
    sums = [sha256_of(path) for path in paths]
    assert site.run(SCRIPT, *map(str, paths)) == sums
    assert [sha256_of(site.blob(sha256)) for sha256 in sums] == sums
    assert site.pending() == pending
    return xorbs_sent(site, before)


def test_random_bytes_of_two_xorbs(site: Site, tmp_path: Path):
    assert check(site, write(tmp_path, "random.bin", os.urandom(XORB + 9_000_000))) == 2
    assert site.memory() < 300


def test_zeros(site: Site, tmp_path: Path):
    assert check(site, write(tmp_path, "zeros.bin", bytes(60_000_000))) == 1


def test_bytes_that_can_be_compressed(site: Site, tmp_path: Path):
    check(site, write(tmp_path, "text.bin", b"".join(b"line %d of a text that repeats itself\n" % number for number in range(400_000))))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_tensors(site: Site, tmp_path: Path, kind: str):
    values = np.random.default_rng(0).normal(0, 0.02, (1500, 1000)).astype(np.float32)
    # bfloat16 is the upper half of float32
    content = {"F32": values, "F16": values.astype(np.float16), "BF16": values.view(np.uint16)[:, 1::2]}[kind].tobytes()
    weights = raw_weights.write({"w": {"dtype": kind, "shape": [1500, 1000], "data_offsets": [0, len(content)]}}, content)
    check(site, write(tmp_path, "adapter_model.safetensors", weights))


def test_files_that_share_content(site: Site, tmp_path: Path):
    shared, other = os.urandom(4_000_000), os.urandom(1_000_000)
    files = {"a": shared + other, "b": other + shared, "c": shared[:2_000_000] + other + shared[2_000_000:], "d": shared + other}
    check(site, *(write(tmp_path, name, content) for name, content in files.items()))


@pytest.mark.parametrize("size", [1, 3, 8_193, 131_073])
def test_small_files(site: Site, tmp_path: Path, size: int):
    check(site, write(tmp_path, "small.bin", os.urandom(size)))


def test_an_upload_cut_in_the_middle_goes_on_where_it_was(site: Site, tmp_path: Path):
    path = write(tmp_path, "long.bin", os.urandom(4 * XORB + 20_000_000))
    count, before, pending = 5, len(site.requests()), len(site.pending())
    process = site.start(SCRIPT, str(path))
    wait(lambda: xorbs_sent(site, before) > 0, 60)
    process.kill()
    process.communicate()
    wait(lambda: not any(file.suffix == ".part" for file in site.pending()), 30)
    kept = len(site.pending()) - pending
    assert 0 < kept < count
    assert not site.blob(sha256_of(path)).exists()
    before = len(site.requests())
    assert site.run(SCRIPT, str(path)) == [sha256_of(path)]
    assert sha256_of(site.blob(sha256_of(path))) == sha256_of(path)
    assert xorbs_sent(site, before) == count - kept


def large_adapter(seed: int) -> dict[str, bytes]:
    """An adapter of 88 MB, which takes two xorbs."""
    random, rank, width = np.random.default_rng(seed), 64, 4096
    tensors = {}
    for layer in range(56):
        prefix = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{prefix}.lora_A.weight"] = random.normal(0, 0.02, (rank, width)).astype(np.float16)
        tensors[f"{prefix}.lora_B.weight"] = random.normal(0, 0.02, (width, rank)).astype(np.float32)
    config = json.dumps(make.config(rank=rank, targets=["q_proj"])).encode()
    return {"adapter_config.json": config, "adapter_model.safetensors": save(tensors), "README.md": b"---\nlicense: mit\n---\n# Large\n"}


def test_a_folder_is_uploaded_committed_and_downloaded(site: Site, api: HfApi, tmp_path: Path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name, content in large_adapter(0).items():
        write(folder, name, content)
    api.create_repo("owner/by-xet")
    before = len(site.requests())
    commit = api.upload_folder(repo_id="owner/by-xet", folder_path=folder)
    assert xorbs_sent(site, before) == 2
    assert not any("/lfs/" in line for line in site.requests(before))
    for path in folder.iterdir():
        found = Path(api.hf_hub_download("owner/by-xet", path.name, cache_dir=tmp_path / "cache", revision=commit.oid))
        assert sha256_of(found) == sha256_of(path)

    before = len(site.requests())
    assert api.upload_folder(repo_id="owner/by-xet", folder_path=folder).oid == commit.oid
    assert xorbs_sent(site, before) == 0


def test_two_adapters_that_share_weights_and_a_changed_tensor(site: Site, api: HfApi, tmp_path: Path):
    weights = bytearray(make.adapter(rank=32)["adapter_model.safetensors"])
    for number, name in enumerate(("first", "second")):
        api.create_repo(f"owner/{name}-of-two")
        weights[-1] ^= number
        files = {**make.adapter(rank=32), "adapter_model.safetensors": bytes(weights)}
        api.create_commit(f"owner/{name}-of-two", [CommitOperationAdd(path, content) for path, content in files.items()], commit_message="Upload")
        found = api.hf_hub_download(f"owner/{name}-of-two", "adapter_model.safetensors", cache_dir=tmp_path)
        assert Path(found).read_bytes() == weights


def test_a_stranger_cannot_upload(site: Site, outsider: HfApi):
    answer = httpx.get(f"{site.url}/api/models/owner/chunked/xet-write-token/main", headers={"Authorization": f"Bearer {outsider.token}"})
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (403, "forbidden")


def test_a_commit_cannot_name_what_only_another_has_sent(site: Site, outsider: HfApi, tmp_path: Path):
    path = write(tmp_path, "adapter_model.safetensors", make.adapter(seed=99)["adapter_model.safetensors"])
    check(site, path)
    outsider.create_repo("stranger/thief", exist_ok=True)
    line = {"key": "lfsFile", "value": {"path": path.name, "algo": "sha256", "oid": sha256_of(path), "size": path.stat().st_size}}
    body = "\n".join(map(json.dumps, ({"key": "header", "value": {"summary": "Steal"}}, line)))
    answer = site.http("POST", "/api/models/stranger/thief/commit/main", token=str(outsider.token), content=body.encode())
    assert 400 <= answer.status_code < 500, answer.text
    assert outsider.list_repo_files("stranger/thief") == []
