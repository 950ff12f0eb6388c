"""What the worker does with jobs: one claim at a time, nothing lost, nothing twice."""

import math
import random
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import Error
from django.utils import timezone
from pytest_django.fixtures import Settings

from compose_worker.engine import spec
from hub import celery
from hub.models import Adapter, BaseModel, Composition, Evaluation, Event, Revision, User
from hub.services import adapters, jobs, runs
from hub.services.runs import LostClaim
from tests import make
from tests.conftest import commit
from tests.services.stage import at_once, claimed, evaluation, result, submit, verbs


def now_of(job: Composition) -> Composition:
    """The job as the database has it."""
    return Composition.objects.get(pk=job.pk)


def silence(job: Composition, seconds: float = 3600) -> None:
    """Let the worker's last sign of life be long ago."""
    Composition.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=seconds))


# The base model.


def test_what_was_measured_on_another_version_of_the_base_model_goes(job: Composition) -> None:
    taken = claimed(job)
    hosted, newer, folder, other = "a" * 40, "b" * 40, "c" * 32, "d" * 32
    runs.settle_base(job=taken, revision=hosted)
    runs.record(job=taken, evaluation=evaluation(0, weights=(1.0, 0.0)))
    for same in (hosted, folder, other):  # a worker's own folder cannot be compared with a commit
        runs.settle_base(job=taken, revision=same)
        assert now_of(job).base_revision == hosted and len(runs.history(job=taken)) == now_of(job).done == 1
    runs.settle_base(job=taken, revision=newer)
    row = now_of(job)
    assert (row.base_revision, row.done, row.best_loss, runs.history(job=taken)) == (newer, 0, None, ())
    assert "The base model was replaced meanwhile" in row.log.latest("pk").sentence


# Claiming.


def test_it_works(job: Composition, tmp_path: Path) -> None:
    taken = runs.claim(job_id=job.pk, worker="host:1")
    assert taken is not None and taken.status == "running"
    row = now_of(job)
    assert (row.status, row.worker, row.attempts) == ("running", "host:1", 1) and row.started_at and row.heartbeat_at and row.claim
    runs.plan(job=taken, total=3)
    runs.stage(job=taken, name="search", sentence="Searching.")
    assert runs.record(job=taken, evaluation=evaluation(0, loss=2.0, weights=(1.0, 0.0))) is True
    runs.improve(job=taken, weights={"owner/one": 1.0}, loss=2.0)
    row = now_of(job)
    assert (row.stage, row.done, row.budget, row.best_loss, row.weights) == ("search", 1, 3, 2.0, {"owner/one": 1.0})
    done = runs.finish(job=taken, result=result(tmp_path / "out", {"owner/one": 0.75, "friend/two": 0.0}), folder=tmp_path / "out")
    assert (done.status, done.verdict, done.stage, done.weights) == ("succeeded", "mix", "", {"owner/one": 0.75, "friend/two": 0.0})
    assert done.done == done.budget == 1 and done.finished_at and done.summary == "The mix helps."
    adapter = Adapter.objects.get(name="result")
    assert done.result == adapter.head and adapter.composed and not adapter.private and [t.name for t in adapter.tags.all()] == ["composed"]
    assert done.scores["composed"]["accuracy"] == adapter.head.scores["composed"]["accuracy"] == 0.9
    assert adapter.head.recipe["format"] == "medley-recipe" and adapter.head.author == job.owner
    one = Adapter.objects.get(name="one")
    assert [(p.adapter, p.repo_id, p.sha, p.weight) for p in adapter.head.parents.all()] == [(one, "owner/one", one.head.sha, 0.75)], "no weight, no parent"
    assert verbs()[-3:] == ["adapter.create", "adapter.commit", "composition.succeed"]
    assert [line.sentence for line in done.log.all()] == ["Queued with 6 examples and 2 adapters.", "Started on host:1.", "Searching.", "The mix helps."]


