"""How large modules are beside each other: one that is far too large, with a wrong alpha for example, must not hide what the others would do.

A size is that of `s B A` by layer: the root of the summed squares of its entries, as if the directions of A stood at right angles, which those of
trained adapters nearly do. That takes no product of the factors.
"""

import statistics
from collections.abc import Sequence

import numpy as np
from torch import Tensor

OUTSIZED = 2.0  # times the largest module that helps is still ordinary
LARGE = 4.0  # times the median is, where that is all there is to go by; the modules in docs/benchmarks are 2.2 times as large at most


def squared(a: Tensor, b: Tensor) -> Tensor:
    """The squared size of every direction, (R,), of factors (R, inputs) and (R, outputs), in float64."""
    return a.double().square().sum(1) * b.double().square().sum(1)


def excess(sizes: np.ndarray, helpful: Sequence[int]) -> np.ndarray:
    """How many times too large each module is on each layer, 1 where it is not: `sizes` and the result are (layers, N).

    What is ordinary on a layer is said by the modules that help, or by the larger half of all where none does; where those leave a layer
    alone, by the largest that they have anywhere. Modules without size, which nobody has trained, say nothing.
    """
    if helpful:
        ordinary = OUTSIZED * sizes[:, list(helpful)].max(axis=1, keepdims=True)
    else:
        ordinary = LARGE * np.array([[statistics.median_high([size for size in row if size > 0] or [0.0])] for row in sizes.tolist()])
    ordinary = np.where(ordinary > 0, ordinary, ordinary.max())
    return np.maximum(1.0, np.divide(sizes, ordinary, out=np.ones_like(sizes), where=ordinary > 0))
