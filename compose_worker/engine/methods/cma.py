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
    excess = task.excess(by_layer=False)[list(task.kept)].tolist()

    def as_weights(point: blind.Point) -> list[float]:
        return [place / times for place, times in zip(point, excess, strict=True)]

    def losses(points: list[blind.Point]) -> Sequence[float]:
        nonlocal best
        measured = task.evaluator.measure_many("search", [task.spread(as_weights(point)) for point in points])
        best = min(best, *measured, key=lambda m: m.loss)
        return [m.loss for m in measured]

    start = [min(bound, max(-bound, best.weights[i] * times)) for i, times in zip(task.kept, excess, strict=True)]
    blind.minimise("CMA", start, bound, int(task.settings["budget"]), task.seed, losses)
    return Found(best.weights, best, None, {"start": as_weights(tuple(start))})
