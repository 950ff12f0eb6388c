"""Folds, held-out choice and intervals."""

import math

import pytest

from compose_worker.engine import scores
from compose_worker.engine.evaluator import Measured
from compose_worker.engine.spec import Example
from tests.engine.conftest import make_examples


def candidate(sums, exact=None):
    return Measured((1.0,), tuple(range(len(sums))), sum(sums) / len(sums), tuple(sums), tuple(exact or [s < 1 for s in sums]))


@pytest.mark.parametrize("count", [2, 3, 5, 8, 21])
def test_folds_split_the_rows(count):
    parts = scores.folds(make_examples(count), seed=3)
    assert sorted(row for part in parts for row in part) == list(range(count))
    assert len(parts) == min(count, scores.FOLDS)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts == scores.folds(make_examples(count), seed=3)


def test_another_seed_splits_otherwise():
    assert len({scores.folds(make_examples(12), seed) for seed in range(5)}) > 1


def test_the_same_question_stays_in_one_fold():
    rows = [Example("w1", "w2"), Example("w3", "w4"), Example("w1 ", "w5"), Example("w1", "w2")]
    parts = scores.folds(rows, 0)
    assert sorted(parts) == [(0, 2, 3), (1,)]


def test_one_question_cannot_be_split():
    assert scores.folds([Example("w1", "w2")], 0) == ()
    assert scores.folds([Example("w1", "w2")] * 5, 0) == ()


def test_held_out_best_never_sees_the_row_it_is_judged_on():
    # The first is best over all rows, but only thanks to row 0.
    lucky, steady = candidate([0.0, 3.0, 3.0, 3.0]), candidate([9.1, 1.0, 1.0, 1.0])
    rows, taken = scores.held_out_best([lucky, steady], ((0,), (1, 2, 3)), (1, 1, 1, 1))
    assert taken == (1, 0)
    assert rows.sums == (9.1, 3.0, 3.0, 3.0)


def test_loss_is_weighted_by_tokens():
    assert scores.loss(scores.Rows((2.0, 4.0), (True, False)), (1, 3)) == 1.5


def test_score():
    score = scores.score(scores.Rows((1.0, 1.0, 2.0), (True, False, True)), (1, 2, 1), "acme/a")
    assert (score.loss, score.accuracy, score.n, score.module) == (1.0, 2 / 3, 3, "acme/a")


@pytest.mark.parametrize(("right", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1.0)])
def test_wilson(right, n, low, high):
    assert scores.wilson(right, n) == pytest.approx((low, high), abs=1e-3)
    assert all(math.isfinite(x) for x in scores.wilson(right, n))
