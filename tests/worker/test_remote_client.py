"""A worker elsewhere and the hub in one process, around a stand-in for the engine: what happens to its job when things go wrong between the two."""

import hashlib
import json
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone
from pytest_django.fixtures import Settings

import compose_worker.engine
from compose_worker import client, remote, work
from compose_worker.cache import Cache, Mismatch
from compose_worker.engine import catalogue, spec
from compose_worker.engine.errors import ComposeError
from hub.models import Adapter, Composition, User
from hub.services import jobs, runs, workers
from hub.wsgi import application
from tests import lent, make, tiny
from tests.conftest import Upload
from tests.services.stage import EXAMPLES, evaluation, submit

pytestmark = pytest.mark.django_db
Compose = Callable[[spec.Spec, spec.Observer], spec.Result]


class Wire(httpx2.BaseTransport):
    """The way to the hub, which can be cut: before the hub hears (`deaf`), or after (`mute`)."""

    def __init__(self) -> None:
        self._inner = httpx2.WSGITransport(application, raise_app_exceptions=False)
        self.deaf: list[str] = []  # the ends of addresses, each for one request
        self.mute: list[str] = []
        self.seen: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.rpartition("/")[2]
        self.seen.append(path)
        if path in self.deaf:
            self.deaf.remove(path)
            raise httpx2.ConnectError("cut")
        answer = self._inner.handle_request(request)
        if path in self.mute:
            answer.read()
            self.mute.remove(path)
            raise httpx2.ReadError("cut")
        return answer


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Wire]:
    """The wire of the worker; as Django's own test client does, requests leave the connection of the test open."""
    settings.JOB_HEARTBEAT_SECONDS = 60  # one thread alone speaks to the database of a test
    settings.PUBLIC_URL = "http://testserver"
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remote, "GATHER", 0.0)
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield Wire()
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def worker(wire: Wire, tmp_path: Path) -> Iterator[remote.Worker]:
    """A worker elsewhere that has the tiny base model."""
    folder = tmp_path / "own" / make.BASE.replace("/", "--")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    text = workers.create_token(actor=None, name="gpu-club")[1]
    hub = client.Hub("http://testserver", text, wire)
    yield remote.Worker(hub, Cache(tmp_path / "cache", 10**9), remote.Bases((), tmp_path / "own"), work.Machine("cpu", "float32", 77, 88, 99))


@pytest.fixture
def job(owner: User, friend: User, upload: Upload) -> Composition:
    """A waiting job that may run anywhere."""
    upload(owner, "one", card="---\nlicense: mit\n---\n# One\n")
    upload(friend, "two", seed=1)
    return submit(owner, ["owner/one", "friend/two"], anywhere=True, seed=3, description="Sports.")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Compose], None]:
    """Put a function in the place of the engine's `compose`."""

    def put(compose: Compose) -> None:
        module = types.ModuleType("compose_worker.engine.run")
        module.compose = compose  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "compose_worker.engine.run", module)
        monkeypatch.setattr(compose_worker.engine, "run", module, raising=False)

    return put


def found(given: spec.Spec, **more: Any) -> spec.Result:
    """What the engine hands back, with real files."""
    files = lent.files(Composition.objects.get(name="result"))
    for path, data in files.items():
        (Path(given.out_dir) / path).write_bytes(data)
    scores = {"base": spec.Score(2.0, 0.1, 0.0, 0.3, 6), "composed": spec.Score(1.0, 0.9, 0.7, 1.0, 6)}
    values: dict[str, Any] = {"verdict": "mix", "summary": "The mix helps.", "files": tuple(files), "report": {"device": "cpu"}, **more}
    return spec.Result({"owner/one": 0.5, "friend/two": 0.5}, scores, **values)


def now() -> Composition:
    """The job as the database has it."""
    return Composition.objects.get(name="result")


