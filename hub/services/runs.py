"""The verbs the worker has over compositions: claim, beat, record, finish, fail, release, ring.

Every write is conditional on the claim, so a worker that lost its job to another one cannot write to it.
"""

import dataclasses
import io
import json
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from compose_worker.engine import spec, written
from hub import celery, storage
from hub.models import BaseModel, Composition, Evaluation, LogLine, Parent, Revision, User, WorkerToken
from hub.services import access, adapters, audit, clock, intake, names, notifications, pinning

logger = logging.getLogger(__name__)
Status = Composition.Status
RINGS = 20  # at once: a worker that hears any of them takes the job whose turn it is, and bells that nobody hears for long fill the broker


class LostClaim(Exception):
    """Another worker has taken the job over, or it is no longer running."""


def claim(*, job_id: int, worker: str, token: WorkerToken | None = None) -> Composition | None:
    """Take a job that waits, or one whose worker's heartbeat stopped; None when there is nothing to take. A worker elsewhere takes it by its token."""
    now = clock.now()
    claim = uuid.uuid4().hex
    with transaction.atomic():
        # A row that somebody holds is not waited for: it may be a worker that is cut off in the middle of a transaction.
        free = takeable(now).filter(pk=job_id).select_for_update(skip_locked=True).values_list("pk", flat=True).first()
        if free is None:
            return None
        taken = (
            takeable(now)
            .filter(pk=free)
            .update(
                status=Status.RUNNING,
                claim=claim,
                worker=worker[:100],
                worker_token=token,
                heartbeat_at=now,
                attempts=F("attempts") + 1,
            )
        )
    if not taken:
        return None
    job = Composition.objects.select_related("owner", "organization").get(pk=job_id, claim=claim)
    if job.cancel_requested:
        cancelled(job=job)
        return None
    if job.attempts > settings.JOB_MAX_ATTEMPTS:
        fail(job=job, code="worker-lost", message=f"The worker died {job.attempts - 1} times while it ran this job. Its log says more to the hub's operator.")
        return None
    if job.started_at is None:
        _update(job, started_at=now)
    _say(job, f"Started on {worker}." if job.attempts == 1 else f"Taken over by {worker} at candidate {job.done}.")
    return job


def ring() -> int:
    """Ring for jobs that wait or were left behind and were not rung for lately; say for how many."""
    now = clock.now()
    quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=now - timedelta(seconds=settings.JOB_STALE_SECONDS))
    with transaction.atomic():
        ids = list(takeable(now).filter(quiet).order_by("pk").select_for_update(skip_locked=True).values_list("pk", flat=True)[:RINGS])
        Composition.objects.filter(pk__in=ids).update(rung_at=now)
    for job_id in ids:
        celery.ring(job_id)
    return len(ids)


def beat(*, job: Composition) -> bool:
    """Say that the worker lives; return whether it may go on (False: the owner asked to cancel)."""
    _update(job, heartbeat_at=Now())
    return not _is_unwanted(job)


def is_enough(*, job: Composition) -> bool:
    """Whether the owner asked to end the search with the best so far."""
    return Composition.objects.filter(pk=job.pk, finish_requested=True).exists()


def history(*, job: Composition) -> tuple[spec.Evaluation, ...]:
    """Return what was measured so far, as the engine takes it."""
    return tuple(
        spec.Evaluation(e.step, e.phase, tuple(map(float, e.weights)), e.loss, None if e.rows is None else tuple(e.rows), e.detail)
        for e in job.history.order_by("step")
    )


def settle_base(*, job: Composition, revision: str) -> None:
    """Keep which version of the base model the job is measured on. What was measured on another version is of no use to this one, and goes.

    A revision of the hosted model and the fingerprint of a worker's own folder do not compare: the first kind that a job meets counts.
    """
    if revision == job.base_revision or (job.base_revision and len(revision) != len(job.base_revision)):
        return
    with transaction.atomic():
        if job.base_revision and job.done:
            _update(job, base_revision=revision, done=0, weights={}, best_loss=None)
            job.history.all().delete()
            _say(job, "The base model was replaced meanwhile, so the work starts over.")
        else:
            _update(job, base_revision=revision)


def plan(*, job: Composition, total: int) -> None:
    """Keep how many evaluations the job takes."""
    _update(job, budget=total)


def stage(*, job: Composition, name: str, sentence: str) -> None:
    """Keep what the worker does now."""
    _update(job, stage=name[:20], heartbeat_at=Now())
    _say(job, sentence)


def record(*, job: Composition, evaluation: spec.Evaluation) -> bool:
    """Append a measured candidate to the history, each step once; return whether the worker may go on, as `beat` does."""
    return record_all(job=job, evaluations=[evaluation])


