"""The same round trip with every generation of the Python client, each in a virtual environment of its own."""

import sys
from pathlib import Path

import pytest

from tests import make
from tests.hf import old_clients
from tests.hf.conformance import conforms
from tests.hf.site import Site

# What carries the weights of each generation.
BY_XET, BY_LFS = "/v1/shards", "PUT /lfs/file/"
CLIENTS = {"0.36.2": BY_LFS, "1.19.0": None, "1.33.0": BY_XET, "2.4.0": BY_XET}


@conforms("huggingface_hub 0.36.2, 1.19.0, 1.33.0, 2.4.0", "a round trip: create, upload, download, list, tag, branch, copy, delete, errors")
@pytest.mark.parametrize("version", CLIENTS)
def test_round_trip(site: Site, tmp_path: Path, version: str):
    for path, data in make.adapter(card="---\nlicense: mit\n---\n# Trip\n", seed=51).items():
        (tmp_path / path).write_bytes(data)
    python = sys.executable if version == "2.4.0" else old_clients.python(version)
    repo = f"owner/trip-{version.replace('.', '-')}"
    before = len(site.requests())
    found = site.run("client_roundtrip.py", str(tmp_path), repo, python=python, HF_HOME=str(tmp_path.parent / f"home-{version}"))
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "copy.safetensors"]
    assert found == {
        "version": version,
        "name": "owner",
        "url": [repo, repo],
        "same again": True,
        "pulled": True,
        "by tag": True,
        "byte-exact": True,
        "files": names,
        "tree": names,
        "info": ["text-generation", True],
        "listed": [repo],
        "card": "mit",
        "branch": [True, False],
        "refs": [["main", "dev"], ["v1"]],
        "commits": ["Tidy up", "More", "Upload"],
        "errors": ["RepositoryNotFoundError", "RevisionNotFoundError", found["errors"][2], "HfHubHTTPError", "BadRequestError"],
        "gone": True,
    }
    assert found["errors"][2] in ("EntryNotFoundError", "RemoteEntryNotFoundError")
    carried = CLIENTS[version]
    assert carried is None or any(carried in line for line in site.requests(before))
