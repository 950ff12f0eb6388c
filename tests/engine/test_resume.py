"""The history is the checkpoint: a composition that goes on from any point measures nothing twice and ends bit for bit the same."""

import hashlib
import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from compose_worker.engine import run
from compose_worker.engine.spec import Evaluation, Example
from tests.engine.conftest import Stopped, Watcher

TUNING = {"steps": 5, "learning_rate": 0.02, "tuned_rank": 2}
STRIDES = {"medley": 2, "cma": 3, "lorahub": 3, "select": 1, "tune": 3, "medley+tune": 7, "ties": 2}
SMALL = {
    "medley": {"budget": 22},
    "cma": {"budget": 8},
    "lorahub": {"budget": 10},
    "select": {},
    "tune": TUNING,
    "medley+tune": {"budget": 22, **TUNING},
    "ties": {"density": 0.5},
}


def through_json(evaluations):
    rows = json.loads(json.dumps([asdict(e) for e in evaluations]))
    return tuple(Evaluation(**{**row, "weights": tuple(row["weights"]), "rows": None if row["rows"] is None else tuple(row["rows"])}) for row in rows)


def file_hash(spec):
    return hashlib.sha256((Path(spec.out_dir) / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def job(make_spec, adapters, three, taught):
    def make(method, **changes):
        chosen = [adapters("llama", seed) for seed in (1, 2, 3)] if method == "lorahub" else three("llama")
        rows = taught(chosen, [0.8, 0.4, 0.0], 6)
        if method == "tune":  # something that few steps of training learn
            rows = tuple(Example(row.input, rows[0].output) for row in rows)
        return make_spec("endless", chosen, method, SMALL[method], examples=rows, **changes)

    return make


@pytest.mark.parametrize("method", SMALL)
def test_going_on_from_any_point_ends_the_same(job, method):
    spec, watcher = job(method), Watcher()
    whole = run.compose(spec, watcher)
    history = through_json(watcher.evaluations)
    assert [e.step for e in history] == list(range(len(history)))
    assert len(history) <= watcher.total
    for done in sorted({*range(0, len(history), STRIDES[method]), len(history) - 1, len(history)}):
        again, resumed = job(method, history=history[:done]), Watcher()
        result = run.compose(again, resumed)
        assert through_json(resumed.evaluations) == history[done:]
        assert (result.weights, result.scores, result.verdict) == (whole.weights, whole.scores, whole.verdict)
        assert result.verdict != "nothing"
        if done in (0, len(history)) or "tune" in method:
            assert file_hash(again) == file_hash(spec)


@pytest.mark.parametrize("method", SMALL)
def test_an_observer_can_stop_it_anywhere(job, method):
    watcher = Watcher()
    run.compose(job(method), watcher)
    before = threading.active_count()
    for after in range(0, len(watcher.evaluations), 4):
        stopped = Watcher(stop_after=after)
        with pytest.raises(Stopped):
            run.compose(job(method), stopped)
        assert stopped.evaluations == watcher.evaluations[:after]
    assert threading.active_count() <= before  # the optimisers' threads are gone


def test_a_history_of_another_run_is_passed_over(job):
    watcher = Watcher()
    whole = run.compose(job("medley"), watcher)
    history = through_json(watcher.evaluations)
    strange = tuple(replace(e, weights=tuple(w + 0.5 for w in e.weights)) for e in history)
    cut = 7
    mixed = history[:cut] + strange[cut:]
    resumed = Watcher()
    result = run.compose(job("medley", history=mixed), resumed)
    assert result.weights == whole.weights
    new = [e.step for e in resumed.evaluations]
    assert new == list(range(len(history), len(history) + len(new)))  # no step is used twice
    assert [e.weights for e in resumed.evaluations] == [e.weights for e in history[cut:]]
    third = Watcher()
    assert run.compose(job("medley", history=mixed + through_json(resumed.evaluations)), third).weights == whole.weights
    assert third.evaluations == []


def test_improvements_fall_and_are_told_by_module(job):
    spec, watcher = job("medley"), Watcher()
    run.compose(spec, watcher)
    losses = [loss for _, loss in watcher.best]
    assert losses == sorted(losses, reverse=True) and losses
    assert set(watcher.best[-1][0]) == {module.id for module in spec.modules}
    assert watcher.stages == ["loading", "modules", "search", "check", "export"]