def test_a_job_is_taken_once(job: Composition) -> None:
    claimed(job)
    assert runs.claim(job_id=job.pk, worker="other:2") is None
    assert now_of(job).worker == "worker:1" and now_of(job).attempts == 1


@pytest.mark.django_db(transaction=True)
def test_two_claimers_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "ring", lambda job_id: None)
    user = User.objects.create_user("acme")
    commit(adapters.create(actor=user, name="one"), make.adapter())
    job = submit(user, ["acme/one"])
    outcomes = at_once(*[lambda n=n: runs.claim(job_id=job.pk, worker=f"worker:{n}") for n in range(4)])
    assert sum(isinstance(o, Composition) for o in outcomes) == 1 and outcomes.count(None) == 3, outcomes
    assert now_of(job).attempts == 1


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_late_message_is_harmless(job: Composition, status: str) -> None:
    Composition.objects.update(status=status)
    assert runs.claim(job_id=job.pk, worker="late:1") is None
    assert now_of(job).status == status and now_of(job).attempts == 0


@pytest.mark.parametrize("job_id", [0, -5, 10**6, 2**70])
def test_a_message_for_no_job_is_harmless(db: None, job_id: int) -> None:
    assert runs.claim(job_id=job_id, worker="w:1") is None


def test_a_silent_worker_loses_its_job(job: Composition, settings: Settings) -> None:
    settings.JOB_STALE_SECONDS = 15
    old = claimed(job, "old:1")
    runs.record(job=old, evaluation=evaluation(0))
    silence(job, 14)
    assert runs.claim(job_id=job.pk, worker="new:2") is None
    silence(job, 16)
    new = claimed(job, "new:2")
    assert new.claim != old.claim and new.attempts == 2 and new.done == 1
    assert [e.step for e in runs.history(job=new)] == [0]
    assert job.log.last().sentence == "Taken over by new:2 at candidate 1."
    assert now_of(job).started_at == old.started_at


def test_a_beat_keeps_the_job(job: Composition) -> None:
    taken = claimed(job)
    silence(job)
    assert runs.beat(job=taken) is True
    assert runs.claim(job_id=job.pk, worker="new:2") is None


LATE_WRITES: dict[str, Any] = {
    "beat": lambda job, folder: runs.beat(job=job),
    "plan": lambda job, folder: runs.plan(job=job, total=9),
    "stage": lambda job, folder: runs.stage(job=job, name="late", sentence="Late."),
    "record": lambda job, folder: runs.record(job=job, evaluation=evaluation(5)),
    "improve": lambda job, folder: runs.improve(job=job, weights={"late": 1.0}, loss=0.0),
    "finish": lambda job, folder: runs.finish(job=job, result=result(folder, {"owner/one": 1.0}), folder=folder),
    "finish without files": lambda job, folder: runs.finish(job=job, result=result(folder, {}, files=()), folder=folder),
    "fail": lambda job, folder: runs.fail(job=job, code="late", message="Late."),
    "cancelled": lambda job, folder: runs.cancelled(job=job),
    "release": lambda job, folder: runs.release(job=job),
}


@pytest.mark.parametrize("write", LATE_WRITES.values(), ids=LATE_WRITES)
@pytest.mark.parametrize("how", ["taken over", "cancelled", "deleted", "taken over and cancelled"])
def test_an_old_claim_cannot_write(job: Composition, tmp_path: Path, write: Any, how: str) -> None:
    old = claimed(job, "old:1")
    runs.record(job=old, evaluation=evaluation(0))
    silence(job)
    if "taken over" in how:
        claimed(job, "new:2")
    if how == "cancelled":
        Composition.objects.update(status="cancelled")
    if "and cancelled" in how:
        Composition.objects.update(cancel_requested=True)
    if how == "deleted":
        Composition.objects.all().delete()
    before = (list(Composition.objects.values()), list(Evaluation.objects.values()), Adapter.objects.count(), Revision.objects.count(), verbs())
    with pytest.raises(LostClaim):
        write(old, tmp_path / "out")
    assert (list(Composition.objects.values()), list(Evaluation.objects.values()), Adapter.objects.count(), Revision.objects.count(), verbs()) == before


