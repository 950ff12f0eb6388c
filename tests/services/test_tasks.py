"""The worker's task around a stand-in for the engine: every outcome is written to the job."""

import logging
import sys
import threading
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

import compose_worker.engine
from compose_worker import tasks, work
from compose_worker.engine import spec
from compose_worker.engine.errors import ComposeError
from hub import celery
from hub.models import Adapter, BaseModel, Composition, User
from hub.services import adapters, hosting, jobs, queue, runs
from tests import make, other_hub
from tests.conftest import commit
from tests.services.stage import EXAMPLES, evaluation, result, submit

Engine = Callable[[Callable[[spec.Spec, spec.Observer], spec.Result]], None]
pytestmark = pytest.mark.django_db(transaction=True)  # the heart beats in a thread with a connection of its own


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Put a function in the place of the engine's `compose`."""

    def put(compose: Callable[[spec.Spec, spec.Observer], spec.Result]) -> None:
        module = types.ModuleType("compose_worker.engine.run")
        module.compose = compose  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "compose_worker.engine.run", module)
        monkeypatch.setattr(compose_worker.engine, "run", module, raising=False)

    return put


@pytest.fixture
def job(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Composition]:
    """A waiting job whose base model this worker has."""
    monkeypatch.setattr(celery, "ring", lambda job_id: None)
    settings.BASE_MODELS_DIR = tmp_path / "base-models"
    settings.JOB_HEARTBEAT_SECONDS = 60
    folder = settings.BASE_MODELS_DIR / make.BASE.replace("/", "--")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    user = User.objects.create_user("acme")
    commit(adapters.create(actor=user, name="one"), make.adapter(card="---\nlicense: mit\n---\n# One\n"))
    commit(adapters.create(actor=user, name="two"), make.adapter(seed=1))
    yield submit(user, ["acme/one", "acme/two"], seed=3, description="Sports.")
    tasks._shutting_down.clear()


def now_of(job: Composition) -> Composition:
    """The job as the database has it."""
    return Composition.objects.get(pk=job.pk)


def nothing_left(settings: Settings) -> bool:
    """Whether the worker cleaned up behind itself."""
    return not list(Path(settings.WORK_DIR).iterdir())


def test_it_works(job: Composition, engine: Engine, settings: Settings) -> None:
    seen: list[spec.Spec] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(given)
        for module in given.modules:
            for name in ("adapter_config.json", "adapter_model.safetensors"):
                assert (Path(module.path) / name).read_bytes() == make.adapter(seed=int(module.id == "acme/two"))[name]
        observer.planned(2)
        observer.stage("search", "Searching.")
        observer.evaluated(evaluation(0, loss=2.0, weights=(1.0, 0.0)))
        observer.improved({"acme/one": 1.0}, 2.0)
        return result(Path(given.out_dir), {"acme/one": 1.0, "acme/two": -0.5})

    engine(compose)
    assert tasks.run(job.pk) == "succeeded"
    row = now_of(job)
    assert (row.status, row.result.adapter.repo_id, row.budget, row.weights) == ("succeeded", "acme/result", 1, {"acme/one": 1.0, "acme/two": -0.5})
    given = seen[0]
    assert (given.base_model, given.seed, given.name, given.description, given.method) == (make.BASE, 3, "acme/result", "Sports.", "medley")
    assert [e.input for e in given.examples] == [e["input"] for e in EXAMPLES] and given.history == () and given.shortlist is None
    one = Adapter.objects.get(name="one")
    assert (given.modules[0].id, given.modules[0].revision, given.modules[0].licence) == ("acme/one", one.head.sha, "mit")
    assert given.modules[0].weights_sha256 == one.head.files.get(path="adapter_model.safetensors").blob_id
    assert nothing_left(settings)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_base_model_that_is_replaced_meanwhile(job: Composition, engine: Engine, settings: Settings, replaced: bool) -> None:
    seen: list[spec.Spec] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(given)
        if len(seen) == 1:
            observer.evaluated(evaluation(0, loss=2.0, weights=(1.0, 0.0)))
            observer.improved({"acme/one": 1.0}, 2.0)
            tasks._shutting_down.set()
        observer.evaluated(evaluation(1, loss=1.5, weights=(0.5, 0.5)))
        return result(Path(given.out_dir), {"acme/one": 1.0, "acme/two": -0.5})

    engine(compose)
    assert tasks.run(job.pk) == "queued"
    tasks._shutting_down.clear()
    if replaced:
        (Path(seen[0].base_path) / "model.safetensors").write_bytes(b"other weights")
    assert tasks.run(job.pk) == "succeeded"
    first, second = seen
    assert len(first.base_revision) == 32 and (second.base_revision != first.base_revision) is replaced
    assert [e.step for e in second.history] == ([] if replaced else [0, 1])
    row = now_of(job)
    assert row.base_revision == second.base_revision and list(row.history.values_list("step", flat=True)) == ([1] if replaced else [0, 1])
    assert any("base model was replaced" in line.sentence for line in row.log.all()) is replaced


