"""What a worker elsewhere does with jobs, by its token over the API: claim, fetch, report, finish, fail, hand back.

The same rows and rules as for a worker beside the database (`runs`): a claim has a token of its own, and whoever lost it cannot write. What a machine
elsewhere sends is held against the job before it counts (`lent_results`).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet

from compose_worker.engine import spec
from hub.errors import HubError
from hub.models import Blob, Composition, Ingredient, RevisionFile, Worker, WorkerToken
from hub.services import adapters, hosted, inputs, lent_results, queue, runs, texts, workers

Status = Composition.Status
INSTANCE = re.compile(r"[A-Za-z0-9._:-]{1,58}")
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+){0,8}")
MAX_WORKERS = 32  # of one token, and jobs that they have at a time
LINK_SECONDS = 3600
MAX_STEPS = 100_000
INTERNAL = "internal"  # what a worker says when it cannot tell what broke
DEAD_LINK = "link-invalid"  # and when it was refused a module, whose reason the hub knows


@dataclass(frozen=True)
class Handed:
    """A job as its worker gets it."""

    job: Composition
    modules: list[inputs.Input]
    history: tuple[spec.Evaluation, ...]
    base_revision: str  # of the hosted base model; empty for one that the worker has in a folder of its own


@dataclass(frozen=True)
class Wishes:
    """What the owner of a job asked for while it runs."""

    cancelled: bool
    enough: bool


def claim(*, token: WorkerToken, instance: str, device: str, bases: Sequence[str], folders: Sequence[str], warm: str) -> Handed | None:
    """Take the job whose turn it is among those that this worker may and can run."""
    worker = _announced(token, instance, device, bases, folders, warm)
    if Composition.objects.filter(worker_token=token, status=Status.RUNNING).count() >= MAX_WORKERS:
        raise HubError("too-many-runs", f"The workers of this token have {MAX_WORKERS} jobs already.", status=429)
    while job := queue.take(worker=worker.name, has_base=lambda name: workers.serves(worker, name), warm=warm, has_gpu=worker.has_gpu, token=token):
        try:
            modules = inputs.of(job)
        except HubError as error:
            runs.fail(job=job, code=error.code, message=error.message)
            continue
        found = hosted.open_revision(job.base_model) if job.base_model not in worker.folders else None
        if found is not None:  # of a folder elsewhere nothing is known
            runs.settle_base(job=job, revision=found.sha)
        return Handed(job, modules, runs.history(job=job), found.sha if found else "")
    return None


def link(job: Composition, blob: Blob) -> str:
    """Return what stands in the address of a module's file: for whoever has it, as long as the claim and an hour last."""
    return signing.dumps([job.pk, _mark(job), blob.sha256], salt="lent-input")


def follow(*, link: str) -> Blob:
    """Return the bytes that a link leads to, unless the module was closed or went away since it was given."""
    try:
        pk, mark, sha256 = signing.loads(link, salt="lent-input", max_age=LINK_SECONDS)
    except signing.BadSignature as error:
        raise _dead_link() from error
    job = Composition.objects.select_related("worker_token").filter(pk=pk, status=Status.RUNNING).first()
    if job is None or _mark(job) != mark or job.worker_token is None:
        raise _dead_link()
    file = RevisionFile.objects.filter(blob=sha256, revision__in=_given(job, job.worker_token).values("revision")).select_related("blob").first()
    if file is None:
        raise _dead_link()
    return file.blob


def report(
    *,
    token: WorkerToken,
    job_id: int,
    claim: str,
    budget: int | None = None,
    stages: Sequence[Mapping[str, str]] = (),
    evaluations: Sequence[Mapping[str, Any]] = (),
    best: Mapping[str, Any] | None = None,
) -> Wishes:
    """Keep what a worker says of a job; a report that says nothing is a heartbeat. Sent twice, it counts once."""
    with _claims(), transaction.atomic():
        job = _held(token, job_id, claim, lock=True)
        goes_on = runs.beat(job=job)
        workers.beat(name=job.worker)
        if budget is not None:
            runs.plan(job=job, total=budget)
        for one in stages:
            runs.stage(job=job, name=texts.storable(one["name"]), sentence=texts.storable(one["sentence"]))
        if fresh := _fresh(job, lent_results.evaluations(job, evaluations)):
            runs.record_all(job=job, evaluations=fresh)
        if best is not None:
            found, loss = lent_results.best(job, best)
            runs.improve(job=job, weights=found, loss=loss)
    return Wishes(cancelled=not goes_on, enough=runs.is_enough(job=job))


def require(*, token: WorkerToken, job_id: int, claim: str) -> None:
    """Refuse whoever does not hold this job, nor ended it."""
    if not Composition.objects.filter(pk=job_id, claim=claim, worker_token=token).exclude(claim="").exclude(status=Status.QUEUED).exists():
        raise _lost()


def finish(*, token: WorkerToken, job_id: int, claim: str, said: Any, files: Sequence[adapters.Incoming]) -> Composition:
    """Publish a result and end the job, both or neither. The claim says whose job it is, and the files are an adapter for that job or refused."""

    def end(job: Composition) -> None:
        result, announced = lent_results.result(job, said)
        result.report["worker"] = token.name
        if not result.files:
            runs.publish(job=job, result=result)
            return
        recipe, given = lent_results.recipe(job, token.name, result, announced, files)
        ready = adapters.prepare(files=given)
        lent_results.check_files(job, announced, ready)
        runs.publish(job=job, result=result, ready=ready, recipe=recipe)

    return _ended(token, job_id, claim, end)


