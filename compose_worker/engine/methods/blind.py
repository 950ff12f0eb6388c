"""Drives a nevergrad optimiser through ask and tell; shared by the methods that search without gradients."""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import nevergrad as ng
import numpy as np

Point = tuple[float, ...]


def minimise(name: str, start: Sequence[float], bound: float, budget: int, seed: int, losses: Callable[[list[Point]], Sequence[float]]) -> Point:
    """Return what nevergrad's optimiser `name` recommends after `budget` points. Same seed and losses, same points.

    `losses` is given a generation at a time: the points that the optimiser names before it learns of any.
    """
    space = ng.p.Array(init=np.array(start, dtype=float), lower=-bound, upper=bound)
    space.random_state.seed(seed % 2**32)
    others = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small budgets and early convergence are ordinary here
        optimiser = _optimiser(name, space, budget)
        try:
            left = budget
            while left:
                candidates = [_ask(optimiser) for _ in range(min(_generation(optimiser), left))]
                left -= len(candidates)
                found = losses([tuple(float(w) for w in candidate.value) for candidate in candidates])
                for candidate, loss in zip(candidates, found, strict=True):
                    optimiser.tell(candidate, loss)
            return tuple(float(w) for w in optimiser.provide_recommendation().value)
        finally:
            _stop(optimiser, others)


def _ask(optimiser: Any) -> Any:
    _let_finish(optimiser)
    return optimiser.ask()


def _optimiser(name: str, space: ng.p.Array, budget: int) -> Any:
    optimiser = ng.optimizers.registry[name](parametrization=space, budget=budget, num_workers=1)
    # With much budget for few weights NGOpt adds a surrogate whose inner search ends by the clock: no run could be repeated.
    if "MetaModel" in getattr(getattr(optimiser, "optim", None), "name", ""):
        optimiser = ng.optimizers.registry["CMA"](parametrization=space, budget=budget, num_workers=1)
    return optimiser


def _core(optimiser: Any) -> Any:
    """The optimiser that a portfolio has chosen."""
    while hasattr(optimiser, "optim"):
        optimiser = optimiser.optim
    return optimiser


def _generation(optimiser: Any) -> int:
    """How many points it names before it changes its mind: CMA-ES as many as its population, others one."""
    return int(getattr(_core(optimiser), "_popsize", 1))


def _thread(optimiser: Any) -> Any:
    """The thread that scipy's minimisers run in, for optimisers built on one of them."""
    return getattr(_core(optimiser), "_messaging_thread", None)


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
