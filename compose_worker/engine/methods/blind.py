"""Drives a nevergrad optimiser through ask and tell; shared by the methods that search without gradients."""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import nevergrad as ng
import numpy as np


def minimise(name: str, start: Sequence[float], bound: float, budget: int, seed: int, loss: Callable[[tuple[float, ...]], float]) -> tuple[float, ...]:
    """Return what nevergrad's optimiser `name` recommends after `budget` calls of `loss`. Same seed and losses, same points."""
    space = ng.p.Array(init=np.array(start, dtype=float), lower=-bound, upper=bound)
    space.random_state.seed(seed % 2**32)
    others = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small budgets and early convergence are ordinary here
        optimiser = _optimiser(name, space, budget)
        try:
            for _ in range(budget):
                _let_finish(optimiser)
                candidate = optimiser.ask()
                optimiser.tell(candidate, loss(tuple(float(w) for w in candidate.value)))
            return tuple(float(w) for w in optimiser.provide_recommendation().value)
        finally:
            _stop(optimiser, others)


def _optimiser(name: str, space: ng.p.Array, budget: int) -> Any:
    optimiser = ng.optimizers.registry[name](parametrization=space, budget=budget, num_workers=1)
    # With much budget for few weights NGOpt adds a surrogate whose inner search ends by the clock: no run could be repeated.
    if "MetaModel" in getattr(getattr(optimiser, "optim", None), "name", ""):
        optimiser = ng.optimizers.registry["CMA"](parametrization=space, budget=budget, num_workers=1)
    return optimiser


def _thread(optimiser: Any) -> Any:
    """The thread that scipy's minimisers run in, for optimisers built on one of them."""
    while hasattr(optimiser, "optim"):
        optimiser = optimiser.optim
    return getattr(optimiser, "_messaging_thread", None)


def _let_finish(optimiser: Any) -> None:
    # Asking a thread that has said its last word but still breathes would wait for ever.
    messenger = _thread(optimiser)
    if messenger is not None and messenger.output is not None and messenger.messages_ask.empty():
        messenger._thread.join()


def _stop(optimiser: Any, others: set[threading.Thread]) -> None:
    messenger = _thread(optimiser)
    if messenger is not None:
        messenger.stop()
    for thread in set(threading.enumerate()) - others:
        if type(thread).__module__.startswith("nevergrad"):
            thread.join(timeout=5)
