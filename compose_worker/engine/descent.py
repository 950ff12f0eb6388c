"""Minimises losses in few gradients: Adam that moves a weight the less, the less its slope counts among all, so that steps have nearly one length
whatever the loss's scale and weights without much effect stay where they are."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

RATE = 0.1  # the change of a weight with a steep slope in one step; with a slope of the usual size half of it
KEEP, KEEP_SQUARES = 0.9, 0.99  # of what earlier slopes said
TINY = 1e-9

Point = np.ndarray
Slope = Callable[[Point], Point]  # weights -> gradient of the loss


@dataclass
class Descent:
    """Descents side by side, one for each item of `x`, that go on only when asked."""

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
            self.x = self.x - RATE * self._mean / (1 - KEEP**self.step) / (size + _usual(size) + TINY)
        return self.x


def _usual(size: Point) -> Point:
    """The root mean square of each item's sizes, without those of weights that have no effect at all."""
    own = tuple(range(1, size.ndim))
    return np.sqrt((size**2).sum(axis=own, keepdims=True) / np.maximum(1, (size > 0).sum(axis=own, keepdims=True)))
