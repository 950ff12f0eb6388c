"""The `hf` command around repositories: settings, lists, moves, copies, deletions."""

import json
from pathlib import Path

import pytest

from tests.hf.conformance import conforms
from tests.hf.site import Site
from tests.hf.test_cli import Command


@pytest.fixture(scope="module")
def hf(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command with the owner's token in the environment."""
    return Command(site, tmp_path_factory.mktemp("hf"), site.token)


@conforms("hf 2.4", "hf repos settings (--gated, --private), hf repos ls, hf models ls --gated")
def test_settings_and_lists(hf: Command, site: Site):
    site.upload("cli-gated")
    hf("repos", "settings", "owner/cli-gated", "--gated", "manual")
    assert json.loads(hf("models", "info", "owner/cli-gated", "--format", "json"))["gated"] == "manual"
    assert "owner/cli-gated" in hf("models", "ls", "--gated", "--search", "cli-", "--quiet")
    assert "owner/cli-gated" not in hf("models", "ls", "--no-gated", "--search", "cli-", "--quiet")
    hf("repos", "settings", "owner/cli-gated", "--gated", "false", "--private")
    mine = {row["id"]: row for row in json.loads(hf("repos", "ls", "--format", "json", "--limit", "1000"))}
    assert mine["owner/cli-gated"]["visibility"] == "private"


@conforms("hf 2.4", "hf download of a gated adapter says why not")
def test_a_gate_says_so(hf: Command, site: Site, tmp_path: Path):
    site.upload("cli-shut")
    hf("repos", "settings", "owner/cli-shut", "--gated", "auto")
    other = Command(site, tmp_path / "home", site.stranger)
    assert "requires approval" in other("download", "owner/cli-shut", status=1)


@conforms("hf 2.4", "hf models ls <repo> (--tree, -R), hf repos move, cp, delete-files")
def test_files(hf: Command, site: Site, tmp_path: Path):
    site.upload("cli-files", card="# Files\n")
    (tmp_path / "note.txt").write_text("a note\n")
    hf("repos", "cp", str(tmp_path / "note.txt"), "hf://owner/cli-files/docs/note.txt")
    assert "docs/note.txt" in hf("models", "ls", "owner/cli-files", "-R", "--quiet") and "note.txt" in hf("models", "ls", "owner/cli-files", "--tree", "-R")
    hf("repos", "cp", "hf://owner/cli-files/docs/note.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "a note\n"
    hf("repos", "move", "owner/cli-files", "owner/cli-moved")
    hf("repos", "delete-files", "owner/cli-moved", "docs/*")
    assert "docs" not in hf("models", "ls", "owner/cli-moved", "-R", "--quiet")


def test_what_is_outside_says_why(hf: Command, site: Site):
    site.upload("cli-outside")
    assert "does not copy repositories" in hf("repos", "duplicate", "owner/cli-outside", "owner/cli-copy", status=1)
    assert "It has no datasets" in hf("repos", "create", "cli-data", "--type", "dataset", status=1)
