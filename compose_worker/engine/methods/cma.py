"""The method `cma`: nevergrad's CMA-ES on the weights of the exact mix, from the best candidate known."""

from collections.abc import Mapping, Sequence
from typing import Any

from compose_worker.engine.methods import blind
from compose_worker.engine.search import Found, Task


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """One evaluation per unit of budget."""
    return int(settings["budget"])


def search(task: Task) -> Found:
    """Keep the best mix seen."""
    bound = float(task.settings["bound"])
    best = task.best_known()

    def losses(points: list[blind.Point]) -> Sequence[float]:
        nonlocal best
        measured = task.evaluator.measure_many("search", [task.spread(weights) for weights in points])
        best = min(best, *measured, key=lambda m: m.loss)
        return [m.loss for m in measured]

    start = [min(bound, max(-bound, best.weights[i])) for i in task.kept]
    blind.minimise("CMA", start, bound, int(task.settings["budget"]), task.seed, losses)
    return Found(best.weights, best, None, {"start": list(start)})
