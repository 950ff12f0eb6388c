"""What counts as help: something that modules do by themselves, not what weights by layer can be taught with any of them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from compose_worker.engine import benefit, run
from compose_worker.engine.scores import Rows
from compose_worker.engine.search import Found
from tests.engine.conftest import Watcher

COUNT = 10
TOKENS = (1,) * COUNT


def rows(total, right=0):
    return Rows((total / COUNT,) * COUNT, tuple(index < right for index in range(COUNT)))


@pytest.mark.parametrize(
    ("loss", "right", "better"),
    [
        (80.0, 0, True),
        (92.0, 0, False),  # modules of random numbers do that
        (98.0, 4, True),  # with more right answers
        (98.0, 3, False),
        (101.0, 9, False),
    ],
)
def test_clearly_better_is_a_tenth_of_the_loss_or_more_right_answers(loss, right, better):
    assert benefit.is_clearly_better(rows(loss, right), rows(100.0, 2), TOKENS) is better


@pytest.mark.parametrize(
    ("single", "uniform", "even", "helps", "asked"),
    [
        (80.0, 120.0, 120.0, True, False),
        (95.0, 80.0, 120.0, True, False),
        (95.0, 120.0, 95.0, False, True),  # the mix by layer has a third of the loss, and no module a part in it
        (95.0, 120.0, 40.0, True, True),  # together they do what none does alone
    ],
)
def test_a_mix_by_layer_counts_only_where_one_weight_for_each_module_helps(single, uniform, even, helps, asked):
    seen = []

    def measure_many(phase, weights, folds):
        seen.append(weights)
        return [SimpleNamespace(rows=fold, sums=(even / COUNT,) * len(fold), exact=(False,) * len(fold)) for fold in folds]

    folds = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
    bank = SimpleNamespace(mean=lambda mix: tuple(mix.mean(0)))
    task = SimpleNamespace(evaluator=SimpleNamespace(tokens=TOKENS, bank=bank, measure_many=measure_many), folds=folds)
    layers = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = Found((0.5, 0.5), None, rows(33.0), layers=layers, by_fold=(layers, 2 * layers))
    told = {"base": rows(100.0), "single": rows(single), "uniform": rows(uniform), "mix": rows(33.0)}
    assert benefit.helps(task, found, told) is helps
    assert seen == ([[(0.5, 0.5), (1.0, 1.0)]] if asked else [])
    assert benefit.helps(task, replace(found, change={}), told)  # what was trained needs none


@pytest.mark.parametrize(("seed", "method"), [(0, "medley"), (0, "select"), (4, "medley")])
def test_modules_that_know_nothing_of_the_task_are_not_published(make_spec, adapters, taught, seed, method):
    strangers, teachers = ([adapters("llama", first + number) for number in range(8)] for first in (1, 101))
    spec = make_spec("endless", strangers, method, examples=taught(teachers, [0.6] * 8, 20, seed))
    watcher = Watcher()
    result = run.compose(spec, watcher)
    assert result.verdict == "nothing" and result.files == () and result.summary.startswith("Nothing here helps")
    assert len(watcher.evaluations) <= watcher.total
