"""Minimises a loss plus a pull towards a centre in few evaluations: L-BFGS steps inside a trust radius, no line search."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

FIRST_STEP = 0.1
RADIUS = 0.6  # no step is longer, to begin with
MEMORY = 8

Point = np.ndarray
Slope = Callable[[Point], tuple[float, Point]]  # weights -> loss and its gradient


@dataclass
class Descent:
    """A descent that can go on with a weaker pull: `loss(x) + pull * |x - centre|^2`."""

    function: Slope
    centre: Point
    x: Point = field(init=False)
    loss: float = field(init=False)
    slope: Point = field(init=False)  # of the loss alone at x

    def __post_init__(self) -> None:
        self.x = self.centre.copy()
        self.loss, self.slope = self.function(self.x)
        self._radius = RADIUS
        self._pairs: list[tuple[Point, Point]] = []  # steps and the changes of the loss's slope along them

    def run(self, pull: float, evaluations: int) -> None:
        """Take up to so many evaluations; `x` is the best point met."""
        for _ in range(evaluations):
            step = self._step(pull)
            length = float(np.linalg.norm(step))
            if length < 1e-6:
                return
            trial = self.x + step
            loss, slope = self.function(trial)
            self._pairs = [*self._pairs, (step, slope - self.slope)][-MEMORY:]
            if self._total(trial, loss, pull) < self._total(self.x, self.loss, pull):
                self.x, self.loss, self.slope = trial, loss, slope
                self._radius = max(self._radius, 1.5 * length)
            else:
                self._radius = length / 3

    def _total(self, x: Point, loss: float, pull: float) -> float:
        away = x - self.centre
        return loss + pull * float(away @ away)

    def _step(self, pull: float) -> Point:
        """The L-BFGS direction (two loops over the pairs), no longer than the radius."""
        direction = self.slope + 2 * pull * (self.x - self.centre)
        size = float(np.linalg.norm(direction))
        if size == 0.0:
            return np.zeros_like(direction)
        pairs = [(step, change + 2 * pull * step) for step, change in self._pairs]
        pairs = [(step, change) for step, change in pairs if float(step @ change) > 1e-8 * float(change @ change)]
        if not pairs:
            return -direction * (min(FIRST_STEP, self._radius) / size)
        shares = []
        for step, change in reversed(pairs):
            share = float(step @ direction) / float(step @ change)
            shares.append(share)
            direction = direction - share * change
        step, change = pairs[-1]
        direction = direction * (float(step @ change) / float(change @ change))
        for (step, change), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + step * (share - float(change @ direction) / float(step @ change))
        return -direction * min(1.0, self._radius / float(np.linalg.norm(direction)))