def record_all(*, job: Composition, evaluations: Sequence[spec.Evaluation]) -> bool:
    """Append measured candidates to the history, all or none, as `record` does."""
    rows = [
        Evaluation(
            composition=job,
            step=e.step,
            phase=e.phase,
            weights=list(e.weights),
            loss=e.loss,
            rows=None if e.rows is None else list(e.rows),
            detail=dict(e.detail),
        )
        for e in evaluations
    ]
    try:
        with transaction.atomic():
            _update(job, done=evaluations[-1].step + 1, heartbeat_at=Now())
            Evaluation.objects.bulk_create(rows)
    except IntegrityError as error:
        known = {row.step: (row.phase, row.weights, row.loss) for row in job.history.filter(step__in=[e.step for e in evaluations])}
        if not known:
            raise
        if any(known.get(e.step) != (e.phase, list(e.weights), e.loss) for e in evaluations):
            raise LostClaim(f"step {evaluations[0].step} of job {job.pk} is recorded already") from error
        # They were recorded a moment ago, and only the answer got lost.
    return not _is_unwanted(job)


def improve(*, job: Composition, weights: Mapping[str, float], loss: float) -> None:
    """Keep the best weights so far."""
    _update(job, weights=dict(weights), best_loss=loss)


def finish(*, job: Composition, result: spec.Result, folder: Path) -> Composition:
    """Publish the result, whose files lie in `folder`, and end the job, both or neither."""
    if not result.files:
        return publish(job=job, result=result)
    with ExitStack() as opened:
        ready = adapters.prepare(files=[adapters.Incoming(path, opened.enter_context((folder / path).open("rb"))) for path in result.files])
    return publish(job=job, result=result, ready=ready, recipe=json.loads((folder / adapters.RECIPE).read_text()))


def publish(*, job: Composition, result: spec.Result, ready: adapters.Prepared | None = None, recipe: Mapping[str, Any] | None = None) -> Composition:
    """Publish a result whose files were stored and inspected, if any, and end the job, both or neither. Of a job that its owner gave up nothing stays."""
    scores = {name: dataclasses.asdict(score) for name, score in result.scores.items()}
    with transaction.atomic():
        # The conditional update comes first: it locks the row, so a second finisher waits and then finds the claim gone, and so does who cancels.
        _update(job, heartbeat_at=Now())
        if _is_unwanted(job):
            cancelled(job=job)
            return job
        _update(job, status=Status.SUCCEEDED, finished_at=timezone.now(), stage="")
        summary = result.summary
        revision: Revision | None = None
        if ready is not None:
            revision, note = _publish(job, result, ready, adapters.Origin(recipe or {}, scores, _parents(job, result)))
            summary += note
        _write_ended(
            job,
            weights=result.weights,
            scores=scores,
            verdict=result.verdict,
            summary=summary,
            report=result.report,
            result=revision,
            budget=F("done"),
        )
        _say(job, summary)
        audit.record(job.owner, "composition.succeed", job, verdict=result.verdict)
        notifications.ended(job=job)
    job.refresh_from_db()
    return job


def fail(*, job: Composition, code: str, message: str) -> None:
    """End the job with an error; one that its owner gave up ends as cancelled."""
    with transaction.atomic():
        _update(job, heartbeat_at=Now())  # first, as in `publish`: it locks the row
        if _is_unwanted(job):
            cancelled(job=job)
            return
        _update(job, status=Status.FAILED, finished_at=timezone.now(), error_code=code[:60], error_message=message, stage="")
        _say(job, message)
        audit.record(job.owner, "composition.fail", job, code=code)
        notifications.ended(job=job)


def cancelled(*, job: Composition) -> None:
    """End the job because its owner asked for it."""
    with transaction.atomic():
        _update(job, status=Status.CANCELLED, finished_at=timezone.now(), stage="")
        _say(job, f"Cancelled after {job.done} candidates.")


def release(*, job: Composition, why: str = "Handed back: the worker is shutting down.") -> None:
    """Put the job back into the queue, history and all; it does not count as an attempt. A job that its owner gave up ends instead."""
    _put_back(job, why, attempts=F("attempts") - 1, worker_token=None)


def give_up(*, job: Composition, why: str = "where something broke") -> None:
    """Put back a job that a worker elsewhere cannot run for a reason that lies with that worker: it is not offered to it again, and counts as an attempt."""
    _put_back(job, f"Given up on {job.worker}, {why}. Another worker goes on.")


def _put_back(job: Composition, why: str, **columns: Any) -> None:
    if _is_unwanted(job):
        cancelled(job=job)
        return
    with transaction.atomic():
        _update(job, status=Status.QUEUED, claim="", worker="", heartbeat_at=None, rung_at=None, stage="", **columns)
        _say(job, why)


