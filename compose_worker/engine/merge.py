"""Merges modules by given weights on their true changes `s B A`, one matrix at a time; needs no base model and no examples.

`linear` stays in factors and is exact. TIES (arXiv 2306.01708) and DARE (arXiv 2311.03099) are defined on whole task vectors, so a
matrix's changes are multiplied out, pruned, and merged entry by entry; the result is written back as its best approximation of the
rank wanted, and what that loses is reported. Merging the factors instead, as other tools do, gives something else: A and B have no
sign or size of their own, and cross terms `B_i A_j` of unrelated adapters come in.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from compose_worker.engine import modules
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.export import Change, exact, one_thread
from compose_worker.engine.modules import Adapter
from compose_worker.engine.spec import Module

DENSE = 1536  # matrices whose shorter side is longer are approximated by random projection: a full SVD would take minutes
SPARE, POWERS = 16, 4  # of the random projection


@dataclass(frozen=True)
class Rule:
    """How a matrix's changes become one."""

    prune: str = ""  # "magnitude" keeps the largest entries, "random" any, made larger by as much as was dropped
    elect: bool = False  # each entry takes the mean of those changes that agree with the majority's sign
    mean: bool = True  # weights that are not given are one over the number of modules, else one


RULES: dict[str, Rule] = {
    "linear": Rule(),
    "ties": Rule("magnitude", elect=True, mean=False),
    "dare_ties": Rule("random", elect=True, mean=False),
    "dare_linear": Rule("random"),
    "magnitude_prune": Rule("magnitude"),
}


def is_sum(method: str) -> bool:
    """Whether a merge by given weights is the weighted sum of the modules' changes."""
    return method in RULES and not RULES[method].prune


def read(chosen: Sequence[Module]) -> list[Adapter]:
    """Read and check modules without their base model: those that have the same layer must agree on its shape."""
    first: dict[str, tuple[str, tuple[int, int]]] = {}
    adapters = []
    for module in chosen:
        shapes = _shapes(module)
        for name, shape in shapes.items():
            other, there = first.setdefault(name, (module.id, shape))
            if there != shape:
                raise ComposeError(
                    "module-mismatch",
                    f"The adapters {other} and {module.id} do not fit the same base model: the layer {name[:80]!r} has {there[0]} inputs and "
                    f"{there[1]} outputs in the one, {shape[0]} and {shape[1]} in the other. Leave one of them out.",
                )
        layers = {name: nn.Linear(*shape, bias=False, device="meta") for name, shape in shapes.items()}
        adapters.append(modules.read(module, layers))
    return adapters


def weights(method: str, ids: Sequence[str], given: Mapping[str, float]) -> tuple[float, ...]:
    """The weight of every module: the one given, else the method's default."""
    default = 1 / len(ids) if RULES[method].mean else 1.0
    return tuple(float(given.get(name, default)) for name in ids)


def how(settings: Mapping[str, Any]) -> tuple[float, str]:
    """The density and the way to vote that the settings of a method name; those that it does not have mean nothing to it."""
    return float(settings.get("density", 1.0)), str(settings.get("sign", "total"))


def merge(method: str, adapters: Sequence[Adapter], shares: Sequence[float], density: float, sign: str, seed: int, rank: int) -> dict[str, Change]:
    """The merged change of every layer that a module with a weight has."""
    rule = RULES[method]
    if not rule.prune:
        return exact(adapters, shares)
    used = [_Used(adapter, share) for adapter, share in zip(adapters, shares, strict=True) if share != 0.0]
    merged = {}
    for name in sorted({name for one in used for name in one.adapter.parts}):
        there = [one for one in used if name in one.adapter.parts]

        def changes(name: str = name, there: "Sequence[_Used]" = there) -> Iterator[Tensor]:
            return (one.change(name, rule.prune, density, seed) for one in there)

        dense = _elected(changes, sign) if rule.elect else _total(changes())
        merged[name] = approximate(dense, rank)
        for one in there:
            one.forget(name)
    return merged


