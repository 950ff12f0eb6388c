"""Hangs a change in thin factors on a base model's layers, beside whatever hangs there already, and measures it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compose_worker.engine import examples, memory
from compose_worker.engine.base_models import Base
from compose_worker.engine.evaluator import Evaluator, Measured

Factors = Mapping[str, tuple[Tensor, Tensor]]  # (B, A) by layer; B is (outputs, R), A is (R, inputs)


@contextmanager
def hung(base: Base, factors: Factors) -> Iterator[None]:
    """Let the base model answer as if `B @ A` were added to its weights."""
    layers = base.layers()
    handles = []
    with base.lock:
        try:
            for name, (b, a) in factors.items():
                handles.append(layers[name].register_forward_hook(_hook(b.to(base.device), a.to(base.device), base.dtype)))
            yield
        finally:
            for handle in handles:
                handle.remove()


def _hook(b: Tensor, a: Tensor, dtype: torch.dtype) -> Any:
    def add(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + nn.functional.linear(nn.functional.linear(args[0], a.to(dtype)), b.to(dtype))

    return add


def measure(evaluator: Evaluator, weights: np.ndarray, rows: Sequence[int], factors: Factors | None) -> Measured:
    """One forward of the rows with the weighted modules and the factors on the base model; the caller records it."""
    base = evaluator.bank.base
    sums: dict[int, float] = {}
    exact: dict[int, bool] = {}
    asked = [evaluator.encoded[row] for row in rows]

    def run(batches: Sequence[examples.Batch]) -> None:
        for batch in batches:
            outcome = examples.run(base, batch)
            sums.update(zip(batch.rows, outcome.sums, strict=True))
            exact.update(zip(batch.rows, outcome.exact, strict=True))

    with evaluator.bank.mixed(torch.tensor(weights, dtype=torch.float32)), hung(base, factors or {}), torch.inference_mode():
        _, evaluator.forward_tokens = memory.fitting(evaluator.forward_tokens, lambda tokens: examples.batches(base, asked, tokens), run, base.device)
    tokens = sum(evaluator.tokens[row] for row in rows)
    return Measured((), tuple(rows), sum(sums[r] for r in rows) / tokens, tuple(sums[r] for r in rows), tuple(exact[r] for r in rows))