def test_a_doubled_message_does_the_work_once(job: Composition, engine: Engine) -> None:
    calls: list[str] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        calls.append(tasks.run(job.pk))
        return result(Path(given.out_dir), {"acme/one": 1.0})

    engine(compose)
    assert tasks.run(job.pk) == "succeeded"
    assert tasks.run(job.pk) == "nothing-to-do" and calls == ["nothing-to-do"]
    assert Adapter.objects.filter(name__startswith="result").count() == 1


def test_a_fault_of_the_users_is_shown(job: Composition, engine: Engine, settings: Settings) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        raise ComposeError("examples-too-long", "Row 3 does not fit the context. Shorten it.")

    engine(compose)
    assert tasks.run(job.pk) == "failed"
    row = now_of(job)
    assert (row.error_code, row.error_message) == ("examples-too-long", "Row 3 does not fit the context. Shorten it.")
    assert nothing_left(settings)


def test_a_fault_of_ours_is_logged_and_not_shown(job: Composition, engine: Engine, caplog: pytest.LogCaptureFixture, settings: Settings) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        raise ZeroDivisionError("secret detail")

    engine(compose)
    assert tasks.run(job.pk) == "failed"
    row = now_of(job)
    assert row.error_code == "internal" and "secret" not in row.error_message + row.log.last().sentence
    assert caplog.records[-1].levelno == logging.ERROR and caplog.records[-1].exc_info is not None and "secret detail" in caplog.text
    assert nothing_left(settings)


def test_a_full_disk_is_said(job: Composition, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(lambda given, observer: result(Path(given.out_dir), {"acme/one": 1.0}))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapters.storage.os, "fsync", full)
    assert tasks.run(job.pk) == "failed"
    assert now_of(job).error_code == "storage-full" and not Adapter.objects.filter(name="result").exists()


def test_cancelled_within_a_step(job: Composition, engine: Engine, settings: Settings) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        jobs.cancel(actor=User.objects.get(), job=now_of(job))
        observer.evaluated(evaluation(0))
        raise AssertionError("the engine went on")

    engine(compose)
    assert tasks.run(job.pk) == "cancelled"
    assert now_of(job).done == 1 and now_of(job).history.count() == 1 and nothing_left(settings)


def test_cancelled_between_steps_by_the_heartbeat(job: Composition, engine: Engine, settings: Settings) -> None:
    settings.JOB_HEARTBEAT_SECONDS = 0.02

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        Composition.objects.update(cancel_requested=True)
        connection.close()
        pulse: work.Pulse = observer.pulse  # type: ignore[attr-defined]
        assert pulse.cancelled.wait(20)
        observer.stage("export", "Writing the file.")
        raise AssertionError("the engine went on")

    engine(compose)
    assert tasks.run(job.pk) == "cancelled"
    assert now_of(job).log.last().sentence == "Cancelled after 0 candidates."


def test_shutting_down_hands_the_job_back(job: Composition, engine: Engine) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        tasks.on_shutdown()
        observer.evaluated(evaluation(0))
        raise AssertionError("the engine went on")

    engine(compose)
    assert tasks.run(job.pk) == "queued"
    row = now_of(job)
    assert (row.status, row.attempts, row.claim) == ("queued", 0, "") and row.history.count() == 1
    assert tasks.run(job.pk) == "shutting-down" and now_of(job).status == "queued"


