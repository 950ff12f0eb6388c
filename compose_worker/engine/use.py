"""Measures how much the examples use each direction of a change, so that an export can cut what they use least."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compose_worker.engine import examples
from compose_worker.engine.base_models import Base
from compose_worker.engine.examples import Encoded

RIDGE = 0.01  # of the inputs' mean square: what the examples do not use is not free to go


def grams(base: Base, encoded: Sequence[Encoded], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`A C A^T` (R, R) for the factor A (R, inputs) of each layer, where C are the second moments of the layer's inputs plus a ridge.

    One forward of the bare base model; only the projected inputs are kept, so no matrix of the layer's width is formed.
    """
    layers = base.layers()
    found = {name: _Moments(a.to(base.device, torch.float32)) for name, a in rows.items()}
    with base.lock:
        handles = [layers[name].register_forward_hook(moments.see) for name, moments in found.items()]
        try:
            with torch.inference_mode():
                for row in encoded:  # one by one: without padding every token counts
                    examples.run(base, examples.batches(base, [row])[0])
        finally:
            for handle in handles:
                handle.remove()
    return {name: moments.gram(rows[name]) for name, moments in found.items()}


class _Moments:
    """Sums over the tokens that went into one layer."""

    def __init__(self, a: Tensor) -> None:
        self.a = a
        self.sum = torch.zeros(a.shape[0], a.shape[0], dtype=torch.float64)
        self.square, self.count = 0.0, 0

    def see(self, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        inputs = args[0].float()
        inputs = inputs.reshape(-1, inputs.shape[-1])  # (tokens, inputs)
        inner = inputs @ self.a.t()  # (tokens, R)
        self.sum += (inner.t() @ inner).double().cpu()
        self.square += float((inputs.double() ** 2).sum())
        self.count += inputs.shape[0]

    def gram(self, a: Tensor) -> Tensor:
        if self.count == 0:
            return a.double() @ a.double().t()
        ridge = RIDGE * self.square / (self.count * a.shape[1])
        return self.sum / self.count + ridge * (a.double() @ a.double().t())
