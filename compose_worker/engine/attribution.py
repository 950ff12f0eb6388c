"""Says what each module does for the mix that was found: how the loss would be without it. Modules without effect are dropped.

A module whose absence lowers the loss a little stays: on a few examples that is mostly chance, and dropping all such modules made mixes worse on new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compose_worker.engine import hung, scores
from compose_worker.engine.evaluator import Measured
from compose_worker.engine.hung import Factors
from compose_worker.engine.search import Found, Task

PHASE = "without"  # of the evaluations
NOTHING = 0.01  # nats over all examples that a module without effect changes at most


@dataclass(frozen=True)
class Part:
    """What one module does: `effect` is how much higher the loss is without it."""

    without_loss: float
    effect: float


@dataclass(frozen=True)
class Attribution:
    """The mix with the modules that help, and what each of all does."""

    found: Found
    parts: dict[int, Part]  # by module; those that never had a weight are not there


def planned(how: str, kept: int, folds: int) -> int:
    """By folds: the mix, every module's absence and that of all without effect on every fold, and the mix that is left. On all examples: every absence."""
    return {"": 0, "all": kept, "folds": max(kept, folds * (kept + 2) + 1)}[how]


def attribute(task: Task, found: Found) -> Attribution:
    """Leave each module out in turn, on every fold from the weights that did not see it; drop those whose absence changes nothing there."""
    tokens = task.evaluator.tokens
    present = [index for index in task.kept if any(mix[..., index].any() for mix in found.by_fold)]
    whole = scores.loss(_held_out(task, found, [[]])[0], tokens)
    if len(present) < 2:
        return Attribution(found, {})
    losses = [scores.loss(rows, tokens) for rows in _held_out(task, found, [[index] for index in present])]
    parts = {index: Part(loss, loss - whole) for index, loss in zip(present, losses, strict=True)}
    useless = [index for index, part in parts.items() if abs(part.effect) * sum(tokens) <= NOTHING]
    if not useless or len(useless) == len(present):
        return Attribution(found, parts)
    left = _held_out(task, found, [useless])[0]
    if scores.loss(left, tokens) > whole + scores.DOUBT / sum(tokens):  # each can go, but not all
        return Attribution(found, parts)
    by_fold = tuple(_zeroed(mix, useless) for mix in found.by_fold)
    mix = _zeroed(found.mix, useless)
    fitted = task.evaluator.measure(PHASE, mix)
    return Attribution(replace(found, weights=fitted.weights, fitted=fitted, held_out=left, layers=mix, by_fold=by_fold), parts)


def alone(task: Task, mix: np.ndarray, whole: float, trained: Factors | None = None) -> dict[int, Part]:
    """The same on all examples, where the mix has the loss `whole`: nothing is dropped, for that is what was found, asked for, or trained on.

    What was trained on top of the mix stays in place.
    """
    present = [index for index in task.kept if mix[..., index].any()]
    if len(present) < 2 and not (present and trained):
        return {}
    left = [_zeroed(mix, [index]) for index in present]
    measured = task.evaluator.measure_many(PHASE, left) if trained is None else [_with(task, trained, weights) for weights in left]
    return {index: Part(without.loss, without.loss - whole) for index, without in zip(present, measured, strict=True)}


def _with(task: Task, trained: Factors, mix: np.ndarray) -> Measured:
    evaluator = task.evaluator
    return evaluator.take(PHASE, evaluator.bank.mean(mix), None, lambda rows: hung.measure(evaluator, mix, rows, trained))


def _held_out(task: Task, found: Found, left_out: Sequence[Sequence[int]]) -> list[scores.Rows]:
    """How each fold's weights do on that fold without some modules, for each such choice."""
    mixes = [_zeroed(mix, those) for those in left_out for mix in found.by_fold]
    measured = task.evaluator.measure_many(PHASE, mixes, list(task.folds) * len(left_out))
    folds = len(task.folds)
    return [scores.together(measured[begin : begin + folds]) for begin in range(0, len(measured), folds)]


def _zeroed(mix: np.ndarray, left_out: Sequence[int]) -> np.ndarray:
    out = mix.copy()
    out[..., list(left_out)] = 0.0
    return out + 0.0  # there is one zero: adding makes -0.0 into 0.0
