"""The methods `tune` and `medley+tune`: a small adapter trained on the examples, from scratch or on top of the mix that `medley` finds.

Every fold trains without its rows and is measured on them at a few steps. The number of steps that does best over all folds is what the
training on all examples takes, where every measurement further must gain more than chance may. The score that is reported takes, for each fold, the
number of steps that is best on the other folds; a mix is left as it is where that does not do better than no step,
or than the best module alone.

Resuming: only measurements are recorded, never tensors. A fit all of whose measurements are in the history is not trained again; one that
was cut off is trained again from its start, and so is the last one. Nothing is measured twice, and on the same machine and
number of threads the result is the same to the bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from compose_worker.engine import hung, scores
from compose_worker.engine.evaluator import Measured
from compose_worker.engine.export import Change, added, exact
from compose_worker.engine.hung import Factors
from compose_worker.engine.limit import Enough
from compose_worker.engine.methods import medley
from compose_worker.engine.search import Found, Task
from compose_worker.engine.training import STEP_COST, Fit

CHECKS = 5  # measurements of each fit


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """Each fold's checks, the start among them, and the result."""
    return folds * (1 + len(_steps(settings))) + 1


def planned_on_top(settings: Mapping[str, Any], folds: int) -> int:
    """What `medley` takes, and the training."""
    return medley.planned(settings, folds) + planned(settings, folds)


def search(task: Task) -> Found:
    """Train from scratch."""
    return _tuned(task, None)


def search_on_top(task: Task) -> Found:
    """Mix, then train what is left; a search that is ended while it trains keeps the mix."""
    mix = medley.search(task)
    if mix.notes.get("ended_early"):
        return mix
    try:
        return _tuned(task, mix)
    except Enough:
        return replace(mix, notes={**mix.notes, "ended_early": True})


def _tuned(task: Task, mix: Found | None) -> Found:
    weights = np.zeros(task.count) if mix is None else mix.mix
    steps = (0, *_steps(task.settings))
    by_fold = (mix.by_fold if mix is not None else ()) or (weights,) * len(task.folds)
    ladders = [_fold(task, fold, there, steps) for fold, there in zip(task.folds, by_fold, strict=True)]
    losses = [sum(sum(ladder[rung].sums) for ladder in ladders) / sum(task.evaluator.tokens) for rung in range(len(steps))]
    held_out = _held_out(task, ladders)
    best = _best(ladders) if task.folds and (mix is None or _pays(ladders, held_out, task.best_single())) else 0
    notes = {**({} if mix is None else mix.notes), "tuning": {"steps": list(steps), "held_out_losses": losses if task.folds else [], "stopped_at": steps[best]}}
    if best == 0:
        if mix is None:  # nothing was learned, so the base model's rows are held out as they are
            return Found(task.base.weights, task.base, scores.whole(task.base) if task.folds else None, notes, learned=False)
        return replace(mix, notes=notes)
    fit = _fit(task, range(len(task.evaluator.tokens)), weights)
    fitted = _check(task, fit, weights, None, steps[best], steps[best])
    trained = _remade(task, fit, steps[best])
    made = {name: Change(b.double().cpu(), a.double().cpu()) for name, (b, a) in trained.items()}
    change = added(exact(task.evaluator.bank.adapters, task.evaluator.bank.by_layer(weights)), made)
    layers = None if mix is None else mix.layers
    return Found(fitted.weights, fitted, held_out, notes, change, trained, layers=layers, partial=mix is not None and mix.partial, by_fold=by_fold)


def _remade(task: Task, fit: Fit, step: int) -> Factors:
    """The factors of the last fit. Where its measurement was in the history it is trained again, and no wish or clock ends what was there already."""
    limit = task.evaluator.limit
    limit.open, before = False, limit.open
    factors = _trained(task, fit, step)
    limit.open = before
    return factors


def _trained(task: Task, fit: Fit, step: int) -> Factors:
    """The factors of a fit. It shares what the memory holds with the measurements, which keep it: whoever takes over trains in the same parts."""
    evaluator = task.evaluator
    fit.forward_tokens = min(fit.forward_tokens, evaluator.forward_tokens)
    factors = fit.at(step)
    evaluator.forward_tokens = min(fit.forward_tokens, evaluator.forward_tokens)
    return factors


def _steps(settings: Mapping[str, Any]) -> list[int]:
    """After how many steps a fit is measured."""
    last = int(settings["steps"])
    return sorted({max(1, round(last * part / CHECKS)) for part in range(1, CHECKS + 1)})


def _fold(task: Task, fold: Sequence[int], weights: np.ndarray, steps: Sequence[int]) -> list[Measured]:
    """A fit without the fold's rows, measured on them at each of the steps."""
    fit = _fit(task, scores.rest(fold, len(task.evaluator.tokens)), weights)
    return [_check(task, fit, weights, fold, step, step - before) for before, step in zip((0, *steps), steps, strict=False)]


def _fit(task: Task, rows: Sequence[int], weights: np.ndarray) -> Fit:
    evaluator = task.evaluator
    adapters = evaluator.bank.adapters
    layers = {name for index in task.kept for name in adapters[index].parts}
    learned = [evaluator.encoded[row] for row in rows]
    return Fit(evaluator.bank, weights, learned, sorted(layers), task.settings, task.seed, evaluator.forward_tokens, evaluator.limit.check_now)


def _check(task: Task, fit: Fit, weights: np.ndarray, rows: Sequence[int] | None, step: int, trained: int) -> Measured:
    """Measure a fit after `step` steps, `trained` of which are new; it trains only where the history has no answer."""
    evaluator = task.evaluator
    measured = evaluator.take("tune", evaluator.bank.mean(weights), rows, lambda those: hung.measure(evaluator, weights, those, _trained(task, fit, step)))
    evaluator.spent += trained * STEP_COST * fit.rows / len(evaluator.encoded)
    return measured


def _best(ladders: Sequence[Sequence[Measured]]) -> int:
    """The measurement at which the training of these folds should end."""
    totals = [sum(sum(ladder[rung].sums) for ladder in ladders) + scores.DOUBT * rung for rung in range(len(ladders[0]))]
    return totals.index(min(totals))


def _pays(ladders: Sequence[Sequence[Measured]], held_out: scores.Rows, single: Measured) -> bool:
    """Whether training is worth more than chance on rows that had no say in its length: the folds together always find some length that suits them.

    It must do better than the best module alone too, which is published where the mix does not.
    """
    return sum(held_out.sums) + scores.DOUBT < min(sum(sum(ladder[0].sums) for ladder in ladders), sum(single.sums))


def _held_out(task: Task, ladders: Sequence[Sequence[Measured]]) -> scores.Rows:
    """Each fold at the step that is best on the other folds."""
    sums, right = [0.0] * len(task.evaluator.tokens), [False] * len(task.evaluator.tokens)
    for index, fold in enumerate(task.folds):
        others = [ladder for place, ladder in enumerate(ladders) if place != index]
        taken = ladders[index][_best(others)]
        for row, s, e in zip(fold, taken.sums, taken.exact, strict=True):
            sums[row], right[row] = s, e
    return scores.Rows(tuple(sums), tuple(right))