def test_it_works(job: Composition, worker: remote.Worker, wire: Wire, engine: Any, tmp_path: Path) -> None:
    seen: list[spec.Spec] = []

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        seen.append(given)
        for module in given.modules:
            for name in ("adapter_config.json", "adapter_model.safetensors"):
                assert (Path(module.path) / name).read_bytes() == make.adapter(seed=int(module.id == "friend/two"))[name]
        observer.planned(2)
        observer.stage("search", "Searching.")
        observer.evaluated(evaluation(0, loss=0.1 + 0.2, weights=(1.0, 5e-324)))
        observer.improved({"owner/one": 1.0}, 0.1 + 0.2)
        observer.evaluated(evaluation(1, loss=1 / 3, weights=(1.0, 0.0), rows=(1, 2), detail={"sums": [1e-17]}))
        return found(given)

    engine(compose)
    assert worker.turn() == 0.0 and worker.warm == make.BASE
    row = now()
    assert (row.status, row.result.adapter.repo_id, row.budget, row.verdict) == ("succeeded", "owner/result", 2, "mix"), row.error_message
    history = (evaluation(0, loss=0.1 + 0.2, weights=(1.0, 5e-324)), evaluation(1, loss=1 / 3, weights=(1.0, 0.0), rows=(1, 2), detail={"sums": [1e-17]}))
    assert runs.history(job=row) == history
    given = seen[0]
    assert (given.base_model, given.seed, given.name, given.description, given.method) == (make.BASE, 3, "owner/result", "Sports.", "medley")
    assert [(e.input, e.output) for e in given.examples] == [(e["input"], e["output"]) for e in EXAMPLES] and given.shortlist is None
    assert (given.device, given.dtype, given.forward_tokens, given.keep_bases, given.keep_modules) == ("cpu", "float32", 77, 88, 99)
    one = Adapter.objects.get(name="one")
    assert (given.modules[0].id, given.modules[0].revision, given.modules[0].licence) == ("owner/one", one.head.sha, "mit")
    assert given.modules[0].weights_sha256 == one.head.files.get(path="adapter_model.safetensors").blob_id
    assert not list((tmp_path / "cache" / "jobs").iterdir()) and len(list((tmp_path / "cache" / "files").iterdir())) == 3, "both have one configuration"
    assert worker.turn() == remote.POLL, "nothing more to do"


def test_what_was_fetched_before_is_not_fetched_again(job: Composition, worker: remote.Worker, wire: Wire, engine: Any) -> None:
    def stops(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        worker.stopping.set()
        observer.enough()
        raise AssertionError("the engine went on")

    engine(stops)
    for _ in range(2):
        worker.turn()
        worker.stopping.clear()
        assert now().status == "queued" and now().attempts == 0
    assert len([path for path in wire.seen if len(path) > 40]) == 3


def test_a_hub_that_is_away_gets_everything_later(job: Composition, worker: remote.Worker, wire: Wire, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        wire.deaf += ["report"] * 3
        for step in range(20):
            observer.evaluated(evaluation(step, weights=(1.0, 0.0)))
        return found(given)

    engine(compose)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    worker.turn()
    assert now().status == "succeeded" and [e.step for e in now().history.all()] == list(range(20)) and not wire.deaf


@pytest.mark.parametrize("lost", ["report", "finish"])
def test_an_answer_that_gets_lost(job: Composition, worker: remote.Worker, wire: Wire, engine: Any, lost: str) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        wire.mute.append(lost)
        observer.evaluated(evaluation(0, weights=(1.0, 0.0)))
        observer.evaluated(evaluation(1, weights=(0.0, 1.0)))
        return found(given)

    engine(compose)
    worker.turn()
    assert now().status == "succeeded" and now().history.count() == 2 and not wire.mute
    assert Adapter.objects.filter(name__startswith="result").count() == 1


def test_its_owner_cancels(job: Composition, worker: remote.Worker, engine: Any, owner: User) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        jobs.cancel(actor=owner, job=now())
        observer.evaluated(evaluation(0, weights=(1.0, 0.0)))
        raise AssertionError("the engine went on")

    engine(compose)
    worker.turn()
    assert now().status == "cancelled" and now().history.count() == 1


def test_its_owner_has_enough(job: Composition, worker: remote.Worker, engine: Any, owner: User) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        assert not observer.enough()
        jobs.finish_now(actor=owner, job=now())
        observer.evaluated(evaluation(0, weights=(1.0, 0.0)))
        assert observer.enough()
        return found(given)

    engine(compose)
    worker.turn()
    assert now().status == "succeeded"


def fails(error: Exception) -> Compose:
    """An engine that does."""

    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        raise error

    return compose


def test_what_its_owner_can_mend_is_told(job: Composition, worker: remote.Worker, engine: Any) -> None:
    engine(fails(ComposeError("examples-too-long", "Row 3 does not fit. Shorten it.")))
    assert worker.turn() == 0.0
    assert (now().status, now().error_code, now().error_message) == ("failed", "examples-too-long", "Row 3 does not fit. Shorten it.")


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), MemoryError()])
def test_a_machine_that_is_broken_spoils_no_job(job: Composition, worker: remote.Worker, engine: Any, error: Exception) -> None:
    engine(fails(error))
    assert worker.turn() == remote.AFTER_FAULT
    assert (now().status, now().attempts, now().error_code) == ("queued", 1, "") and "secret" not in now().log.last().sentence
    assert worker.turn() == remote.POLL, "it is not offered again"


