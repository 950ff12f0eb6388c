"""The method `medley`: a gradient search for the weights of the exact mix, held near a cautious start and judged on held-out folds.

The start is a mean of the modules in which each counts by how well it does alone. From there the descent follows ever weaker
pulls back to the start; the folds say at which pull to stop. The budget is in forwards over all examples: a gradient counts two,
a measurement on part of the examples counts that part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compose_worker.engine import scores
from compose_worker.engine.descent import Descent
from compose_worker.engine.search import Found, Task

PULLS = (1.0, 0.3, 0.1)  # for REFERENCE examples; more examples need less of it
REFERENCE = 8
STEPS_PER_PULL = 3  # fewer do not get anywhere
FAINT = 0.02  # modules with less than this share of the best one's do not start


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """Each fold's fit with a check per rung, the fit on all examples, and its result."""
    steps, rungs = _plan(int(settings["budget"]), folds)
    return (steps + rungs + 1) * folds + steps + 1


def search(task: Task) -> Found:
    """Fit without each fold to learn where to stop and how well that holds; then fit on all examples up to there."""
    total = len(task.evaluator.tokens)
    steps, rungs = _plan(int(task.settings["budget"]), len(task.folds))
    pulls = [pull * REFERENCE / total for pull in PULLS[:rungs]]
    ladders = [_ladder(task, scores.rest(fold, total), pulls, steps, "fold") for fold in task.folds]
    held_out = [_held_out(task, [ladder[rung] for ladder in ladders]) for rung in range(len(pulls) + 1)] if task.folds else []
    losses = [scores.loss(rows, task.evaluator.tokens) for rows in held_out]
    best = losses.index(min(losses)) if losses else 0
    weights = _ladder(task, range(total), pulls[:best], steps * best // max(1, rungs), "search")[best]
    fitted = task.evaluator.measure("search", weights)
    notes = {"pulls": [None, *pulls], "held_out_losses": losses, "stopped_at": best, "gradients": steps}
    return Found(weights, fitted, held_out[best] if losses else None, notes, by_fold=tuple(ladder[best] for ladder in ladders))


def _plan(budget: int, folds: int) -> tuple[int, int]:
    """How many gradients a fit takes and how many pulls it goes through, so that folds, checks and the whole fit stay in the budget."""
    for rungs in range(len(PULLS), 0, -1):
        steps = (budget - rungs - 2) // (2 * max(1, folds))
        if steps >= STEPS_PER_PULL * rungs:
            return steps, rungs
    return 0, 0


def _ladder(task: Task, rows: Sequence[int], pulls: Sequence[float], steps: int, phase: str) -> list[tuple[float, ...]]:
    """The start, and the weights reached at each pull, learned from `rows` alone."""
    start = _start(task, rows)
    points = [start]
    if pulls:
        subset = None if len(rows) == len(task.evaluator.tokens) else tuple(rows)

        def slope(x: np.ndarray) -> tuple[float, np.ndarray]:
            measured = task.evaluator.measure(phase, task.spread(x.tolist()), subset, gradient=True)
            assert measured.gradient is not None
            return measured.loss, np.array([measured.gradient[index] for index in task.kept])

        descent = Descent(slope, start)
        for rung, pull in enumerate(pulls):
            share = steps * (rung + 1) // len(pulls) - steps * rung // len(pulls)
            descent.run(pull, share - (rung == 0))  # the start took one
            points.append(descent.x)
    return [task.spread(point.tolist()) for point in points]


def _start(task: Task, rows: Sequence[int]) -> np.ndarray:
    """A mean of the base and the modules: each example is worth one nat of evidence per nat of loss. A clear winner stands alone, close ones share."""
    candidates = [task.base, *(task.singles[index] for index in task.kept)]
    losses = np.array([task.evaluator.loss(measured, rows) for measured in candidates])
    shares = np.exp(-(losses - losses.min()) * len(rows))
    shares[shares < FAINT * shares.max()] = 0.0
    return shares[1:] / shares.sum()  # the base's share adds nothing


def _held_out(task: Task, weights: Sequence[tuple[float, ...]]) -> scores.Rows:
    """How each fold's weights do on that fold."""
    sums, exact = [0.0] * len(task.evaluator.tokens), [False] * len(task.evaluator.tokens)
    for fold, there in zip(task.folds, weights, strict=True):
        checked = task.evaluator.measure("fold", there, fold)
        for row, s, e in zip(fold, checked.sums, checked.exact, strict=True):
            sums[row], exact[row] = s, e
    return scores.Rows(tuple(sums), tuple(exact))
