"""Trains a small LoRA on top of a fixed mix: full batches, AdamW on factors in float32, the base model and the modules frozen."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from compose_worker.engine import base_models, examples, memory
from compose_worker.engine.bank import Bank
from compose_worker.engine.examples import Encoded
from compose_worker.engine.hung import Factors, hung

STEP_COST = 2.0  # forwards: the backward goes through frozen weights
DECAY = 0.01


class Fit:
    """A training run that goes on only when asked: `at(step)` trains up to there. The same rows, seed and settings give the same factors.

    What is trained starts from the fixed mix unchanged: B is zero, A is drawn from the seed.
    """

    def __init__(
        self,
        bank: Bank,
        weights: np.ndarray,
        rows: Sequence[Encoded],
        layers: Sequence[str],
        settings: Mapping[str, Any],
        seed: int,
        forward_tokens: int,
        pause: Callable[[], None],
    ) -> None:
        self._bank, self._weights, self._pause = bank, torch.tensor(weights, dtype=torch.float32), pause
        self._rows = tuple(rows)
        self._rank = int(settings["tuned_rank"])
        self._rate = float(settings["learning_rate"])
        self._layers, self._seed = tuple(sorted(layers)), seed
        self._step = 0
        self.forward_tokens = examples.room(bank.base, forward_tokens)  # of a forward without a backward; falls when the device runs out of memory
        self._factors: dict[str, tuple[Tensor, Tensor]] = {}
        self._optimiser: torch.optim.Optimizer | None = None

    @property
    def rows(self) -> int:
        """How many examples it learns from."""
        return len(self._rows)

    def at(self, step: int) -> Factors:
        """The factors after so many steps."""
        if step < self._step:
            raise ValueError(f"a fit that is at step {self._step} cannot go back to {step}")
        if self._optimiser is None:
            self._begin()
        while self._step < step:
            self._pause()
            self._train()
            self._step += 1
        return {name: (b.detach(), a.detach()) for name, (b, a) in self._factors.items()}

    def _begin(self) -> None:
        base = self._bank.base
        there = base.layers()
        for name in self._layers:
            inputs, outputs = base_models.shape(there[name])
            a = torch.empty(self._rank, inputs).uniform_(-1.0, 1.0, generator=_generator(self._seed, name)) / math.sqrt(inputs)
            b = torch.zeros(outputs, self._rank)
            self._factors[name] = (b.to(base.device).requires_grad_(), a.to(base.device).requires_grad_())
        self._optimiser = torch.optim.AdamW([f for pair in self._factors.values() for f in pair], lr=self._rate, weight_decay=DECAY, foreach=False)

    def _train(self) -> None:
        base = self._bank.base
        tokens = sum(len(row.answer) for row in self._rows)
        optimiser = self._optimiser
        assert optimiser is not None

        def slope(batches: Sequence[examples.Batch]) -> None:
            optimiser.zero_grad(set_to_none=True)
            for batch in batches:
                (examples.run(base, batch).total / tokens).backward()

        quick = sdpa_kernel(SDPBackend.MATH) if base.device.type == "cpu" else nullcontext()
        with self._bank.mixed(self._weights), hung(base, self._factors), torch.enable_grad(), quick:
            wanted = examples.room(base, self.forward_tokens, backward=True)
            _, fits = memory.fitting(wanted, lambda size: examples.batches(base, self._rows, size), slope, base.device)
        if fits < wanted:
            self.forward_tokens = fits * examples.BACKWARD
        optimiser.step()


def _generator(seed: int, layer: str) -> torch.Generator:
    """Chance of its own for every layer, so that the order of layers does not matter."""
    digest = hashlib.sha256(f"tune\n{seed}\n{layer}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
