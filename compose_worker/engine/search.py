"""What a composition method is given and what it hands back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compose_worker.engine import sizes
from compose_worker.engine.evaluator import Evaluator, Measured
from compose_worker.engine.export import Change
from compose_worker.engine.hung import Factors
from compose_worker.engine.scores import Rows

HELPS = 0.9  # of the base model's loss: a module that has less alone is no untrained one that changes next to nothing


@dataclass(frozen=True)
class Task:
    """A search for weights: everything that was measured before it, and the way to measure more."""

    evaluator: Evaluator
    count: int  # number of modules in the spec, N
    kept: tuple[int, ...]  # the modules that take part
    settings: Mapping[str, Any]
    seed: int
    base: Measured
    singles: Mapping[int, Measured]  # by module
    uniform: Measured
    folds: tuple[tuple[int, ...], ...]  # rows held out in turn; empty when there is nothing to hold out
    method: str = ""
    unlike: tuple[int, ...] = ()  # modules that the method cannot mix with the others, and that compete alone

    def spread(self, weights: "list[float] | tuple[float, ...]") -> tuple[float, ...]:
        """Weights of the kept modules as weights of all of them."""
        out = [0.0] * self.count
        for index, weight in zip(self.kept, weights, strict=True):
            out[index] = float(weight)
        return tuple(out)

    @property
    def alone(self) -> tuple[int, ...]:
        """The modules that compete with the mix, each by itself."""
        return (*self.kept, *self.unlike)

    def best_single(self) -> Measured:
        """The module that does best alone."""
        return min((self.singles[index] for index in self.alone), key=lambda m: m.loss)

    def excess(self, by_layer: bool = True) -> np.ndarray:
        """How many times too large each module's change is, 1 where it is not: (layers, N), or (N,) for all its layers together.

        What is ordinary is said by the modules that clearly do better alone than the base model. Searches walk as if all were of ordinary size.
        """
        helpful = [index for index in self.kept if self.singles[index].loss < HELPS * self.base.loss]
        there = self.evaluator.bank.sizes()
        if not by_layer:
            there = np.sqrt(np.square(there).sum(axis=0, keepdims=True))
        kept, found = list(self.kept), np.ones_like(there)
        found[:, kept] = sizes.excess(there[:, kept], [kept.index(index) for index in helpful])
        return found if by_layer else found[0]

    def best_known(self, mean: bool = True) -> Measured:
        """The best of base, single modules and their mean (or without that), within the largest weight that the settings allow."""
        known = [self.base, *(self.singles[index] for index in self.alone), *([self.uniform] if mean else [])]
        bound = float(self.settings.get("bound", math.inf))
        return min((m for m in known if max(map(abs, m.weights)) <= bound), key=lambda m: m.loss)


@dataclass(frozen=True)
class Found:
    """The mix a method found. `held_out` is how its way of finding does on rows it did not learn from; None if that was not tried."""

    weights: tuple[float, ...]
    fitted: Measured  # the mix on all examples
    held_out: Rows | None
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON, for the report
    change: Mapping[str, Change] | None = None  # what is published instead of the weighted modules, by layer
    trained: Factors | None = None  # the part of `change` that was trained on top of them
    learned: bool = True  # whether the examples had a say in it
    layers: np.ndarray | None = None  # (layers, N) where every layer has weights of its own; `weights` are their means
    partial: bool = False  # whether `held_out` judges fits that learned from a part of the examples, while their mean has seen all
    by_fold: tuple[np.ndarray, ...] = ()  # the weights found without each fold, of either shape

    @property
    def mix(self) -> np.ndarray:
        """The weights as they are mixed."""
        return np.array(self.weights) if self.layers is None else self.layers
