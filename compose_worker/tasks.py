"""What a worker beside the hub's database does when it is rung for: jobs, weight profiles, imports, and what the clock asks for."""

import logging
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import django
import structlog
from celery.signals import heartbeat_sent, worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import connection

from hub.celery import app

if not django.apps.apps.ready:
    django.setup()

from compose_worker import local, work
from compose_worker.engine import spec
from hub import storage
from hub.hf import tidy as uploads_tidy
from hub.models import Import, Profile
from hub.services import adapters, base_models, importing, index, lifecycle, mails, numbers, profiles, quotas, runs, social, store, workers

logger = logging.getLogger(__name__)
_shutting_down = threading.Event()
_fetching = threading.BoundedSemaphore(2)  # imports that one worker brings over at a time
ANNOUNCED = 10.0  # seconds between two times that a worker without work says that it is here


class _Said:
    """When this worker last said that it is here."""

    at = 0.0


_said = _Said()


@app.task(name="compose_worker.ring")
def ring() -> int:
    """Ring again for jobs, imports and profiles that wait or whose worker went silent."""
    return runs.ring() + importing.ring() + profiles.ring()


@app.task(name="compose_worker.fetch")
def fetch(import_id: int) -> str:
    """Begin an import beside whatever else this worker does; with too many on their way it is rung for again."""
    if _shutting_down.is_set() or not _fetching.acquire(blocking=False):
        return "later"
    row = importing.claim(import_id=import_id)
    if row is None:
        _fetching.release()
        return "nothing-to-do"
    threading.Thread(target=_fetch, args=(row,), name=f"import-{row.pk}", daemon=True).start()
    return "begun"


def _fetch(row: Import) -> None:
    def fail(code: str, message: str) -> None:
        importing.fail(row=row, code=code, message=message)

    def bring() -> None:
        try:
            with local.told():
                importing.run(row=row)
        except importing.LostClaim as error:
            logger.info("%s", error)

    try:
        work.guarded(bring, fail, f"import {row.pk}")
    finally:
        _fetching.release()
        connection.close()


@app.task(name="compose_worker.tidy")
def tidy() -> int:
    """Remove what uploads have left behind and what was deleted long ago, index what has no words, measure what has no profile, count trends, send mails."""
    index.catch_up()
    profiles.catch_up()
    social.refresh_trends()
    lifecycle.purge_old()
    mails.send_due()
    workers.forget_silent()
    return uploads_tidy.tidy()


@app.task(name="compose_worker.count")
def count() -> None:
    """Count the whole catalogue anew where the numbers are old, so that nobody who asks for a page has to wait for it."""
    numbers.count_ahead()


@app.task(name="compose_worker.prune")
def prune() -> int:
    """Remove stored bytes that nothing speaks of any more, and return how many; count anew what accounts store where the count is wrong."""
    quotas.mend()
    return store.prune().bytes


@app.task(name="compose_worker.mail")
def mail(number: int) -> bool:
    """Send the mail of one notification, if it is still due."""
    return mails.send(number=number)


@app.task(name="compose_worker.run")
def run(job_id: int) -> str:
    """Run the job whose turn it is, if there is one; every outcome is written to the job itself. `job_id` is the one that rang, perhaps another one."""
    job = None if _shutting_down.is_set() else local.take()
    if job is None:
        runs.pass_on(job_id=job_id)
        return "shutting-down" if _shutting_down.is_set() else "nothing-to-do"
    with structlog.contextvars.bound_contextvars(job=job.number):
        return work.run(job, settings.WORK_DIR, _shutting_down)


@app.task(name="compose_worker.profile")
def profile(profile_id: int) -> str:
    """Measure one adapter's weights if they wait for it; every outcome is written to the row."""
    if _shutting_down.is_set():
        return "shutting-down"
    row = profiles.claim(profile_id=profile_id)
    if row is None:
        return "nothing-to-do"
    folder = Path(tempfile.mkdtemp(dir=settings.WORK_DIR, prefix=f"job-profile-{row.pk}-"))
    try:
        work.guarded(lambda: _measure(row, folder), lambda code, message: profiles.fail(profile=row, code=code), f"profile {row.pk}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return profiles.status(profile_id=row.pk)


def _measure(row: Profile, folder: Path) -> None:
    from compose_worker.engine import profile as engine

    with local.told():
        storage.link(row.config_id, folder / adapters.CONFIG)
        storage.link(row.weights_id, folder / adapters.WEIGHTS)
        found = engine.measure(spec.Module(id=f"profile:{row.pk}", revision="", path=str(folder)))
        matrices = [[m.name, m.layer, m.target, m.norm, m.effective_rank, m.values] for m in found.matrices]
        profiles.finish(profile=row, matrices=matrices, values=found.values, fingerprint=found.fingerprint)


@worker_init.connect
def on_init(**kwargs: Any) -> None:
    """Load torch and its friends before the first job does, which takes seconds."""
    import compose_worker.engine.run  # noqa: F401


@worker_ready.connect
def on_ready(**kwargs: Any) -> None:
    """Say which base models are here, and ring for whatever waited."""
    runs.announce_base_models(base_models.present())
    local.announce()
    runs.ring()
    connection.close()


@heartbeat_sent.connect
def on_heartbeat(**kwargs: Any) -> None:
    """Show that the worker's loop turns."""
    work.show_alive()
    if time.monotonic() - _said.at >= ANNOUNCED:
        _said.at = time.monotonic()
        try:
            local.announce()
        except django.db.Error:
            logger.warning("the database does not answer", exc_info=True)
        connection.close()


@worker_shutting_down.connect
def on_shutdown(**kwargs: Any) -> None:
    """Let the running job hand itself back."""
    _shutting_down.set()


@worker_shutdown.connect
def on_end(**kwargs: Any) -> None:
    """Say good-bye."""
    workers.gone(name=local.NAME)
    connection.close()
