"""Describes a published change by its singular values and says what a reader should know of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from compose_worker.engine import modules
from compose_worker.engine.modules import Adapter

MOST = 0.9  # share of the whole that is worth a warning


def summary(values: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, Any]:
    """Effective rank and share of the top singular value over all layers, by kind of layer and by layer; and each module's share of the squared size."""
    rows = {name: of(v) for name, v in values.items()}
    kinds: dict[str, list[dict[str, float]]] = {}
    for name, row in rows.items():
        kinds.setdefault(name.rsplit(".", 1)[-1], []).append(row)
    whole = sum(row["energy"] for row in rows.values())
    return {
        **_mean(list(rows.values()), whole),
        "by_target": {kind: _mean(those, whole) for kind, those in sorted(kinds.items())},
        "by_layer": {name: {key: round(number, 4) for key, number in row.items()} for name, row in rows.items()},
        "modules": {name: round(share, 4) for name, share in shares.items()},
    }


def shares(adapters: Sequence[Adapter], weights: Sequence[float] | Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How the squared size `|w s B A|^2` of the weighted modules is shared among them. `weights` is one for each module, or such a list by layer."""
    by_layer = weights if isinstance(weights, Mapping) else dict.fromkeys({name for adapter in adapters for name in adapter.parts}, weights)
    sizes: dict[str, float] = {}
    for index, adapter in enumerate(adapters):
        if not any(there[index] for there in by_layer.values()):
            continue
        total = 0.0
        for name, a, b in modules.factors(adapter):
            left, right = b.double().t() @ b.double(), a.double() @ a.double().t()  # (r, r) each: |BA|^2 without forming BA
            total += (by_layer[name][index] * adapter.parts[name].scale) ** 2 * float((left * right.t()).sum())
        sizes[adapter.module.id] = total
    whole = sum(sizes.values())
    return {name: size / whole for name, size in sizes.items()} if whole else {}


def notes(energy_kept: float, found: Mapping[str, Any], by_use: bool = False) -> list[str]:
    """What is worth a warning, in words. `by_use`: directions were weighed by what the examples use, and so is what was cut."""
    said = []
    if energy_kept < 0.99:
        of = "what the result does on your examples, squared" if by_use else "the result's squared size"
        said.append(f"The rank or size allowed cut {1 - energy_kept:.1%} of {of}. A larger one keeps more.")
    if len(found["modules"]) > 1:
        name, share = max(found["modules"].items(), key=lambda item: (item[1], item[0]))
        if share > MOST:
            said.append(f"One adapter dominates: {name} makes up {share:.0%} of the mix's squared size.")
    return said


def of(values: Tensor) -> dict[str, float]:
    """Effective rank, share of the top singular value, and the sum of the squares of one matrix's singular values."""
    squares = [float(v) ** 2 for v in values if float(v) > 0]
    whole = sum(squares)
    if not whole:
        return {"effective_rank": 0.0, "top_share": 0.0, "energy": 0.0}
    spread = [s / whole for s in squares]
    return {"effective_rank": math.exp(-sum(p * math.log(p) for p in spread if p > 0)), "top_share": max(spread), "energy": whole}


def _mean(rows: Sequence[Mapping[str, float]], whole: float) -> dict[str, float]:
    used = [row for row in rows if row["energy"] > 0]
    count = max(1, len(used))
    return {
        "effective_rank": round(sum(row["effective_rank"] for row in used) / count, 3),
        "top_share": round(sum(row["top_share"] for row in used) / count, 4),
        "energy_share": round(sum(row["energy"] for row in used) / whole, 4) if whole else 0.0,
    }