def test_numbers_that_are_none_stay_here(job: Composition, worker: remote.Worker, engine: Any) -> None:
    engine(lambda given, observer: observer.evaluated(evaluation(0, loss=float("nan"), weights=(1.0, 0.0))))
    worker.turn()
    assert now().status == "queued" and now().history.count() == 0


def test_a_result_that_is_too_large(job: Composition, worker: remote.Worker, engine: Any, settings: Settings) -> None:
    engine(lambda given, observer: found(given))
    settings.MAX_WEIGHTS_BYTES = 1000
    worker.turn()
    assert (now().status, now().error_code) == ("failed", "file-too-large")


def test_a_result_that_the_hub_does_not_believe(job: Composition, worker: remote.Worker, engine: Any) -> None:
    engine(lambda given, observer: found(given, verdict="splendid"))
    assert worker.turn() == remote.AFTER_FAULT and now().status == "queued"


SHORT: dict[str, dict[str, Any]] = {
    "medley": {"budget": 8},
    "cma": {"budget": 6, "bound": 0.5},
    "lorahub": {"budget": 6, "bound": 0.5},
    "select": {},
    "tune": {"steps": 40, "learning_rate": 0.05},
    "medley+tune": {"budget": 8, "steps": 40, "learning_rate": 0.05},
    "linear": {"weights": {"owner/one": 10.0}},
    "ties": {"weights": {"friend/two": 0.0}},
}


@pytest.mark.parametrize(("method", "modules"), [*((method, ["owner/one", "friend/two"]) for method in SHORT), ("medley", "auto"), ("lorahub", "auto")])
def test_what_the_engine_finds_is_believed(owner: User, friend: User, upload: Upload, worker: remote.Worker, tmp_path: Path, method: str, modules: Any) -> None:
    """Every method as it is: the hub refuses nothing of what an honest machine measures and sends."""
    tiny.llama(tmp_path / "own" / make.BASE.replace("/", "--"))
    upload(owner, "one", card="---\nlicense: mit\n---\n# One\n")
    upload(friend, "two", seed=1)
    needs_examples = catalogue.method(method).needs_examples
    submit(owner, modules, method=method, method_settings=SHORT[method], anywhere=True, examples=EXAMPLES if needs_examples else [])
    assert worker.turn() == 0.0
    row = now()
    assert row.status == "succeeded" and row.history.exists() is needs_examples, row.error_message
    if row.verdict != "nothing":
        parents = {parent["id"] for parent in row.result.recipe["parents"]}
        assert parents >= {name for name, weight in row.weights.items() if weight} and (row.verdict == "tuned") is (not parents)


@pytest.mark.parametrize("how", ["taken over", "revoked", "deleted"])
def test_a_job_that_went_elsewhere_is_left_alone(job: Composition, worker: remote.Worker, engine: Any, how: str) -> None:
    def compose(given: spec.Spec, observer: spec.Observer) -> spec.Result:
        if how == "taken over":
            Composition.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
            assert runs.claim(job_id=job.pk, worker="other:2") is not None
        if how == "revoked":
            workers.revoke_token(actor=None, token=now().worker_token)
        if how == "deleted":
            Composition.objects.all().delete()
        observer.evaluated(evaluation(0, weights=(1.0, 0.0)))
        raise AssertionError("the engine went on")

    engine(compose)
    worker.turn()
    if how != "deleted":
        assert now().status == ("running" if how == "taken over" else "queued") and now().history.count() == 0
    if how == "revoked":
        assert worker.run() == 1, "there is no use in asking again"


