"""Describes what an adapter does to each matrix, and gives its update a fingerprint that survives every way to write the same update.

The fingerprint is a random projection of the whole update: number k of it is the sum over all matrices of `p_k^T (s B A) z_k`, where p_k and z_k are
vectors of signs that depend on the matrix's name and shape alone. Cosines of fingerprints estimate cosines of the updates themselves, with an error of
about (1 - cosine^2) / sqrt(PROBES). Only the product `s B A` enters, so how it is factored, padded or rounded does not matter, and the length is taken out.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compose_worker.engine import merge, modules, spectrum
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.export import FAINT
from compose_worker.engine.spec import Module

PROBES = 512
BLOCK = 4096  # rows of signs that are in memory at once
TOP = 8  # singular values kept of each matrix
LONGEST = 64  # singular values kept of their mean
LAYERS = 10_000  # a larger number in a name counts no layers


@dataclass(frozen=True)
class Matrix:
    """What an adapter adds to one matrix."""

    name: str
    layer: int | None  # None where the matrix belongs to no numbered layer
    target: str  # what the matrix is in its layer, as short as the adapter allows; experts and the like count as one
    norm: float  # Frobenius norm of `s B A`
    effective_rank: float  # exp of the entropy of the shares of the squared singular values, after Roy and Vetterli (2007), who take them unsquared
    values: tuple[float, ...]  # the largest singular values, falling


@dataclass(frozen=True)
class Profile:
    """What an adapter adds to its base model."""

    matrices: tuple[Matrix, ...]
    values: tuple[float, ...]  # root mean square over all matrices of the first singular value, the second, ...
    fingerprint: tuple[float, ...]  # PROBES numbers of length one; none where the update is zero


def measure(module: Module) -> Profile:
    """Measure a plain LoRA from its files, matrix by matrix; what is none is refused as `module-...`."""
    [adapter] = merge.read([module])
    places = _places(adapter.parts)
    matrices = []
    squares, sketch = torch.zeros(LONGEST, dtype=torch.float64), torch.zeros(PROBES, dtype=torch.float64)
    for name, a, b in modules.factors(adapter):
        a, b = a.double(), b.double() * adapter.parts[name].scale  # (r, inputs), (outputs, r)
        values = _values(a, b)
        _refuse_overflow(module, values)
        found = spectrum.of(values)
        top = tuple(float(f"{v:.4g}") for v in values[:TOP].tolist())
        matrices.append(Matrix(name, *places[name], math.sqrt(found["energy"]), found["effective_rank"], top))
        squares[: len(values)] += values[:LONGEST] ** 2
        sketch += _sketch(name, a, b)
    length = float(sketch.norm())
    fingerprint = tuple((sketch / length).tolist()) if length > 0 else ()
    mean = (squares / len(matrices)).sqrt()
    return Profile(tuple(matrices), tuple(float(f"{v:.4g}") for v in mean[: _longest(mean)].tolist()), fingerprint)


def _values(a: Tensor, b: Tensor) -> Tensor:
    """The singular values of `b @ a`, falling, from the thin factors."""
    left, right = torch.linalg.qr(b, mode="r")[1], torch.linalg.qr(a.t(), mode="r")[1]  # (k, r), (l, r)
    values = torch.linalg.svdvals(left @ right.t())
    return torch.where(values <= FAINT * left.norm() * right.norm(), 0.0, values)


def _sketch(name: str, a: Tensor, b: Tensor) -> Tensor:
    """`p_k^T (b a) z_k` for every k: the rows of `b^T P` and `a Z` multiplied and summed over the rank."""
    return (_probed(f"out:{name}", b.t()) * _probed(f"in:{name}", a)).sum(0)  # (PROBES,)


def _probed(label: str, factor: Tensor) -> Tensor:
    """A factor (r, size) times the signs (size, PROBES) that belong to the label. They come from a hash: no library's generator is sure to stay as it is."""
    r, size = factor.shape
    total = torch.zeros(r, PROBES, dtype=torch.float64)
    for start in range(0, size, BLOCK):
        rows = min(BLOCK, size - start)
        drawn = hashlib.shake_256(f"medley-1:{label}:{size}:{start}".encode()).digest(rows * PROBES // 8)
        signs = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(rows, PROBES)
        total += factor[:, start : start + rows] @ (torch.from_numpy(signs).double() * 2 - 1)
    return total


def _places(names: Iterable[str]) -> dict[str, tuple[int | None, str]]:
    """Return the layer of each matrix and what it is called there: `model.layers.3.self_attn.q_proj` is q_proj of layer 3."""
    split: dict[str, tuple[int | None, str, str]] = {}
    for name in names:
        parts = name.split(".")
        at = next((place for place, part in enumerate(parts) if part.isdecimal() and int(part) < LAYERS), None)
        if at is None:
            split[name] = (None, "", name)
        else:
            split[name] = (int(parts[at]), ".".join(parts[:at]), ".".join("*" if part.isdecimal() else part for part in parts[at + 1 :]))
    stacks = {stack for layer, stack, _ in split.values() if layer is not None}  # an encoder and a decoder, say
    whole = {name: (layer, f"{stack}.{rest}" if len(stacks) > 1 and stack else rest) for name, (layer, stack, rest) in split.items()}
    ends: dict[str, set[str]] = {}
    for _, target in whole.values():
        ends.setdefault(target.rpartition(".")[2], set()).add(target)
    return {name: (layer, last if len(ends[last := target.rpartition(".")[2]]) == 1 else target) for name, (layer, target) in whole.items()}


def _longest(values: Tensor) -> int:
    used = (values > 0).nonzero()
    return int(used[-1]) + 1 if len(used) else 0


def _refuse_overflow(module: Module, values: Tensor) -> None:
    if not math.isfinite(float((values**2).sum())):
        raise ComposeError("module-not-finite", f"The adapter {module.id} holds numbers that are too large to measure. Leave it out.")