def pass_on(*, job_id: int) -> None:
    """Let the clock ring soon again for a job whose bell was heard by a worker that does not take it."""
    Composition.objects.filter(pk=job_id, status=Status.QUEUED).update(rung_at=None)


def announce_base_models(names: Iterable[str]) -> None:
    """Keep which base models a worker has."""
    now = timezone.now()
    for name in names:
        BaseModel.objects.update_or_create(name=name, defaults={"available_at": now})


def takeable(now: datetime) -> QuerySet[Composition]:
    """Jobs that wait, and those whose worker's heartbeat stopped."""
    stale = now - timedelta(seconds=settings.JOB_STALE_SECONDS)
    return Composition.objects.filter(Q(status=Status.QUEUED) | Q(status=Status.RUNNING, heartbeat_at__lt=stale))


def _is_unwanted(job: Composition) -> bool:
    return Composition.objects.filter(pk=job.pk, cancel_requested=True).exists()


def _update(job: Composition, **columns: Any) -> None:
    if Composition.objects.filter(pk=job.pk, claim=job.claim, status=Status.RUNNING).update(**columns) == 0:
        raise LostClaim(f"job {job.pk} is no longer this worker's")
    for name, value in columns.items():
        if not hasattr(value, "resolve_expression"):
            setattr(job, name, value)


def _write_ended(job: Composition, **columns: Any) -> None:
    Composition.objects.filter(pk=job.pk, claim=job.claim).update(**columns)


def _say(job: Composition, sentence: str) -> None:
    LogLine.objects.create(composition=job, sentence=sentence[:500])


def _publish(job: Composition, result: spec.Result, ready: adapters.Prepared, origin: adapters.Origin) -> tuple[Revision, str]:
    job.refresh_from_db(fields=["organization"])  # which may have got another name since the job was taken
    written_for = str(origin.recipe.get("name") or job.target_id)
    account, private, note = _audience(job, _named(job, result))
    name = names.free(owner=account, name=job.name)
    if name != job.name:
        note += f" The name {job.name} was taken meanwhile, so it is published as {name}."
    Composition.objects.filter(pk=job.pk).update(name=name, organization=None if account == job.owner else account, private=private)
    if (repo_id := f"{account.username}/{name}") != written_for:
        ready, origin = _renamed(ready, origin, written_for, repo_id)
    message = f"Publish composition {job.pk}"
    revision = adapters.publish(actor=job.owner, owner=account, name=name, private=private, tags=["composed"], files=ready, message=message, origin=origin)
    return revision, note


def _renamed(ready: adapters.Prepared, origin: adapters.Origin, was: str, now: str) -> tuple[adapters.Prepared, adapters.Origin]:
    """Card and recipe under the name that the result gets: they were written for one that it cannot have, and another adapter may have that one."""
    recipe = {**origin.recipe, "name": now}
    card = written.renamed(storage.read_text(ready.stored[adapters.CARD].sha256), was, now)
    files = [adapters.Incoming(path, io.BytesIO(text.encode())) for path, text in ((adapters.CARD, card), (adapters.RECIPE, written.recipe(recipe)))]
    stored = intake.store_all(files, None, account=None, may_be_empty=False)
    return adapters.Prepared({**ready.stored, **stored}, ready.found), dataclasses.replace(origin, recipe=recipe)


def _named(job: Composition, result: spec.Result) -> set[str]:
    """The adapters that the files and scores of a result name: its parents, the best one alone, and those with a weight given."""
    given = job.settings.get("weights") or {}
    return {name for name, weight in result.weights.items() if weight} | {s.module for s in result.scores.values() if s.module} | set(given)


def _audience(job: Composition, named: Iterable[str]) -> tuple[User, bool, str]:
    """Say under which name a result that names these adapters goes, whether it is private, and what changed since the job was submitted."""
    account = job.publisher
    if not access.may_create(job.owner, account):
        return job.owner, True, f" You may no longer publish under {account.username}, so the result is yours, and private."
    used = job.ingredients.filter(revision__isnull=False, repo_id__in=named)
    closed = job.ingredients.filter(closed=True, repo_id__in=named).exists()
    if not closed and not used.exclude(pinning.fit_to_show(job.owner, account, private=job.private, path="revision__adapter__")).exists():
        return account, job.private, ""
    whose = "" if account == job.owner else " and yours alone"
    return job.owner, True, f" One of the adapters that it names has become private or gated, was taken down or is gone, so the result is private{whose}."


def _parents(job: Composition, result: spec.Result) -> list[Parent]:
    rows = {row.repo_id: row for row in job.ingredients.select_related("revision")}
    used = [(rows[module], weight) for module, weight in result.weights.items() if weight and module in rows]
    return [
        Parent(adapter_id=row.revision.adapter_id if row.revision else None, repo_id=row.repo_id, sha=row.sha, weight=weight, closed=row.closed)
        for row, weight in used
    ]
