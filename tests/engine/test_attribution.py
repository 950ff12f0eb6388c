"""Attribution: what the mix loses without a module, on rows its weights did not learn from; what adds nothing goes."""

import numpy as np
import pytest

from compose_worker.engine import attribution, run, scores
from compose_worker.engine.evaluator import Measured
from compose_worker.engine.search import Found, Task
from tests.engine.conftest import Watcher

ROWS, FOLDS = 6, ((0, 1), (2, 3), (4, 5))
WORTH = np.array([0.5, -0.2, 0.0, 0.0])  # what each module takes off the loss of every row


class Additive:
    """An evaluator whose loss falls by what the modules that take part are worth."""

    tokens = (1,) * ROWS

    def __init__(self, worth, clash=0.0):
        self.worth, self.clash, self.asked = worth, clash, []

    def measure(self, phase, weights, rows=None):
        rows = tuple(range(ROWS)) if rows is None else tuple(rows)
        there = np.asarray(weights).reshape(-1, len(self.worth)).any(0)
        loss = 2.0 - float(self.worth @ there) + (self.clash if not there[2:].any() else 0.0)
        self.asked.append((tuple(there), rows))
        return Measured(tuple(np.asarray(weights).reshape(-1, len(self.worth)).mean(0)), rows, loss, (loss,) * len(rows), (False,) * len(rows))

    def measure_many(self, phase, weights, rows):
        return [self.measure(phase, *one) for one in zip(weights, rows, strict=True)]


def attributed(evaluator):
    layers = np.full((2, 4), 0.5)
    base = evaluator.measure("base", np.zeros(4))
    whole = evaluator.measure("search", layers)
    found = Found(whole.weights, whole, scores.whole(whole), {}, layers=layers, by_fold=(layers, layers, layers))
    evaluator.asked.clear()
    return attribution.attribute(Task(evaluator, 4, (0, 1, 2, 3), {}, 0, base, {}, base, FOLDS), found)


def test_every_module_is_left_out_on_every_fold():
    evaluator = Additive(WORTH)
    parts = attributed(evaluator).parts
    assert [parts[index].effect for index in range(4)] == pytest.approx(list(WORTH))
    assert parts[0].without_loss == pytest.approx(2.0 - WORTH.sum() + 0.5)
    assert {rows for there, rows in evaluator.asked if sum(there) == 3} == set(FOLDS)
    assert len(evaluator.asked) <= attribution.planned("folds", 4, 3)


def test_modules_without_effect_are_dropped_and_those_that_seem_to_harm_stay():
    left = attributed(Additive(WORTH)).found
    assert left.weights == (0.5, 0.5, 0.0, 0.0)
    assert not left.layers[:, 2:].any() and not any(mix[:, 2:].any() for mix in left.by_fold)
    assert scores.loss(left.held_out, (1,) * ROWS) == left.fitted.loss == pytest.approx(2.0 - 0.3)


def test_where_not_all_can_go_all_stay():
    left = attributed(Additive(WORTH, clash=5.0)).found
    assert left.weights == (0.5,) * 4


def test_useful_modules_stay():
    evaluator = Additive(np.array([0.5, 0.2, 0.1, 0.3]))
    assert attributed(evaluator).found.weights == (0.5,) * 4


def test_a_mix_is_reported_with_what_each_module_does(make_spec, taught, adapters):
    four = [adapters("llama", seed) for seed in (1, 2, 3, 4)]
    spec = make_spec("endless", four, "medley", {"budget": 40}, examples=taught(four, [0.7, 0.0, 0.6, -0.4], 32))
    result = run.compose(spec, Watcher())
    assert result.verdict == "mix"
    effects = {name: part["effect"] for name, part in result.report["attribution"].items()}
    assert set(effects) == set(result.weights)
    assert min(effects["acme/m1"], effects["acme/m3"]) > effects["acme/m2"]  # the second one is not part of what was planted


def test_a_published_single_module_needs_no_attribution(make_spec, taught, adapters):
    three = [adapters("llama", seed) for seed in (1, 2, 3)]
    result = run.compose(make_spec("endless", three, "select", examples=taught(three, [0.0, 1.0, 0.0], 8)), Watcher())
    assert result.report["attribution"] == {}


@pytest.mark.parametrize("method", ["cma", "lorahub", "linear"])
def test_methods_without_folds_tell_it_on_all_examples(make_spec, adapters, taught, method):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    settings = {"weights": {"acme/m1": 0.8, "acme/m2": 0.4, "acme/m3": 0.0}} if method == "linear" else {"budget": 12}
    spec, watcher = make_spec("endless", modules, method, settings, examples=taught(modules, [0.8, 0.4, 0.0], 6)), Watcher()
    result = run.compose(spec, watcher)
    assert result.verdict == "mix"
    used = {name for name, weight in result.weights.items() if weight}
    told = result.report["attribution"]
    assert set(told) == used and len(watcher.evaluations) <= watcher.total
    measured = {e.weights: e.loss for e in watcher.evaluations if e.phase == "without"}
    for place, name in enumerate(result.weights):
        if name in used:
            without = tuple(0.0 if index == place else weight for index, weight in enumerate(result.weights.values()))
            assert told[name]["without_loss"] == measured[without]
            assert told[name]["effect"] == pytest.approx(measured[without] - result.scores["composed"].loss)


def test_so_does_the_even_mix_where_that_is_published(make_spec, adapters, taught):
    modules = [adapters("llama", seed) for seed in (1, 2)]
    spec = make_spec("endless", modules, examples=taught(modules, [0.5, 0.5], 8))
    result = run.compose(spec, Watcher())
    assert result.report["chosen"] == "uniform" and set(result.report["attribution"]) == {"acme/m1", "acme/m2"}
    assert all(part["effect"] > 0 for part in result.report["attribution"].values())
