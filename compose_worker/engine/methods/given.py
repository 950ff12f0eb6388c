"""The methods `linear`, `ties`, `dare_ties`, `dare_linear` and `magnitude_prune`: weights are given, nothing is searched; examples only score it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from compose_worker.engine import hung, merge
from compose_worker.engine.search import Found, Task


def planned(settings: Mapping[str, Any], folds: int) -> int:
    """One evaluation, of the result."""
    return 1


def search(task: Task) -> Found:
    """Merge as the settings say, and measure that."""
    evaluator = task.evaluator
    settings = task.settings
    adapters = evaluator.bank.adapters
    weights = merge.weights(task.method, [adapter.module.id for adapter in adapters], settings["weights"])
    change = merge.merge(task.method, adapters, weights, *merge.how(settings), task.seed, int(settings["max_rank"]))
    factors = {name: (c.b.float(), c.a.float()) for name, c in change.items()}
    nothing = np.zeros(task.count)
    fitted = evaluator.take("search", weights, None, lambda rows: hung.measure(evaluator, nothing, rows, factors))
    return Found(weights, fitted, None, {"weights": list(weights)}, change, learned=False)
