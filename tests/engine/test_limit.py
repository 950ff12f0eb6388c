"""Ending a search early, at its owner's wish or by the clock: the best so far is published, and a resumed job ends the same."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from compose_worker.engine import limit, run
from compose_worker.engine.spec import Evaluation
from tests.engine.conftest import Watcher
from tests.engine.test_resume import file_hash, through_json

FIXED = 1 + 3 + 1  # base, three modules alone, uniform


@pytest.fixture
def job(make_spec, adapters, taught):
    def make(method, settings=None, **changes):
        chosen = [adapters("llama", seed) for seed in (1, 2, 3)]
        return make_spec("endless", chosen, method, settings or {"budget": 20}, examples=taught(chosen, [0.8, 0.4, 0.0], 6), **changes)

    return make


@pytest.mark.parametrize("searched", [1, 6])
@pytest.mark.parametrize("method", ["cma", "lorahub"])
def test_the_best_of_all_measured_so_far_is_published(job, method, searched):
    spec, watcher = job(method), Watcher(enough_after=FIXED + searched)
    result = run.compose(spec, watcher)
    assert len([e for e in watcher.evaluations if e.phase == "search"]) == searched and len(watcher.evaluations) == FIXED + searched
    mixable = [e for e in watcher.evaluations if method == "cma" or e.phase != "uniform"]  # the mean of changes is no mix of factors
    best = min(mixable, key=lambda e: e.loss)
    assert tuple(result.weights.values()) == best.weights and result.files
    assert any("ended early" in note for note in result.report["notes"])


@pytest.mark.parametrize("method", ["linear", "ties", "dare_ties", "magnitude_prune"])
def test_a_merge_by_given_weights_has_no_search_to_end(job, method):
    plain, ended = (job(method, {"dtype": "float32"}) for _ in range(2))
    wanted, result = run.compose(plain, Watcher()), run.compose(ended, Watcher(enough_after=0))
    assert result.weights == wanted.weights and file_hash(ended) == file_hash(plain)
    assert not any("ended early" in note for note in result.report["notes"])


@pytest.mark.parametrize("method", ["medley", "medley+tune"])
def test_a_search_that_is_ended_at_its_last_measurement_is_not_lost(job, method):
    settings = {"budget": 22, **({"steps": 2, "learning_rate": 0.02, "tuned_rank": 2} if method == "medley+tune" else {})}
    whole = Watcher()
    run.compose(job("medley", {"budget": 22}), whole)
    last = max(place for place, e in enumerate(whole.evaluations) if e.phase == "search" and e.rows is None)
    result = run.compose(job(method, settings), Watcher(enough_after=last))
    assert result.report["search"]["taken"] > 0 and result.weights == run.compose(job("medley", {"budget": 22}), Watcher()).weights


def test_before_the_search_began_the_best_adapter_alone_is_what_there_is(job):
    spec, watcher = job("cma"), Watcher(enough_after=0)
    result = run.compose(spec, watcher)
    assert [e.phase for e in watcher.evaluations] == ["base", "single", "single", "single", "uniform"]
    assert result.verdict == "single" and result.scores["best_single"].module in [m for m, w in result.weights.items() if w]


def test_a_method_with_rivals_stays_honest(job):
    result = run.compose(job("medley", {"budget": 40}), Watcher(enough_after=FIXED + 3))
    assert result.report["chosen"] in ("base", "single", "uniform") and result.report["scored_on"]["best_single"].startswith("examples held out")


def test_a_search_ended_while_it_trains_keeps_the_mix(job):
    settings = {"budget": 22, "steps": 4, "learning_rate": 0.02, "tuned_rank": 2}
    plain, watcher = run.compose(job("medley", {"budget": 22}), Watcher()), Watcher()
    run.compose(job("medley", {"budget": 22}), watcher)
    ended = run.compose(job("medley+tune", settings), Watcher(enough_after=len(watcher.evaluations) + 2))
    assert (ended.weights, ended.verdict) == (plain.weights, plain.verdict) and ended.report["search"]["ended_early"]


@pytest.mark.parametrize("done", [0, FIXED, FIXED + 3, FIXED + 6])
def test_a_worker_that_takes_over_ends_the_same(job, done):
    spec, watcher = job("cma"), Watcher(enough_after=FIXED + 6)
    whole = run.compose(spec, watcher)
    again = job("cma", history=through_json(watcher.evaluations)[:done])
    resumed = Watcher(enough_after=FIXED + 6 - done)
    assert run.compose(again, resumed).weights == whole.weights and file_hash(again) == file_hash(spec)
    assert len(resumed.evaluations) == FIXED + 6 - done


def ticking(monkeypatch, seconds=1.0):
    now = iter(x * seconds for x in range(10_000))
    monkeypatch.setattr(limit, "time", SimpleNamespace(monotonic=lambda: next(now)))  # of this module alone: other threads ask the time too


def test_seconds_end_a_search_and_a_resumed_one_at_the_same_place(job, monkeypatch):
    ticking(monkeypatch)
    settings = {"budget": 20, "seconds": 9}
    spec, watcher = job("cma", settings), Watcher()
    whole = run.compose(spec, watcher)
    assert len(watcher.evaluations) == 9  # a second each, and the clock is read once an evaluation
    assert [e.detail["at"] for e in watcher.evaluations] == [float(n) for n in range(1, 10)]
    history = through_json(watcher.evaluations)
    for done in (0, 4, 7, 9):
        ticking(monkeypatch)
        again, resumed = job("cma", settings, history=history[:done]), Watcher()
        assert run.compose(again, resumed).weights == whole.weights
        assert through_json(resumed.evaluations) == history[done:]


def test_time_before_the_search_counts_but_never_stops_what_comes_before_it(job, monkeypatch):
    ticking(monkeypatch, seconds=100.0)
    watcher = Watcher()
    run.compose(job("cma", {"budget": 20, "seconds": 5}), watcher)
    assert [e.phase for e in watcher.evaluations] == ["base", "single", "single", "single", "uniform"]


def test_without_a_limit_the_clock_leaves_no_trace(job):
    spec, watcher = job("cma", {"budget": 4}), Watcher()
    run.compose(spec, watcher)
    assert not any("at" in e.detail for e in watcher.evaluations)
    assert json.loads((Path(spec.out_dir) / "recipe.json").read_text())["settings"]["seconds"] == 0


def test_a_limit_that_is_not_open_never_ends_anything():
    made = limit.Limit(Watcher(enough_after=0), 1.0, [Evaluation(0, "base", (0.0,), 1.0, None, {"at": 50.0})])
    made.replay(Evaluation(0, "base", (0.0,), 1.0, None, {"at": 50.0}))
    made.check()
    made.open = True
    with pytest.raises(limit.Enough):
        made.check()


@pytest.mark.parametrize("after", [2, 12])
def test_a_mix_that_was_ended_early_is_not_trained_on(job, after):
    settings = {"budget": 22, "steps": 4, "learning_rate": 0.02, "tuned_rank": 2}
    watcher = Watcher(enough_after=FIXED + after)
    result = run.compose(job("medley+tune", settings), watcher)
    assert not [e for e in watcher.evaluations if e.phase == "tune"]
    assert any("ended early" in note for note in result.report["notes"])


def test_medley_says_that_it_was_ended_early(job):
    plain, ended = (run.compose(job("medley", {"budget": 40}), Watcher(enough_after=after)) for after in (None, FIXED + 10))
    assert ended.report["search"]["ended_early"] and any("ended early" in note for note in ended.report["notes"])
    assert "ended_early" not in plain.report["search"] and len(plain.report["search"]["steps"]) > len(ended.report["search"]["steps"])


def test_training_looks_at_the_clock_itself(monkeypatch):
    ticking(monkeypatch)
    made = limit.Limit(Watcher(), 2.5, [])
    made.open = True
    made.check_now()
    made.check_now()
    made.check()  # an evaluation has the time of the last one
    with pytest.raises(limit.Enough):
        made.check_now()


def test_seconds_end_a_training_between_its_measurements(job, monkeypatch):
    settings = {"steps": 500, "seconds": 30, "tuned_rank": 2}
    ticking(monkeypatch)
    spec, watcher = job("tune", settings), Watcher()
    result = run.compose(spec, watcher)
    assert [e.phase for e in watcher.evaluations if e.phase == "tune"] == ["tune"]  # the start; the first hundred steps would take longer
    assert any("ended early" in note for note in result.report["notes"])