def fail(*, token: WorkerToken, job_id: int, claim: str, code: str, message: str) -> Composition:
    """End a job with what its owner can mend. Where something broke on the worker, another one goes on."""

    def end(job: Composition) -> None:
        if code == INTERNAL:
            runs.give_up(job=job)
        elif code == DEAD_LINK:
            _fail_unread(job, token)
        else:
            runs.fail(job=job, code=code, message=texts.storable(message)[:1000])

    if not CODE.fullmatch(code) or len(code) > 60:
        raise HubError(
            "code-invalid", "A code is made of words in small letters and hyphens, such as out-of-memory.", fields={"code": "Such as out-of-memory."}
        )
    return _ended(token, job_id, claim, end)


def release(*, token: WorkerToken, job_id: int, claim: str) -> Composition:
    """Hand a job back to the queue; one that its owner gave up ends."""
    return _ended(token, job_id, claim, lambda job: runs.release(job=job))


def _fail_unread(job: Composition, token: WorkerToken) -> None:
    """End a job of which its machine may not have a module any more; where it may have all that are left, another worker goes on."""
    try:
        wanted = [one.id for one in inputs.of(job)]
    except HubError as error:
        runs.fail(job=job, code=error.code, message=error.message)
        return
    given = set(_given(job, token).values_list("repo_id", flat=True))
    closed = next((name for name in wanted if name not in given), None)
    if closed is None:
        runs.give_up(job=job, why="which could not fetch every adapter")
        return
    text = f"{closed} became private or gated after this job was submitted, so lent machines do not get it. "
    runs.fail(job=job, code="anywhere-closed", message=text + "Submit it again without that adapter, or keep it on the hub's own machines.")


def _given(job: Composition, token: WorkerToken) -> QuerySet[Ingredient]:
    """The modules that a machine elsewhere may have now: on a lent one those that are still for everybody."""
    rows = job.ingredients.filter(revision__isnull=False, revision__adapter__taken_down=False)
    return rows if token.trusted else rows.filter(queue.fits_anywhere("revision__adapter__"))


def _ended(token: WorkerToken, job_id: int, claim: str, end: Callable[[Composition], None]) -> Composition:
    """End a job in some way; where its worker did not hear the answer and asks again, say where the job stands."""
    over = Composition.objects.filter(pk=job_id, claim=claim, worker_token=token).exclude(status__in=Composition.ACTIVE).exclude(claim="").first()
    if over is not None:
        return over
    with _claims():
        job = _held(token, job_id, claim)
        end(job)
    job.refresh_from_db()
    return job


def _announced(token: WorkerToken, instance: str, device: str, bases: Sequence[str], folders: Sequence[str], warm: str) -> Worker:
    if not INSTANCE.fullmatch(instance):
        raise HubError("instance-invalid", "An instance has 1 to 58 letters, digits and ._:- such as host:1234.", fields={"instance": "Such as host:1234."})
    name = f"{token.name}/{instance}"
    if token.workers.exclude(name=name).count() >= MAX_WORKERS:
        workers.forget_silent()
        if token.workers.exclude(name=name).count() >= MAX_WORKERS:
            raise HubError("too-many-workers", f"{MAX_WORKERS} workers use this token already. Make another token.", status=429)
    own = [folder for folder in workers.clean_bases(folders) if workers.matches(token.bases, folder)]
    workers.announce(own)
    return workers.seen(name=name, device=device, bases=workers.clean_bases(bases), folders=own, warm=warm, token=token)


def _held(token: WorkerToken, job_id: int, claim: str, *, lock: bool = False) -> Composition:
    rows = Composition.objects.select_for_update() if lock else Composition.objects.select_related("owner", "organization")
    job = rows.filter(pk=job_id, claim=claim, status=Status.RUNNING, worker_token=token).exclude(claim="").first()
    if job is None:
        raise runs.LostClaim(f"job {job_id} is not this worker's")
    return job


@contextmanager
def _claims() -> Iterator[None]:
    try:
        yield
    except runs.LostClaim as error:
        raise _lost() from error


def _lost() -> HubError:
    return HubError("claim-lost", "This job is not yours, or no longer: it ended, went to another worker, or was taken back. Claim another one.", status=409)


def _fresh(job: Composition, sent: Sequence[spec.Evaluation]) -> Sequence[spec.Evaluation]:
    """Leave out what is recorded already: an answer that got lost makes a worker send it again."""
    if [e.step for e in sent] != list(range(sent[0].step, sent[0].step + len(sent)) if sent else []):
        raise HubError("steps-invalid", "Evaluations come in the order of their steps, without gaps.")
    known = [e for e in sent if e.step < job.done]
    rows = {e.step: e for e in runs.history(job=job)} if known else {}
    if any(rows.get(e.step) != e for e in known):
        raise HubError("steps-invalid", f"Step {known[0].step} is recorded already, with another measurement.", status=409)
    fresh = sent[len(known) :]
    if fresh and (fresh[0].step != job.done or fresh[-1].step >= MAX_STEPS):
        raise HubError("steps-invalid", f"The next step is {job.done}, and there are at most {MAX_STEPS:,}.")
    return fresh


def _mark(job: Composition) -> str:
    """Stands for the claim where others may read it, as proxies do in addresses."""
    return hashlib.sha256(f"{settings.SECRET_KEY}{job.claim}".encode()).hexdigest()[:24]


def _dead_link() -> HubError:
    return HubError(
        DEAD_LINK,
        "This link is not valid, or no longer: it holds for an hour, while the job is its worker's and the adapter is for that machine.",
        status=404,
    )