def test_the_next_worker_goes_on_with_the_history(job: Composition, engine: Engine) -> None:
    seen: list[tuple[spec.Evaluation, ...]] = []
    wanted = (evaluation(0, loss=0.1 + 0.2), evaluation(1, loss=1 / 3, detail={"sums": [0.1]}))

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(given.history)
        for row in wanted[len(given.history) :][:1]:
            tasks._shutting_down.set()
            observer.evaluated(row)
        return result(Path(given.out_dir), {"acme/one": 1.0})

    engine(compose)
    for status in ("queued", "queued", "succeeded"):
        assert tasks.run(job.pk) == status
        tasks._shutting_down.clear()
    assert seen == [(), wanted[:1], wanted]


def overtake(job: Composition) -> None:
    """Let another worker take the job."""
    Composition.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - timedelta(hours=1))
    assert runs.claim(job_id=job.pk, worker="other:2") is not None


ENDINGS: dict[str, Callable[[spec.Spec, spec.Observer], spec.Result]] = {
    "evaluates": lambda given, observer: observer.evaluated(evaluation(0)),  # type: ignore[func-returns-value]
    "finishes": lambda given, observer: result(Path(given.out_dir), {"acme/one": 1.0}),
    "breaks": lambda given, observer: [][0],
    "refuses": lambda given, observer: (_ for _ in ()).throw(ComposeError("x", "Y.")),
    "is cancelled": lambda given, observer: (_ for _ in ()).throw(work.Cancelled),
    "is shut down": lambda given, observer: (_ for _ in ()).throw(work.ShuttingDown),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_lost_job_is_left_alone(job: Composition, engine: Engine, settings: Settings, ending: Any) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        overtake(job)
        return ending(given, observer)

    engine(compose)
    assert tasks.run(job.pk) == "lost"
    row = now_of(job)
    assert (row.status, row.worker, row.error_code, row.history.count()) == ("running", "other:2", "", 0)
    assert not Adapter.objects.filter(name="result").exists() and nothing_left(settings)


def test_a_refused_heartbeat_stops_the_engine(job: Composition, engine: Engine, settings: Settings) -> None:
    settings.JOB_HEARTBEAT_SECONDS = 0.02

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        Composition.objects.update(claim="of another worker")
        connection.close()
        assert observer.pulse.lost.wait(20)  # type: ignore[attr-defined]
        observer.stage("export", "Writing the file.")
        raise AssertionError("the engine went on")

    engine(compose)
    assert tasks.run(job.pk) == "lost"


def test_the_heart_beats_while_the_engine_computes(job: Composition, engine: Engine, settings: Settings) -> None:
    settings.JOB_HEARTBEAT_SECONDS = 0.02

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        first = now_of(job).heartbeat_at
        connection.close()
        for _ in range(200):
            threading.Event().wait(0.05)
            if now_of(job).heartbeat_at > first:
                return result(Path(given.out_dir), {"acme/one": 1.0})
        raise AssertionError("no beat in ten seconds")

    engine(compose)
    assert tasks.run(job.pk) == "succeeded"
    assert not [t for t in threading.enumerate() if t.name.startswith("pulse-")]


def never(given: spec.Spec, observer: spec.Observer) -> spec.Result:
    """An engine that must not be reached."""
    raise AssertionError("the engine was started")


def test_a_module_deleted_meanwhile(job: Composition, engine: Engine) -> None:
    engine(never)
    Adapter.objects.get(name="one").delete()
    assert tasks.run(job.pk) == "failed"
    row = now_of(job)
    assert row.error_code == "module-deleted" and "acme/one" in row.error_message


def test_a_base_model_that_this_worker_lacks(job: Composition, engine: Engine, settings: Settings) -> None:
    engine(never)
    settings.BASE_MODELS_DIR = settings.BASE_MODELS_DIR / "empty"
    BaseModel.objects.update(available_at=timezone.now())
    assert tasks.run(job.pk) == "nothing-to-do" and now_of(job).status == "queued", "another worker may have it"
    Composition.objects.update(created_at=timezone.now() - 2 * queue.UNSERVED)
    assert tasks.run(job.pk) == "failed"
    assert now_of(job).error_code == "base-model-unavailable" and make.BASE in now_of(job).error_message


def test_a_base_model_that_is_hosted(job: Composition, engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """Hosting it is all that an operator does: the worker reads it in place, and each time from the same folder."""
    settings.BASE_MODELS_DIR = settings.BASE_MODELS_DIR / "empty"
    source = tmp_path / "source"
    source.mkdir()
    for path, data in other_hub.model().items():
        (source / path).write_bytes(data)
    hosting.host(repo_id=make.BASE, folder=source)
    seen: list[Path] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(Path(given.base_path))
        assert (seen[-1] / "model.safetensors").read_bytes() == other_hub.model()["model.safetensors"]
        raise ComposeError("enough", "Enough.")

    engine(compose)
    assert tasks.run(job.pk) == "failed" and now_of(job).error_code == "enough"
    again = submit(job.owner, ["acme/one"], name="again")
    assert tasks.run(again.pk) == "failed" and seen[0] == seen[1]


def test_a_store_that_lost_a_module(job: Composition, engine: Engine, own_store: Path) -> None:
    engine(never)
    row = Adapter.objects.get(name="two").head.files.get(path="adapter_model.safetensors")
    adapters.storage.local_path(row.blob_id).unlink()
    assert tasks.run(job.pk) == "failed"
    assert now_of(job).error_code == "storage-unavailable"


def test_auto_jobs_have_a_shortlist(job: Composition, engine: Engine) -> None:
    seen: list[int | None] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(given.shortlist)
        return result(Path(given.out_dir), {}, files=(), verdict="nothing")

    engine(compose)
    job.delete()
    assert tasks.run(submit(User.objects.get(), "auto", name="second", method_settings={"shortlist": 3}).pk) == "succeeded"
    assert seen == [3]


def test_a_module_deleted_meanwhile_is_left_out_where_medley_found_it(job: Composition, engine: Engine, settings: Settings) -> None:
    seen: list[spec.Spec] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(given)
        return result(Path(given.out_dir), {}, files=(), verdict="nothing")

    engine(compose)
    settings.COMPOSE_FORWARD_TOKENS, settings.COMPOSE_BASES_BYTES, settings.COMPOSE_MODULES_BYTES = 77, 88, 99
    job.delete()
    second = submit(User.objects.get(), "auto", name="second")
    Adapter.objects.get(name="one").delete()
    assert tasks.run(second.pk) == "succeeded"
    assert [module.id for module in seen[0].modules] == ["acme/two"]
    assert (seen[0].forward_tokens, seen[0].keep_bases, seen[0].keep_modules) == (77, 88, 99)


def test_ring_and_ready(job: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    monkeypatch.setattr(celery, "ring", rung.append)
    Composition.objects.update(rung_at=None)
    tasks.on_ready()
    assert rung == [job.pk]
    Composition.objects.update(rung_at=None)
    assert tasks.ring() == 1 and tasks.ring() == 0


def test_a_message_rings_for_whatever_waits(job: Composition, engine: Engine) -> None:
    engine(lambda given, observer: result(Path(given.out_dir), {}, files=(), verdict="nothing"))
    assert tasks.run(job.pk + 1) == "succeeded" and now_of(job).status == "succeeded"
    engine(never)
    assert tasks.run(job.pk) == "nothing-to-do"


@pytest.mark.parametrize(("bases", "outcome"), [(["acme/*"], "nothing-to-do"), ([make.BASE], "succeeded"), ([make.BASE.partition("/")[0] + "/*"], "succeeded")])
def test_a_worker_with_a_list_of_base_models(job: Composition, engine: Engine, settings: Settings, bases: list[str], outcome: str) -> None:
    settings.WORKER_BASES = bases
    BaseModel.objects.update(available_at=timezone.now())
    engine(lambda given, observer: result(Path(given.out_dir), {}, files=(), verdict="nothing"))
    assert tasks.run(job.pk) == outcome
