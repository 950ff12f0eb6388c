"""The method `medley`: a gradient search for the weights of the exact mix that is held near the best start, judged on held-out folds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from compose_worker.engine import scores
from compose_worker.engine.evaluator import Evaluator, Measured
from compose_worker.engine.search import Found, Task

PULL = 1.0


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """The whole fit, and each fold's fit with its check."""
    return _steps(int(settings["budget"]), folds) * (folds + 1) + folds + 1


def _steps(budget: int, folds: int) -> int:
    return max(1, (budget - 2) // (2 * max(folds, 1)))


def search(task: Task) -> Found:
    """Fit on all rows, and again without each fold to see how the way of fitting holds."""
    steps = _steps(int(task.settings["budget"]), len(task.folds))
    everything = tuple(range(len(task.evaluator.tokens)))
    weights = _fit(task, everything, steps, "search")
    fitted = task.evaluator.measure("search", weights)
    sums, exact = [0.0] * len(everything), [False] * len(everything)
    for fold in task.folds:
        there = _fit(task, scores.rest(fold, len(everything)), steps, "fold")
        checked = task.evaluator.measure("fold", there, fold)
        for row, s, e in zip(fold, checked.sums, checked.exact, strict=True):
            sums[row], exact[row] = s, e
    return Found(weights, fitted, scores.Rows(tuple(sums), tuple(exact)) if task.folds else None, {"pull": PULL})


class _Spent(Exception):
    """The budget of one fit is used up."""


def _fit(task: Task, rows: tuple[int, ...], steps: int, phase: str) -> tuple[float, ...]:
    """Return the weights with the lowest loss plus pull on `rows`, within `steps` gradients."""
    start = _start(task, rows)
    centre = np.array([start.weights[i] for i in task.kept])
    best = (float("inf"), centre)
    taken = 0

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, taken
        if taken == steps:
            raise _Spent
        taken += 1
        subset = None if len(rows) == len(task.evaluator.tokens) else rows
        measured = task.evaluator.measure(phase, task.spread(x.tolist()), subset, gradient=True)
        away = x - centre
        total = measured.loss + PULL * float(away @ away)
        best = min(best, (total, x.copy()), key=lambda pair: pair[0])
        return total, np.array([measured.gradient[i] for i in task.kept]) + 2 * PULL * away

    try:
        minimize(value, centre, jac=True, method="L-BFGS-B", bounds=[(-1.5, 1.5)] * len(centre))
    except _Spent:
        pass
    return task.spread(best[1].tolist())


def _start(task: Task, rows: Sequence[int]) -> Measured:
    evaluator: Evaluator = task.evaluator
    known = [*(task.singles[i] for i in task.kept), task.uniform, task.base]
    return min(known, key=lambda m: evaluator.loss(m, rows))
