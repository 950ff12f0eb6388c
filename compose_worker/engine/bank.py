"""Holds N modules as stacked factors on the base model's layers and mixes them in the forward, without touching its weights."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compose_worker.engine import modules
from compose_worker.engine.base_models import Base
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.modules import Adapter
from compose_worker.engine.spec import Module

SPACES = ("exact", "lorahub")


class Stack:
    """The factors of all modules on one layer, below each other; R is the sum of their ranks."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        self.layer = layer
        self.a = torch.empty(0)  # (R, inputs)
        self.b = torch.empty(0)  # (R, outputs)
        self.spread = torch.empty(0)  # (N, R) float32: the scale of module i on its own rows, else 0
        self.ranks = [0] * count  # by module
        self.pieces: list[tuple[int, Tensor, Tensor, float]] = []  # until `close`

    def add(self, index: int, a: Tensor, b: Tensor, scale: float) -> None:
        self.ranks[index] = a.shape[0]
        self.pieces.append((index, a, b.t(), scale))

    def close(self, device: torch.device, dtype: torch.dtype) -> None:
        self.a = torch.cat([a for _, a, _, _ in self.pieces]).to(device, dtype)
        self.b = torch.cat([b for _, _, b, _ in self.pieces]).to(device, dtype)
        self.spread = torch.zeros(len(self.ranks), self.a.shape[0], device=device)
        begin = 0
        for index, a, _, scale in self.pieces:
            self.spread[index, begin : begin + a.shape[0]] = scale
            begin += a.shape[0]
        self.pieces = []

    def rows(self, active: Sequence[int]) -> Tensor:
        """The rows that belong to the modules in `active`."""
        return torch.nonzero(self.spread[list(active)].abs().sum(0)).flatten()


class Bank:
    """N modules on one base model. `mixed` makes the base model answer as their weighted mix."""

    def __init__(self, base: Base, adapters: Sequence[Adapter]) -> None:
        self.base = base
        self.adapters = tuple(adapters)
        layers = base.layers()
        self.stacks: dict[str, Stack] = {}
        for index, adapter in enumerate(adapters):
            for name, a, b in modules.factors(adapter):
                stack = self.stacks.setdefault(name, Stack(layers[name], len(adapters)))
                stack.add(index, a, b, adapter.parts[name].scale)
        for stack in self.stacks.values():
            stack.close(base.device, base.dtype)
        self._chosen: tuple[int, ...] = ()
        self._parts: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    @contextmanager
    def mixed(self, weights: Tensor, space: str = "exact", active: Sequence[int] | None = None) -> Iterator[None]:
        """Hang the mix on the base model: `weights` is (N,), or (layers, N) in the order of `stacks`.

        `active` names the modules that take part (default: those whose weight is not zero).
        """
        taking_part = tuple(active) if active is not None else _used(weights)
        with self.base.lock, ExitStack() as stack:
            if taking_part:
                hang = self._hang_exact if space == "exact" else self._hang_lorahub
                for handle in hang(weights.to(self.base.device, torch.float32), taking_part):
                    stack.callback(handle.remove)
            yield

    def mean(self, weights: np.ndarray) -> tuple[float, ...]:
        """One weight for each module: as it is, or the mean over the layers that the module changes."""
        if weights.ndim == 1:
            return tuple(weights.tolist())
        there = np.array([[name in adapter.parts for adapter in self.adapters] for name in self.stacks])
        return tuple(((weights * there).sum(0) / there.sum(0)).tolist())

    def by_layer(self, weights: np.ndarray) -> dict[str, list[float]]:
        """Weights of either shape as one list for each layer."""
        whole = np.broadcast_to(weights, (len(self.stacks), weights.shape[-1]))
        return dict(zip(self.stacks, whole.tolist(), strict=True))

    def _hang_exact(self, weights: Tensor, active: tuple[int, ...]) -> list[Any]:
        handles = []
        places = {name: place for place, name in enumerate(self.stacks)}
        for name, (a, b, spread) in self._select(active).items():
            hook = _hook(a, b, (weights if weights.dim() == 1 else weights[places[name]]) @ spread)
            handles.append(self.stacks[name].layer.register_forward_hook(hook))
        return handles

    def _select(self, active: tuple[int, ...]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """The factors of the active modules alone: zero weights cost nothing."""
        if active != self._chosen or not self._parts:
            self._parts = {}
            for name, stack in self.stacks.items():
                rows = stack.rows(active)
                if len(rows) == stack.a.shape[0]:
                    self._parts[name] = (stack.a, stack.b, stack.spread)
                elif len(rows):
                    self._parts[name] = (stack.a[rows], stack.b[rows], stack.spread[:, rows])
            self._chosen = active
        return self._parts

    def _hang_lorahub(self, weights: Tensor, active: tuple[int, ...]) -> list[Any]:
        share = weights[list(active)]
        handles = []
        for name, (a, b, spread) in self._select(active).items():
            rank = self.stacks[name].ranks[active[0]]
            mixed_a = torch.einsum("n,nri->ri", share, a.float().view(len(active), rank, -1))
            mixed_b = torch.einsum("n,nro->ro", share, b.float().view(len(active), rank, -1))
            hook = _hook(mixed_a.to(a.dtype), mixed_b.to(b.dtype), spread[active[0], :rank])
            handles.append(self.stacks[name].layer.register_forward_hook(hook))
        return handles


def _used(weights: Tensor) -> tuple[int, ...]:
    there = weights.detach() != 0
    return tuple(torch.nonzero(there if there.dim() == 1 else there.any(0)).flatten().tolist())


def _hook(a: Tensor, b: Tensor, scale: Tensor) -> Any:
    def add(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inner = nn.functional.linear(args[0], a) * scale  # (..., R) in float32: the weights are not rounded
        return output + inner.to(output.dtype) @ b

    return add


def load(base: Base, chosen: Sequence[Module]) -> Bank:
    """Read and check every module, and stack them."""
    layers = base.layers()
    return Bank(base, [modules.read(module, layers) for module in chosen])


def check_alike(adapters: Sequence[Adapter]) -> None:
    """Raise `modules-differ` unless all modules have the same layers, ranks and scales, as LoraHub's adding up of factors needs."""
    for adapter in adapters[1:]:
        if adapter.parts != adapters[0].parts:
            raise ComposeError(
                "modules-differ",
                f"LoraHub needs adapters of one rank, scale and set of layers, and {adapter.module.id} differs from {adapters[0].module.id}. "
                "Leave it out, or choose the method 'medley' or 'cma'.",
            )