def test_a_job_that_kills_its_workers_ends(job: Composition, settings: Settings) -> None:
    settings.JOB_MAX_ATTEMPTS = 2
    for _ in range(2):
        claimed(job)
        silence(job)
    assert runs.claim(job_id=job.pk, worker="third:1") is None
    row = now_of(job)
    assert (row.status, row.error_code) == ("failed", "worker-lost") and "2 times" in row.error_message and row.finished_at
    assert verbs()[-1] == "composition.fail"
    assert runs.claim(job_id=job.pk, worker="fourth:1") is None


# The history is the checkpoint.

LARGEST = 1e16  # from here on PostgreSQL writes a number without a point, and `detail` would bring back an integer
ODD_FLOATS = (0.1, 1 / 3, 1e-300, 5e-324, 123456789.123456789, -1.5, 2.0, 0.0, 9007199254740993.0)
HUGE = (1.7976931348623157e308, 1e22, 1e16)


def test_the_history_comes_back_exactly(job: Composition) -> None:
    taken = claimed(job)
    given = [
        spec.Evaluation(0, "base", ODD_FLOATS + HUGE, 1 / 3, None, {"sums": list(ODD_FLOATS), "exact": [1, 0], "gradient": [-1e-17, 2.5e-9]}),
        spec.Evaluation(1, "fold", (0.1 + 0.2, 1e-7), 5e-324, (3, 1, 2), {}),
        spec.Evaluation(2, "search", (1.0, -1.0), 1e300, (), {"nested": {"a": [None, True, "text"]}}),
    ]
    for row in given:
        runs.record(job=taken, evaluation=row)
    back = list(runs.history(job=Composition.objects.get(pk=job.pk)))
    assert back == given
    for old, new in zip(given, back, strict=True):
        assert all(type(w) is float for w in new.weights), "a method may compare representations"
        assert [w.hex() for w in old.weights] == [w.hex() for w in new.weights] and old.loss.hex() == new.loss.hex()


def test_random_floats_come_back_exactly(job: Composition) -> None:
    generator = random.Random(0)
    raw = [struct.unpack("<d", generator.randbytes(8))[0] for _ in range(2000)]
    floats = tuple(x for x in raw if math.isfinite(x))
    sums = [x for x in floats if abs(x) < LARGEST]
    taken = claimed(job)
    runs.record(job=taken, evaluation=evaluation(0, weights=floats, detail={"sums": sums}))
    back = runs.history(job=taken)[0]
    assert len(sums) > 900 and back.weights == floats and back.detail["sums"] == sums


def test_the_same_step_twice(job: Composition) -> None:
    taken = claimed(job)
    runs.record(job=taken, evaluation=evaluation(0, loss=1.0))
    with pytest.raises(LostClaim):
        runs.record(job=taken, evaluation=evaluation(0, loss=9.0))
    assert [e.loss for e in runs.history(job=taken)] == [1.0] and now_of(job).done == 1


def test_a_measurement_that_is_no_number_is_an_error_and_not_a_lost_claim(job: Composition) -> None:
    taken = claimed(job)
    with pytest.raises(Error):
        runs.record(job=taken, evaluation=evaluation(0, detail={"sums": [float("nan")]}))
    assert runs.history(job=taken) == () and now_of(job).done == 0


# Cancelling, failing, handing back.


def test_cancel_a_running_job(job: Composition, owner: User) -> None:
    taken = claimed(job)
    assert jobs.cancel(actor=owner, job=job).status == "running"
    assert runs.beat(job=taken) is False
    assert runs.record(job=taken, evaluation=evaluation(0)) is False
    runs.cancelled(job=taken)
    row = now_of(job)
    assert row.status == "cancelled" and row.finished_at and row.log.last().sentence == "Cancelled after 1 candidates."
    assert jobs.cancel(actor=owner, job=job).status == "cancelled"
    with pytest.raises(LostClaim):
        runs.beat(job=taken)


