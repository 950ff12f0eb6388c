"""Glue between jobs, weight profiles and the engine: claim -> compute -> finish or fail. The only file that knows both sides."""

import fnmatch
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import django
import structlog
from celery.signals import heartbeat_sent, worker_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import connection

from hub.celery import app

if not django.apps.apps.ready:
    django.setup()

from compose_worker.engine import spec
from compose_worker.engine.errors import ComposeError
from hub import storage
from hub.errors import HubError
from hub.hf import tidy as uploads_tidy
from hub.models import Composition, Import, Profile, RevisionFile
from hub.services import adapters, base_models, hosted, importing, index, lifecycle, mails, profiles, queue, quotas, runs, social, store

logger = logging.getLogger(__name__)
_shutting_down = threading.Event()
_fetching = threading.BoundedSemaphore(2)  # imports that one worker brings over at a time
SAMPLES = 8  # examples that are answered in words for the report
ALIVE = Path(tempfile.gettempdir()) / "medley-worker-alive"  # whoever watches this process looks at its time


class _Warm:
    """The base model of the last job, which lies in memory."""

    base = ""


_warm = _Warm()


class Cancelled(Exception):
    """The owner asked to stop."""


class ShuttingDown(Exception):
    """This worker was asked politely to stop."""


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
    try:
        importing.run(row=row)
    except importing.LostClaim as error:
        logger.info("%s", error)
    except HubError as error:
        importing.fail(row=row, code=error.code, message=error.message)
    except Exception:
        logger.exception("import %s failed", row.pk)
        importing.fail(row=row, code="internal", message="Something broke on our side. It is logged; try again, or tell the hub's operator.")
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
    return uploads_tidy.tidy()


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
    if _shutting_down.is_set():
        return "shutting-down"
    job = queue.take(worker=f"{socket.gethostname()}:{os.getpid()}", has_base=_has_base, warm=_warm.base)
    if job is None:
        return "nothing-to-do"
    _warm.base = job.base_model
    pulse = Pulse(job)
    pulse.start()
    try:
        with structlog.contextvars.bound_contextvars(job=job.pk):
            return _run(job, pulse)
    finally:
        pulse.stop()


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
        _guarded(partial(_measure, row, folder), lambda code, message: profiles.fail(profile=row, code=code), f"profile {row.pk}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return profiles.status(profile_id=row.pk)


def _measure(row: Profile, folder: Path) -> None:
    from compose_worker.engine import profile as engine

    storage.link(row.config_id, folder / adapters.CONFIG)
    storage.link(row.weights_id, folder / adapters.WEIGHTS)
    found = engine.measure(spec.Module(id=f"profile:{row.pk}", revision="", path=str(folder)))
    matrices = [[m.name, m.layer, m.target, m.norm, m.effective_rank, m.values] for m in found.matrices]
    profiles.finish(profile=row, matrices=matrices, values=found.values, fingerprint=found.fingerprint)


def _run(job: Composition, pulse: "Pulse") -> str:
    folder = Path(tempfile.mkdtemp(dir=settings.WORK_DIR, prefix=f"job-{job.pk}-"))
    try:
        _compose(job, pulse, folder)
    except runs.LostClaim as error:
        logger.warning("job %s went to another worker: %s", job.pk, error)
        return "lost"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return job.status


def _compose(job: Composition, pulse: "Pulse", folder: Path) -> None:
    def compose() -> None:
        from compose_worker.engine import run as engine

        result = engine.compose(_spec(job, folder), Watcher(job, pulse))
        runs.finish(job=job, result=result, folder=folder / "out")

    try:
        _guarded(compose, lambda code, message: runs.fail(job=job, code=code, message=message), f"job {job.pk}")
    except Cancelled:
        runs.cancelled(job=job)
    except ShuttingDown:
        runs.release(job=job)


def _guarded(work: Callable[[], None], fail: Callable[[str, str], None], what: str) -> None:
    """Do the work; what its owner can mend is told as it is, and anything else is ours: logged, and told as internal."""
    try:
        work()
    except (runs.LostClaim, Cancelled, ShuttingDown):
        raise
    except (ComposeError, HubError) as error:
        fail(error.code, error.message)
    except Exception:
        logger.exception("%s failed", what)
        fail("internal", "Something broke on our side while this job ran. It is logged; try again, or tell the hub's operator.")


def _spec(job: Composition, folder: Path) -> spec.Spec:
    out = folder / "out"
    out.mkdir()
    return spec.Spec(
        base_model=job.base_model,
        base_path=str(_base_path(job.base_model)) if job.examples else "",
        modules=_modules(job, folder),
        examples=tuple(spec.Example(e["input"], e["output"]) for e in job.examples),
        method=job.method,
        settings=job.settings,
        seed=job.seed,
        name=job.target_id,
        description=job.description,
        out_dir=str(out),
        history=runs.history(job=job),
        shortlist=job.settings.get("shortlist") if job.auto else None,
        samples=SAMPLES,
        device=settings.COMPOSE_DEVICE,
        dtype=settings.COMPOSE_DTYPE,
        forward_tokens=settings.COMPOSE_FORWARD_TOKENS,
        keep_bases=settings.COMPOSE_BASES_BYTES,
        keep_modules=settings.COMPOSE_MODULES_BYTES,
    )


def _has_base(name: str) -> bool:
    """Whether this worker may run jobs on the base model, and finds it."""
    try:
        return _base_path(name).is_dir()
    except ComposeError:
        return False


def _base_path(name: str) -> Path:
    serves = not settings.WORKER_BASES or any(fnmatch.fnmatchcase(name, pattern) for pattern in settings.WORKER_BASES)
    path = base_models.folder(name)
    if not (path / "config.json").is_file():
        path = hosted.folder(name) or path
    if not serves or not (path / "config.json").is_file():
        raise ComposeError("base-model-unavailable", f"No worker has the base model {name}. Ask the hub's operator to add it.")
    return path


def _modules(job: Composition, folder: Path) -> tuple[spec.Module, ...]:
    """Lay out the job's modules. One that was deleted or taken down meanwhile fails a job that named it, and is left out where Medley found it."""
    rows = list(job.ingredients.select_related("revision__adapter"))
    blobs: dict[int, dict[str, str]] = {}
    files = RevisionFile.objects.filter(revision__in=[row.revision_id for row in rows if row.revision_id], path__in=(adapters.CONFIG, adapters.WEIGHTS))
    for revision, path, blob in files.values_list("revision_id", "path", "blob_id"):
        blobs.setdefault(revision, {})[path] = blob
    left = [row for row in rows if (row.revision is not None and not row.revision.adapter.taken_down) or not job.auto]
    return tuple(_module(row, blobs.get(row.revision_id, {}), folder / str(row.position)) for row in left)


def _module(row: Any, blobs: Mapping[str, str], folder: Path) -> spec.Module:
    if row.revision is None:
        raise ComposeError("module-deleted", f"{row.repo_id} was deleted after this job was submitted. Submit it again without that adapter.")
    if row.revision.adapter.taken_down:
        raise ComposeError("module-taken-down", f"{row.repo_id} was taken down after this job was submitted. Submit it again without that adapter.")
    folder.mkdir()
    for path in (adapters.CONFIG, adapters.WEIGHTS):
        storage.link(blobs[path], folder / path)
    return spec.Module(
        id=row.repo_id,
        revision=row.sha,
        path=str(folder),
        weights_sha256=blobs[adapters.WEIGHTS],
        config_sha256=blobs[adapters.CONFIG],
        licence=row.revision.adapter.licence or None,
    )


class Watcher:
    """Writes what the engine reports to the job, and stops the engine when the job should stop."""

    def __init__(self, job: Composition, pulse: "Pulse") -> None:
        self.job, self.pulse = job, pulse

    def planned(self, total: int) -> None:
        """Keep the number of evaluations."""
        runs.plan(job=self.job, total=total)

    def stage(self, name: str, sentence: str) -> None:
        """Keep what begins now."""
        self.pulse.check()
        runs.stage(job=self.job, name=name, sentence=sentence)

    def evaluated(self, evaluation: spec.Evaluation) -> None:
        """Keep the evaluation; a cancelled or handed-back job stops after it."""
        if not runs.record(job=self.job, evaluation=evaluation):
            raise Cancelled
        self.pulse.check()

    def improved(self, weights: Mapping[str, float], loss: float) -> None:
        """Keep the best weights so far."""
        runs.improve(job=self.job, weights=weights, loss=loss)

    def enough(self) -> bool:
        """Say whether the owner wants the best so far; a job that should stop altogether stops here too."""
        self.pulse.check()
        return self.pulse.enough.is_set()


class Pulse(threading.Thread):
    """Beats for a job while the engine computes, and hears when to stop."""

    def __init__(self, job: Composition) -> None:
        super().__init__(name=f"pulse-{job.pk}", daemon=True)
        self.job = job
        self.ended, self.cancelled, self.lost = threading.Event(), threading.Event(), threading.Event()
        self.enough = threading.Event()
        if job.finish_requested:
            self.enough.set()

    def run(self) -> None:
        """Beat until stopped."""
        while not self.ended.wait(settings.JOB_HEARTBEAT_SECONDS):
            try:
                ALIVE.touch()
                if not runs.beat(job=self.job):
                    self.cancelled.set()
                if runs.is_enough(job=self.job):
                    self.enough.set()
            except runs.LostClaim:
                self.lost.set()
                break
            except django.db.Error:
                logger.warning("no heartbeat for job %s this time", self.job.pk, exc_info=True)
                connection.close()
        connection.close()

    def check(self) -> None:
        """Raise if the job should stop here."""
        if self.cancelled.is_set():
            raise Cancelled
        if self.lost.is_set():
            raise runs.LostClaim("the heartbeat was refused")
        if _shutting_down.is_set():
            raise ShuttingDown

    def stop(self) -> None:
        """End the thread."""
        self.ended.set()
        self.join(10)


@worker_init.connect
def on_init(**kwargs: Any) -> None:
    """Load torch and its friends before the first job does, which takes seconds."""
    import compose_worker.engine.run  # noqa: F401


@worker_ready.connect
def on_ready(**kwargs: Any) -> None:
    """Say which base models are here, and ring for whatever waited."""
    runs.announce_base_models(base_models.present())
    runs.ring()
    connection.close()


@heartbeat_sent.connect
def on_heartbeat(**kwargs: Any) -> None:
    """Show that the worker's loop turns."""
    ALIVE.touch()


@worker_shutting_down.connect
def on_shutdown(**kwargs: Any) -> None:
    """Let the running job hand itself back."""
    _shutting_down.set()
