"""Minimises a loss in few gradients: Adam on the weights, whose steps have nearly one length whatever the loss's scale."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

RATE = 0.05  # the change of a weight in one step
KEEP, KEEP_SQUARES = 0.9, 0.99  # of what earlier slopes said
TINY = 1e-9

Point = np.ndarray
Slope = Callable[[Point], Point]  # weights -> gradient of the loss


@dataclass
class Descent:
    """A descent that goes on only when asked."""

    slope: Slope
    x: Point
    step: int = 0
    _mean: Point = field(init=False)
    _square: Point = field(init=False)

    def __post_init__(self) -> None:
        self._mean, self._square = np.zeros_like(self.x), np.zeros_like(self.x)

    def to(self, step: int) -> Point:
        """The weights after so many steps."""
        while self.step < step:
            slope = self.slope(self.x)
            self.step += 1
            self._mean = KEEP * self._mean + (1 - KEEP) * slope
            self._square = KEEP_SQUARES * self._square + (1 - KEEP_SQUARES) * slope**2
            size = np.sqrt(self._square / (1 - KEEP_SQUARES**self.step))
            self.x = self.x - RATE * self._mean / (1 - KEEP**self.step) / (size + TINY)
        return self.x
