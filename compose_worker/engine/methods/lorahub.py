"""The method `lorahub`, as published (arXiv 2307.13269): NGOpt on the weights of the factors, from zero, with a penalty on their size."""

from collections.abc import Mapping
from typing import Any

from compose_worker.engine.evaluator import Measured
from compose_worker.engine.methods import blind
from compose_worker.engine.search import Found, Task


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """One evaluation per unit of budget, and one for a recommendation that was not among them."""
    return int(settings["budget"]) + 1


def search(task: Task) -> Found:
    """Take what the optimiser recommends."""
    seen: dict[tuple[float, ...], Measured] = {}
    l1 = float(task.settings["l1"])

    def loss(weights: tuple[float, ...]) -> float:
        measured = task.evaluator.measure("search", task.spread(weights))
        seen[measured.weights] = measured
        return measured.loss + l1 * sum(abs(w) for w in weights) / len(weights)

    bound, budget = float(task.settings["bound"]), int(task.settings["budget"])
    found = blind.minimise("NGOpt", [0.0] * len(task.kept), bound, budget, task.seed, lambda points: [loss(w) for w in points])
    weights = task.spread(found)
    fitted = seen[weights] if weights in seen else task.evaluator.measure("search", weights)
    return Found(weights, fitted, None)