@pytest.mark.parametrize("how", ["closed", "revoked", "out of time"])
def test_a_link_that_is_refused(job: Composition, worker: remote.Worker, engine: Any, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(lambda given, observer: pytest.fail("the engine was started without its modules"))
    fetch = worker.hub.bytes

    def refused(url: str) -> Iterator[bytes]:
        if how == "closed":
            Adapter.objects.filter(name="two").update(private=True)
        if how == "revoked" and now().worker_token is not None:
            workers.revoke_token(actor=None, token=now().worker_token)
        if how == "out of time":
            monkeypatch.setattr("hub.services.lending.LINK_SECONDS", -1)
        return fetch(url)

    monkeypatch.setattr(worker.hub, "bytes", refused)
    worker.turn()
    expected = {"closed": ("failed", "anywhere-closed"), "revoked": ("queued", ""), "out of time": ("queued", "")}
    assert (now().status, now().error_code) == expected[how]
    if how != "revoked":
        assert worker.turn() == remote.POLL, "it is not offered again"


def test_a_base_model_that_nobody_has(job: Composition, worker: remote.Worker, engine: Any, tmp_path: Path) -> None:
    engine(fails(AssertionError("the engine was started")))
    given = worker.hub.call("claim", said={"instance": "x:1", "device": "cpu", "folders": [make.BASE]})
    empty = remote.Bases((), tmp_path / "empty")
    assert work.run(remote.Job(worker.hub, worker.cache, empty, worker.machine, given, worker.stopping), worker.cache.scratch, threading.Event()) == "failed"
    assert now().error_code == "base-model-unavailable"


def test_what_is_no_hub(worker: remote.Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    for status, content in ((404, b"<html>"), (200, b"<html>"), (400, b"[]")):
        answer = httpx2.MockTransport(lambda request, status=status, content=content: httpx2.Response(status, content=content))
        worker.hub = client.Hub("http://testserver", "mwk_x", answer)
        with pytest.raises(client.Refused, match="does not answer as a Medley hub"):
            worker.turn()


# The cache.


def put(cache: Cache, data: bytes, announced: bytes | None = None) -> Path:
    """Fetch bytes that were announced as others."""
    wanted = data if announced is None else announced
    return cache.file(hashlib.sha256(wanted).hexdigest(), len(wanted), lambda: [data])


def test_the_cache_keeps_what_was_announced(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    assert put(cache, b"x" * 100).read_bytes() == b"x" * 100
    for wrong in (b"y", b"x" * 99 + b"y", b"x" * 10_000, b""):
        with pytest.raises(Mismatch):
            put(cache, wrong, b"z" * 100)
    assert len(list((tmp_path / "files").iterdir())) == 1


def test_the_cache_stays_below_its_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 250)
    paths = [put(cache, bytes([n]) * 100) for n in range(2)]
    os.utime(paths[0], (1, 1))
    held = tmp_path / "jobs" / "held"
    held.hardlink_to(paths[0])
    put(cache, b"z" * 100)
    assert not paths[0].exists() and paths[1].exists() and held.read_bytes() == bytes([0]) * 100, "a job that runs keeps its files"

    def fetch(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"m" * 240)

    assert cache.base("acme/base", "abc", fetch).name == "acme--base@abc" and not paths[1].exists()
    assert cache.base("acme/base", "abc", lambda folder: (_ for _ in ()).throw(AssertionError("fetched again"))).is_dir()
    with pytest.raises(ZeroDivisionError):
        cache.base("acme/other", "abc", lambda folder: 1 // 0)  # type: ignore[arg-type,return-value]
    assert [path.name for path in (tmp_path / "bases").iterdir()] == ["acme--base@abc"]
    assert json.dumps(sorted(path.name for path in Cache(tmp_path, 250).scratch.iterdir())) == "[]", "what a killed process left is removed"
