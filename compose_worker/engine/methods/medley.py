"""The method `medley`: a weight for every module on every layer, fitted without each fold in turn; the mean of those fits is the mix.

Each fit starts from a mean of the modules in which each counts by how well it does alone, and takes a few steps down the slope of
the loss. After 1, 2, 3, 5, 8 ... steps every fold is measured with the fit that did not see it. The fits are taken where that
loss is lowest, but every step after the first must pay for itself: what a few examples say about so many weights is partly chance.
Mixing is linear, so the mean of the fits is a mix too, and does better on new examples than one fit to all.
The budget is in forwards over all examples: a gradient counts two, a measurement on part of the examples counts that part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compose_worker.engine import scores
from compose_worker.engine.descent import Descent
from compose_worker.engine.evaluator import Measured
from compose_worker.engine.limit import Enough
from compose_worker.engine.search import Found, Task

HOME = 1  # the number of steps that needs no reason
LOOK = 3  # steps that are tried whatever the first one does
FAINT = 0.02  # modules with less than this share of the best one's do not start


@dataclass(frozen=True, eq=False)
class Rung:
    """Where the fits are after some steps: their weights, (layers, N) each, and how each does on its fold."""

    step: int
    weights: tuple[np.ndarray, ...]
    held_out: scores.Rows


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """The fits' gradients and measurements, and the result."""
    steps = _steps(int(settings["budget"]), folds)
    return folds * (max(steps, default=0) + len(steps) + 1) + 1


def search(task: Task) -> Found:
    """Fit without each fold, step by step; take the mean of the fits where the folds say."""
    total = len(task.evaluator.tokens)
    if not task.folds:  # nothing tells whether a fit would hold
        start = _start(task, range(total))
        return Found(task.evaluator.bank.mean(start), task.evaluator.measure("search", start), None, {"steps": 0})
    rungs, ended_early = _climb(task, _steps(int(task.settings["budget"]), len(task.folds)))
    best = _pick(rungs, range(total))
    weights = np.mean(best.weights, axis=0)
    fitted = _last(task, weights, ended_early)
    losses = [scores.loss(rung.held_out, task.evaluator.tokens) for rung in rungs]
    notes = {"steps": [rung.step for rung in rungs], "held_out_losses": losses, "taken": rungs.index(best), **({"ended_early": True} if ended_early else {})}
    return Found(fitted.weights, fitted, _held_out(task, rungs), notes, layers=weights, partial=best.step > 0, by_fold=best.weights)


def _steps(budget: int, folds: int) -> list[int]:
    """After which steps the fits are measured, as many as the budget allows beside their gradients, the start and the result."""
    steps: list[int] = []
    step, after = 1, 2
    while folds and 2 * (folds - 1) * step + len(steps) + 3 <= budget:
        steps.append(step)
        step, after = after, step + after
    return steps


def _climb(task: Task, steps: Sequence[int]) -> tuple[list[Rung], bool]:
    """The rungs as long as they get better, within the budget; a search that must end early keeps those it has, and that is said."""
    total = len(task.evaluator.tokens)
    others = [scores.rest(fold, total) for fold in task.folds]
    starts = _starts(task, others)
    excess = task.excess()  # modules that are far too large would hide what the others do, and each step of theirs would lead astray
    fits = Descent(lambda mixes: _slopes(task, mixes / excess, others) / excess, starts * excess)
    rungs: list[Rung] = []
    try:
        rungs.append(_rung(task, 0, starts))
        for step in steps:
            rungs.append(_rung(task, step, fits.to(step) / excess))
            if step >= LOOK and _pick(rungs, range(total)) is not rungs[-1]:
                break
    except Enough:
        if not rungs:
            raise
        return rungs, True
    return rungs, False


def _last(task: Task, weights: np.ndarray, ended_early: bool) -> Measured:
    """Measure the result, however the search ended: else all of it would be lost. What comes after a search that went its way can still be ended."""
    limit = task.evaluator.limit
    limit.open, before = False, limit.open
    measured = task.evaluator.measure("search", weights)
    limit.open = before and not ended_early
    return measured


def _rung(task: Task, step: int, mixes: np.ndarray) -> Rung:
    weights = tuple(mixes)
    return Rung(step, weights, scores.together(task.evaluator.measure_many("fold", weights, task.folds)))


def _starts(task: Task, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Where each fit begins, the same weights on every layer: (fits, layers, N)."""
    return np.array([np.tile(_start(task, those), (len(task.evaluator.bank.stacks), 1)) for those in rows])


def _slopes(task: Task, mixes: np.ndarray, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """The gradient of each fit's loss on its own rows; the fits share their forwards."""
    measured = task.evaluator.measure_many("fold", list(mixes), rows, gradient=True)
    return np.array([one.gradient for one in measured]).reshape(mixes.shape)


def _start(task: Task, rows: Sequence[int]) -> np.ndarray:
    """A mean of the base and the modules: each example is worth one nat of evidence per nat of loss. A clear winner stands alone, close ones share."""
    candidates = [task.base, *(task.singles[index] for index in task.kept)]
    losses = np.array([task.evaluator.loss(measured, rows) for measured in candidates])
    shares = np.exp(-(losses - losses.min()) * len(rows))
    shares[shares < FAINT * shares.max()] = 0.0
    start = np.zeros(task.count)
    start[list(task.kept)] = shares[1:] / shares.sum()  # the base's share adds nothing
    return start


def _pick(rungs: Sequence[Rung], rows: Sequence[int]) -> Rung:
    """The rung with the lowest loss on the rows, where each step after the first costs as much as a difference that may be chance.

    The start is taken only where there is nothing else: a step from it does better on new examples, whatever the folds say.
    """
    return min(rungs[1:] or rungs, key=lambda rung: sum(rung.held_out.sums[row] for row in rows) + scores.DOUBT * abs(rung.step - HOME))


def _held_out(task: Task, rungs: Sequence[Rung]) -> scores.Rows:
    """Each fold at the rung that the other folds pick."""
    sums, exact = [0.0] * len(task.evaluator.tokens), [False] * len(task.evaluator.tokens)
    for fold in task.folds:
        taken = _pick(rungs, scores.rest(fold, len(sums))).held_out
        for row in fold:
            sums[row], exact[row] = taken.sums[row], taken.exact[row]
    return scores.Rows(tuple(sums), tuple(exact))
