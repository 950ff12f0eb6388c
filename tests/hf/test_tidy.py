"""What cut-off uploads leave behind is removed by the clock, and nothing else is."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from compose_worker import tasks
from hub import storage
from hub.celery import app
from hub.hf import lfs, xet_store
from hub.models import Adapter, Blob, Upload, User
from hub.services import uploads
from tests.conftest import Upload as MakeUpload

DAY = 24 * 3600
Put = Callable[[str, float], Path]


@pytest.fixture
def put(settings: Settings) -> Put:
    """Make a file below the folder for what is under way, and let it and its folder be this old."""

    def make(name: str, age: float) -> Path:
        path = Path(settings.WORK_DIR) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        for aged in (path, path.parent):
            if aged != Path(settings.WORK_DIR):
                os.utime(aged, (time.time() - age, time.time() - age))
        return path

    return make


@pytest.mark.parametrize(
    "name, kept, gone",
    [
        ("lfs/1/aa-4000/00001", lfs.LINK_SECONDS - 600, lfs.LINK_SECONDS + 600),
        ("xet/1/key/aa", xet_store.IDLE_SECONDS - 600, xet_store.IDLE_SECONDS + 600),
        ("blob-abc", 6 * DAY, 8 * DAY),
        ("job-7-abc/config.json", 6 * DAY, 8 * DAY),
    ],
    ids=["lfs", "xet", "temporary", "job"],
)
def test_by_age(put: Put, db: None, name: str, kept: float, gone: float):
    path = put(name, kept)
    tasks.tidy()
    assert path.exists()
    put(name, gone)
    tasks.tidy()
    assert not path.exists() and Path(storage.settings.WORK_DIR).exists()
    tasks.tidy()


def test_uploads_that_no_commit_named(owner: User, upload: MakeUpload):
    adapter = upload(owner, "kept")
    old, new = Blob.objects.order_by("size")[:2]
    for blob in (old, new):
        Upload.objects.create(user=owner, blob=blob)
    Upload.objects.filter(blob=old).update(created_at=timezone.now() - timedelta(hours=uploads.KEEP_HOURS + 1))
    assert tasks.tidy() == 1
    assert [row.blob for row in Upload.objects.all()] == [new]
    assert Adapter.objects.get() == adapter and all(storage.open_blob(row.blob_id) for row in adapter.head.files.all())
    assert tasks.tidy() == 0


def test_the_clock_rings_for_tasks_that_exist(settings: Settings):
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {"compose_worker.ring", "compose_worker.tidy", "compose_worker.prune", "compose_worker.count"} == names <= set(app.tasks)