def test_a_cancelled_job_of_a_dead_worker_ends_at_the_next_claim(job: Composition, owner: User) -> None:
    claimed(job)
    jobs.cancel(actor=owner, job=job)
    silence(job)
    assert runs.claim(job_id=job.pk, worker="new:2") is None
    assert now_of(job).status == "cancelled"


def test_a_job_that_finishes_before_it_hears_of_the_cancel(job: Composition, owner: User, tmp_path: Path) -> None:
    taken = claimed(job)
    jobs.cancel(actor=owner, job=job)
    assert runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path).status == "cancelled"
    row = now_of(job)
    assert row.result is None and row.verdict == "" and not Adapter.objects.filter(name=job.name).exists()
    assert row.log.last().sentence == "Cancelled after 0 candidates." and jobs.cancel(actor=owner, job=job).status == "cancelled"


def test_release(job: Composition) -> None:
    taken = claimed(job)
    runs.record(job=taken, evaluation=evaluation(0))
    runs.release(job=taken)
    row = now_of(job)
    assert (row.status, row.claim, row.worker, row.attempts, row.heartbeat_at, row.done) == ("queued", "", "", 0, None, 1)
    again = claimed(job, "next:2")
    assert len(runs.history(job=again)) == 1
    with pytest.raises(LostClaim):
        runs.release(job=taken)


def test_releasing_is_no_attempt(job: Composition, settings: Settings) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    for _ in range(3):
        runs.release(job=claimed(job))
    assert now_of(job).status == "queued"


def test_release_of_a_job_that_its_owner_gave_up(job: Composition, owner: User) -> None:
    taken = claimed(job)
    jobs.cancel(actor=owner, job=job)
    runs.release(job=taken)
    assert now_of(job).status == "cancelled"


def test_cancel_a_job_that_was_handed_back_meanwhile(job: Composition, owner: User) -> None:
    taken = claimed(job)
    old = now_of(job)
    runs.release(job=taken)
    assert old.status == "running" and jobs.cancel(actor=owner, job=old).status == "cancelled"


def test_fail(job: Composition) -> None:
    runs.fail(job=claimed(job), code="examples-too-long", message="Row 3 does not fit. Shorten it.")
    row = now_of(job)
    assert (row.status, row.error_code, row.error_message) == ("failed", "examples-too-long", "Row 3 does not fit. Shorten it.")
    assert row.log.last().sentence == row.error_message and Event.objects.latest("pk").data == {"code": "examples-too-long"}


def test_failing_a_job_that_its_owner_gave_up(job: Composition, owner: User) -> None:
    taken = claimed(job)
    jobs.cancel(actor=owner, job=job)
    runs.fail(job=taken, code="examples-too-long", message="Row 3 does not fit. Shorten it.")
    row = now_of(job)
    assert (row.status, row.error_code, row.error_message) == ("cancelled", "", "") and row.log.last().sentence == "Cancelled after 0 candidates."


# The bell.


def test_ring(job: Composition, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    monkeypatch.setattr(celery, "ring", rung.append)
    settings.JOB_STALE_SECONDS = 15
    assert runs.ring() == 0 and rung == [], "it was rung when it was submitted"
    Composition.objects.update(rung_at=timezone.now() - timedelta(seconds=16))
    assert runs.ring() == 1 and rung == [job.pk]
    assert runs.ring() == 0, "not again so soon"
    Composition.objects.update(rung_at=None)
    taken = claimed(job)
    assert runs.ring() == 0, "a running job needs no bell"
    silence(job)
    assert runs.ring() == 1 and rung == [job.pk] * 2
    Composition.objects.update(rung_at=None, status="cancelled")
    assert runs.ring() == 0 and taken.pk == job.pk


def test_announce_base_models(db: None) -> None:
    runs.announce_base_models(["tiny/llama", "other/base"])
    runs.announce_base_models(["tiny/llama"])
    assert BaseModel.objects.filter(available_at__isnull=False).count() == 2
