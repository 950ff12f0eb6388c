"""Holds N modules as stacked factors on the base model's layers and mixes them in the forward, without touching its weights."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compose_worker.engine import hot, memory, sizes
from compose_worker.engine.base_models import Base, shape
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.examples import Batch
from compose_worker.engine.modules import Adapter
from compose_worker.engine.spec import Module

SPACES = ("exact", "lorahub")


class Stack:
    """The factors of all modules on one layer, below each other in `order`; R is the sum of their ranks."""

    def __init__(self, layer: nn.Module, ranks: Sequence[int], order: Sequence[int], base: Base) -> None:
        self.layer = layer
        self.ranks = tuple(ranks)  # by module
        self._order = tuple(order)
        self._begins = dict(zip(order, accumulate((ranks[index] for index in order), initial=0), strict=False))
        inputs, outputs = shape(layer)
        place: dict[str, Any] = {"device": base.device, "dtype": layer.weight.dtype}
        self.a = torch.empty(sum(ranks), inputs, **place)
        self.b = torch.empty(sum(ranks), outputs, **place)
        self.spread = torch.zeros(len(ranks), sum(ranks), device=base.device)  # (N, R) float32: the scale of module i on its own rows, else 0

    def put(self, index: int, a: Tensor, b: Tensor, scale: float) -> None:
        own = slice(self._begins[index], self._begins[index] + self.ranks[index])
        self.a[own], self.b[own], self.spread[index, own] = a.to(self.a), b.t().to(self.b), scale

    def sizes(self) -> Tensor:
        """The size of every module's change, (N,), for each entry of the layer's weight."""
        each = sizes.squared(self.a, self.b)
        return (self.spread.to(each).square() @ each / (self.a.shape[1] * self.b.shape[1])).sqrt()

    def rows(self, active: Sequence[int]) -> Tensor:
        """The rows that belong to the modules in `active`."""
        return torch.cat([torch.arange(self._begins[i], self._begins[i] + self.ranks[i]) for i in self._order if i in active])


class Bank:
    """N modules on one base model. `mixed` makes the base model answer as their weighted mix."""

    def __init__(self, base: Base, adapters: Sequence[Adapter], keep: int = hot.KEEP_BYTES) -> None:
        self.base = base
        self.adapters = tuple(adapters)
        layers = base.layers()
        names = sorted({name for adapter in adapters for name in adapter.parts})
        # Sums are taken in the order of the ids, so that their last bits do not depend on that in which modules were named.
        self._order = sorted(range(len(adapters)), key=lambda index: adapters[index].module.id)
        self.stacks = {name: Stack(layers[name], [a.parts[name].rank if name in a.parts else 0 for a in adapters], self._order, base) for name in names}
        for index, adapter in enumerate(adapters):
            for name, a, b in hot.factors(base, adapter, layers, keep):
                self.stacks[name].put(index, a, b, adapter.parts[name].scale)
        self._places = {name: place for place, name in enumerate(self.stacks)}
        self._chosen: tuple[int, ...] = ()
        self._parts: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    @property
    def takes_populations(self) -> bool:
        """Whether every line of a batch keeps its place at the layers that modules change; an expert sees tokens without their lines."""
        return not any("expert" in name or name in self.base.scattered for name in self.stacks)

    @contextmanager
    def mixed(self, weights: Tensor, space: str = "exact", active: Sequence[int] | None = None) -> Iterator[None]:
        """Hang the mix on the base model: `weights` is (N,), or (layers, N) in the order of `stacks`.

        `active` names the modules that take part (default: those whose weight is not zero).
        """
        taking_part = _used(weights) if active is None else tuple(active)
        with self.base.lock, ExitStack() as stack:
            if taking_part:
                hang = self._hang_exact if space == "exact" else self._hang_lorahub
                for handle in hang(weights.to(self.base.device, torch.float32), taking_part):
                    stack.callback(handle.remove)
            yield

    @contextmanager
    def populated(self, weights: Sequence[Tensor], batch: Batch, active: Sequence[int] | None = None) -> Iterator[None]:
        """Hang many mixes at once: `weights` by candidate, each (N,) or (layers, N); the mix of its owner answers a line of the batch."""
        by_layer = {owner: weights[owner].expand(len(self.stacks), -1) for owner in set(batch.owners)}
        mine = torch.stack([by_layer[owner] for owner in batch.owners]).to(self.base.device, torch.float32)  # (lines, layers, N)
        lines = _Lines(batch, self.base.device)
        with self.base.lock, ExitStack() as stack:
            taking_part = _used(mine) if active is None else tuple(active)
            for name, (a, b, spread) in self._select(taking_part).items() if taking_part else ():
                handle = self.stacks[name].layer.register_forward_hook(_population_hook(a, b, self._of_layer(mine, name) @ spread, lines))
                stack.callback(handle.remove)
            yield

    def mean(self, weights: np.ndarray) -> tuple[float, ...]:
        """One weight for each module: as it is, or the mean over the layers that the module changes."""
        if weights.ndim == 1:
            return tuple(weights.tolist())
        there = np.array([[name in adapter.parts for adapter in self.adapters] for name in self.stacks])
        return tuple(((weights * there).sum(0) / there.sum(0)).tolist())

    def sizes(self) -> np.ndarray:
        """How large each module's change is on each layer, (layers, N)."""
        return np.array([stack.sizes().tolist() for stack in self.stacks.values()])

    def by_layer(self, weights: np.ndarray) -> dict[str, list[float]]:
        """Weights of either shape as one list for each layer."""
        whole = np.broadcast_to(weights, (len(self.stacks), weights.shape[-1]))
        return dict(zip(self.stacks, whole.tolist(), strict=True))

    def _of_layer(self, weights: Tensor, name: str) -> Tensor:
        """The layer's own weights where there are some for each layer: `weights` is (..., layers, N)."""
        return weights[..., self._places[name], :]

    def _hang_exact(self, weights: Tensor, active: tuple[int, ...]) -> list[Any]:
        handles = []
        for name, (a, b, spread) in self._select(active).items():
            own = weights if weights.dim() == 1 else self._of_layer(weights, name)
            handles.append(self.stacks[name].layer.register_forward_hook(_hook(a, b, own @ spread)))
        return handles

    def _select(self, active: tuple[int, ...]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """The factors of the active modules alone: zero weights cost nothing."""
        if active != self._chosen or not self._parts:
            self._parts = {}
            for name, stack in self.stacks.items():
                rows = stack.rows(active).to(self.base.device)
                if len(rows) == stack.a.shape[0]:
                    self._parts[name] = (stack.a, stack.b, stack.spread)
                elif len(rows):
                    self._parts[name] = (stack.a[rows], stack.b[rows], stack.spread[:, rows])
            self._chosen = active
        return self._parts

    def _hang_lorahub(self, weights: Tensor, active: tuple[int, ...]) -> list[Any]:
        ordered = [index for index in self._order if index in active]
        share = weights[ordered]
        handles = []
        for name, (a, b, spread) in self._select(active).items():
            rank = self.stacks[name].ranks[ordered[0]]
            mixed_a = torch.einsum("n,nri->ri", share, a.float().view(len(active), rank, -1))
            mixed_b = torch.einsum("n,nro->ro", share, b.float().view(len(active), rank, -1))
            hook = _hook(mixed_a.to(a.dtype), (mixed_b * spread[ordered[0], :rank, None]).to(b.dtype), None)
            handles.append(self.stacks[name].layer.register_forward_hook(hook))
        return handles


class _Lines:
    """Finds the line of a batch that each vector at a layer belongs to."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.count = len(batch.owners)
        self.answers = torch.repeat_interleave(torch.arange(self.count), torch.tensor(batch.counts)).to(device)

    def spread(self, x: Tensor, by_line: Tensor) -> Tensor:
        """`by_line` (lines, R) in a shape that multiplies what a layer makes of `x`."""
        if x.dim() == 3 and x.shape[0] == self.count:  # (lines, tokens, inputs)
            return by_line[:, None]
        if x.dim() == 3 and x.shape[:2] == (1, len(self.answers)):  # the vocabulary projection sees answers alone
            return by_line[self.answers][None]
        if x.dim() == 2 and x.shape[0] % self.count == 0:  # some models lay all lines behind each other
            return by_line.repeat_interleave(x.shape[0] // self.count, 0)
        raise RuntimeError(f"cannot tell the lines of an input of shape {tuple(x.shape)} apart")


def _used(weights: Tensor) -> tuple[int, ...]:
    """The modules with a weight anywhere; `weights` is (..., N)."""
    there = weights.detach() != 0
    while there.dim() > 1:
        there = there.any(0)
    return tuple(torch.nonzero(there).flatten().tolist())


def _hook(a: Tensor, b: Tensor, scale: Tensor | None) -> Any:
    def add(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inner = nn.functional.linear(args[0], a)
        return _added(output, inner if scale is None else inner * scale, b)

    return add


def _population_hook(a: Tensor, b: Tensor, scale: Tensor, lines: _Lines) -> Any:
    def add(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return _added(output, nn.functional.linear(args[0], a) * lines.spread(args[0], scale), b)

    return add


def _added(output: Tensor, inner: Tensor, b: Tensor) -> Tensor:
    """`output + inner @ b`, rounded once; `inner` is (..., R), in float32 where weights have just multiplied it."""
    flat = output.reshape(-1, output.shape[-1])
    thin = inner.reshape(-1, inner.shape[-1]).to(output.dtype)
    if torch.is_grad_enabled():
        return torch.addmm(flat, thin, b).view_as(output)
    return flat.addmm_(thin, b).view_as(output)


def load(base: Base, chosen: Sequence[Module], keep: int = hot.KEEP_BYTES) -> Bank:
    """Read and check every module, and stack them; `keep` bytes of modules stay in memory for the next job."""
    layers = base.layers()
    with memory.enough_for(f"{len(chosen)} adapters"):
        return Bank(base, [hot.read(base, module, layers) for module in chosen], keep)


def check_alike(adapters: Sequence[Adapter]) -> None:
    """Raise `modules-differ` unless all modules have the same layers, ranks and scales, as LoraHub's adding up of factors needs."""
    for adapter in adapters[1:]:
        if adapter.parts != adapters[0].parts:
            raise ComposeError(
                "modules-differ",
                f"LoraHub needs adapters of one rank, scale and set of layers, and {adapter.module.id} differs from {adapters[0].module.id}. "
                "Leave it out, or choose the method 'medley' or 'cma'.",
            )
