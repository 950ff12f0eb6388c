"""The `hf` command, unmodified."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import make
from tests.hf.conformance import conforms
from tests.hf.site import Site

CLI = "hf 2.4"
FILES = make.adapter(card="---\nlicense: mit\n---\n# By command\n", seed=41)


class Command:
    """`hf` with a home of its own."""

    def __init__(self, site: Site, home: Path, token: str | None = None, python: str = sys.executable) -> None:
        self.program = str(Path(python).parent / "hf")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        self.env |= {"HF_ENDPOINT": site.url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "NO_COLOR": "1"}
        self.env |= {"HF_TOKEN": token} if token else {}

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run([self.program, *arguments], env=self.env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == status, f"hf {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def hf(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command with the owner's token in the environment."""
    return Command(site, tmp_path_factory.mktemp("hf"), site.token)


@conforms(CLI, "hf auth login --token, hf auth whoami, hf auth logout")
def test_login(site: Site, tmp_path: Path):
    hf = Command(site, tmp_path)
    hf("auth", "login", "--token", site.token)
    assert "owner" in hf("auth", "whoami")
    hf("auth", "logout")
    assert "Invalid" in Command(site, tmp_path / "other")("auth", "login", "--token", "hf_wrong", status=1)


@conforms(CLI, "hf upload, hf download, hf repos create/tag/branch/delete, hf models ls/info/card")
def test_the_way_of_an_adapter(hf: Command, site: Site, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path, data in FILES.items():
        (folder / path).write_bytes(data)
    assert "owner/by-command" in hf("repos", "create", "by-command")
    assert "owner/by-command" in hf("upload", "owner/by-command", str(folder), ".", "--commit-message", "By command")
    hf("upload", "owner/by-command", str(folder / "README.md"), "docs/copy.md")
    hf("download", "owner/by-command", "--local-dir", str(tmp_path / "out"))
    assert {path: (tmp_path / "out" / path).read_bytes() for path in FILES} == FILES and (tmp_path / "out/docs/copy.md").exists()
    assert hf("download", "owner/by-command", "README.md", "--quiet").strip().endswith("README.md")
    hf("repos", "tag", "create", "owner/by-command", "v1")
    assert "v1" in hf("repos", "tag", "list", "owner/by-command")
    hf("repos", "branch", "create", "owner/by-command", "dev")
    hf("upload", "owner/by-command", str(folder), ".", "--revision", "new-branch")
    assert site.http("GET", "/api/models/owner/by-command/revision/new-branch").is_success
    assert "owner/by-command" in hf("models", "ls", "--author", "owner", "--filter", "peft", "--search", "by-command", "--quiet")
    assert "By command" in hf("models", "card", "owner/by-command")
    assert json.loads(hf("models", "info", "owner/by-command", "--format", "json"))["id"] == "owner/by-command"
    hf("repos", "delete", "owner/by-command", "--yes")
    assert site.http("GET", "/api/models/owner/by-command").status_code == 404


def test_a_refused_upload_says_why(hf: Command, tmp_path: Path):
    (tmp_path / "model.bin").write_bytes(b"\x80\x02")
    assert "load the adapter with PEFT and save it again" in hf("upload", "owner/pickled", str(tmp_path), ".", status=1)