class _Used:
    """A module with its weight, whose changes are multiplied out one matrix at a time."""

    def __init__(self, adapter: Adapter, share: float) -> None:
        self.adapter, self.share = adapter, share
        self._factors = {name: (a, b) for name, a, b in modules.factors(adapter)}

    def change(self, name: str, how: str, density: float, seed: int) -> Tensor:
        a, b = self._factors[name]
        delta = (b @ a) * self.adapter.parts[name].scale
        return self.share * _pruned(delta, how, density, _generator(seed, self.adapter.module.id, name))

    def forget(self, name: str) -> None:
        del self._factors[name]


def approximate(matrix: Tensor, rank: int) -> Change:
    """The best factors of `rank` for a dense matrix; above `DENSE` a projection onto its strongest directions, whose loss is known exactly."""
    matrix = matrix.double()
    whole = float((matrix**2).sum())
    if not math.isfinite(whole):
        raise ComposeError("export-overflow", "The adapters' numbers are too large to be added up. Leave out the one whose numbers are.")
    with one_thread():
        if min(matrix.shape) <= DENSE:
            u, values, v = torch.linalg.svd(matrix, full_matrices=False)
        else:
            basis = _strongest(matrix, rank + SPARE)
            u, values, v = torch.linalg.svd(basis.t() @ matrix, full_matrices=False)
            u = basis @ u
    values = values[:rank]
    root = values.sqrt()
    return Change(u[:, :rank] * root, root[:, None] * v[:rank], max(0.0, whole - float((values**2).sum())))


def _strongest(matrix: Tensor, count: int) -> Tensor:
    """An orthonormal basis that nearly holds the largest singular directions (Halko, Martinsson and Tropp, arXiv 0909.4061)."""
    start = torch.randn(matrix.shape[1], count, dtype=matrix.dtype, generator=torch.Generator().manual_seed(0))
    basis, _ = torch.linalg.qr(matrix @ start)
    for _ in range(POWERS):
        other, _ = torch.linalg.qr(matrix.t() @ basis)
        basis, _ = torch.linalg.qr(matrix @ other)
    return basis


def _pruned(delta: Tensor, how: str, density: float, generator: torch.Generator) -> Tensor:
    if density >= 1.0:
        return delta
    if how == "random":
        return delta * (torch.rand(delta.shape, generator=generator) < density) / density
    keep = int(density * delta.numel())
    if keep == 0:
        return torch.zeros_like(delta)
    smallest = delta.abs().flatten().kthvalue(delta.numel() - keep + 1).values
    return torch.where(delta.abs() >= smallest, delta, 0.0)


def _total(changes: Iterable[Tensor]) -> Tensor:
    waiting = iter(changes)
    total = next(waiting)
    for change in waiting:
        total = total + change
    return total


def _elected(changes: Callable[[], Iterable[Tensor]], sign: str) -> Tensor:
    """The mean, entry by entry, of the changes that have the majority's sign. Two passes: never all changes at once."""
    votes = _total(change.sign() if sign == "frequency" else change for change in changes())
    majority = torch.where(votes >= 0, 1.0, -1.0)
    total, count = torch.zeros_like(majority), torch.zeros_like(majority)
    for change in changes():
        agrees = change.sign() == majority
        total += torch.where(agrees, change, 0.0)
        count += agrees
    return total / count.clamp_min(1.0)


def _generator(seed: int, module: str, layer: str) -> torch.Generator:
    """Chance of its own for every module and layer, so that neither their order nor other modules matter."""
    digest = hashlib.sha256(f"{seed}\n{module}\n{layer}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _shapes(module: Module) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of every layer, from the file's header; a file that cannot be read is refused later, with the reason."""
    found = {}
    try:
        with safe_open(f"{module.path}/{modules.WEIGHTS}", framework="pt") as file:
            there = set(file.keys())
            for key in there:
                name = key.removeprefix(modules.PREFIX).removesuffix(".lora_A.weight")
                if {key, *modules.keys(name)} <= there and all(len(file.get_slice(k).get_shape()) == 2 for k in modules.keys(name)):
                    (inputs, outputs) = file.get_slice(modules.keys(name)[0]).get_shape()[-1], file.get_slice(modules.keys(name)[1]).get_shape()[0]
                    found[name] = (int(inputs), int(outputs))
    except (OSError, SafetensorError):
        return {}
    return found
