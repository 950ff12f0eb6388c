"""The method `medley`: a weight for every module on every layer, fitted without each fold in turn; the mean of those fits is the mix.

Each fit starts from a mean of the modules in which each counts by how well it does alone, and takes a few steps down the slope of
the loss. Every fold is measured with the fit that did not see it; they go as far as does clearly better there, or a part
of the way: where a module is nearly right already, a step is too long. Few examples do not pay for many steps, whatever the folds say.
Mixing is linear, so the mean of the fits is a mix too, and does better on new examples than one fit to all.
The budget is in forwards over all examples: a gradient counts two, a measurement on part of the examples counts that part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compose_worker.engine import scores
from compose_worker.engine.descent import Descent
from compose_worker.engine.limit import Enough
from compose_worker.engine.search import Found, Task

RUNGS = 3  # how often the fits are measured on what they did not see
PARTS = (0.0, 0.3, 0.6)  # of the way from the start to the last of these
REACH = 0.5  # steps that an example pays for: a few examples may share by chance what the folds then agree on
FAINT = 0.02  # modules with less than this share of the best one's do not start


@dataclass(frozen=True, eq=False)
class Rung:
    """Where the fits are after some steps, or a part of that way: their weights, (layers, N) each, and how each does on its fold."""

    step: int
    part: float
    weights: tuple[np.ndarray, ...]
    held_out: scores.Rows


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """The fits' gradients and measurements, and the result."""
    steps = _steps(int(settings["budget"]), folds, None)
    return folds * (steps[-1] + len(steps) + len(PARTS)) + 1


def search(task: Task) -> Found:
    """Fit without each fold, step by step; take the mean of the fits where the folds say."""
    total = len(task.evaluator.tokens)
    if not task.folds:  # nothing tells whether a fit would hold
        start = _start(task, range(total))
        return Found(task.evaluator.bank.mean(start), task.evaluator.measure("search", start), None, {"steps": 0})
    rungs = _climb(task, _steps(int(task.settings["budget"]), len(task.folds), total))
    best = _pick(rungs, range(total))
    weights = np.mean(best.weights, axis=0)
    fitted = task.evaluator.measure("search", weights)
    losses = [scores.loss(rung.held_out, task.evaluator.tokens) for rung in rungs]
    notes = {"steps": [rung.step for rung in rungs], "parts": [rung.part for rung in rungs], "held_out_losses": losses, "taken": rungs.index(best)}
    return Found(fitted.weights, fitted, _held_out(task, rungs), notes, layers=weights, by_fold=best.weights)


def _steps(budget: int, folds: int, examples: int | None) -> list[int]:
    """After which steps the fits may be measured, so that these, their gradients and the result stay in the budget and some in reach."""
    for rungs in range(RUNGS, 0, -1):
        steps = (budget - rungs - len(PARTS) - 1) // (2 * (folds - 1)) if folds else 0
        steps = steps if examples is None else min(steps, int(REACH * examples / PARTS[1]))
        if steps >= rungs:
            return [steps * rung // rungs for rung in range(1, rungs + 1)]
    return [0]


def _climb(task: Task, steps: Sequence[int]) -> list[Rung]:
    """The rungs within reach of the start, and parts of the way to the last one; a search that must end early keeps those it has."""
    total = len(task.evaluator.tokens)
    others = [scores.rest(fold, total) for fold in task.folds]
    starts = _starts(task, others)
    fits = Descent(lambda mixes: _slopes(task, mixes, others), starts)
    rungs: list[Rung] = []
    try:
        rungs.append(_rung(task, 0, 0.0, starts))
        for step in steps:
            mixes = fits.to(step)
            rungs += [_rung(task, step, 1.0, mixes)] if 0 < step <= REACH * total else []
        last = steps[-1]
        rungs += [_rung(task, last, part, starts + part * (mixes - starts)) for part in PARTS[1:] if 0 < part * last <= REACH * total]
    except Enough:
        if not rungs:
            raise
        task.evaluator.limit.open = False  # the best so far is still to be measured
    return rungs


def _rung(task: Task, step: int, part: float, mixes: np.ndarray) -> Rung:
    weights = tuple(mixes)
    return Rung(step, part, weights, scores.together(task.evaluator.measure_many("fold", weights, task.folds)))


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
    """The rung nearest to the start that is not clearly worse on the rows than the best: few examples say more than they know."""

    def there(rung: Rung) -> scores.Rows:
        return scores.Rows(tuple(rung.held_out.sums[row] for row in rows), tuple(rung.held_out.exact[row] for row in rows))

    best = min(rungs, key=lambda rung: sum(there(rung).sums))
    return next(rung for rung in sorted(rungs, key=lambda rung: rung.step * rung.part) if not scores.is_clearly_lower(there(best), there(rung)))


def _held_out(task: Task, rungs: Sequence[Rung]) -> scores.Rows:
    """Each fold at the rung that the other folds pick."""
    sums, exact = [0.0] * len(task.evaluator.tokens), [False] * len(task.evaluator.tokens)
    for fold in task.folds:
        taken = _pick(rungs, scores.rest(fold, len(sums))).held_out
        for row in fold:
            sums[row], exact[row] = taken.sums[row], taken.exact[row]
    return scores.Rows(tuple(sums), tuple(exact))
