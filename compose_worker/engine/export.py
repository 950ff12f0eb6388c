"""Writes a weighted mix of modules as one plain PEFT adapter of bounded rank; the same mix gives the same bytes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from compose_worker.engine import modules
from compose_worker.engine.base_models import Base
from compose_worker.engine.modules import Adapter

STORED = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
FAINT = 1e-9  # singular values below this share of the factors' size are rounding, not rank


@dataclass(frozen=True)
class Thin:
    """A layer's change as a thin SVD: `left @ diag(values) @ right`."""

    left: Tensor  # (outputs, k)
    values: Tensor  # (k,), falling
    right: Tensor  # (k, inputs)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: tuple[str, ...]
    rank: int
    energy_kept: float  # share of the squared singular values of all layers that the rank leaves
    layers: int
    bytes: int


def export(base: Base, adapters: Sequence[Adapter], weights: Sequence[float], space: str, max_rank: int, dtype: str, base_model: str, out_dir: str) -> Exported:
    """Write adapter_config.json and adapter_model.safetensors of the mix into `out_dir`."""
    factors = _exact if space == "exact" else _lorahub
    stacked = factors(adapters, weights)
    thin = {name: compress(b, a) for name, (b, a) in stacked.items()}
    rank = max(1, min(max_rank, max(int((t.values > 0).sum()) for t in thin.values())))
    # Where nothing is cut the factors stay as they are: a single adapter comes out as it was, not as another rounding of it.
    as_is = rank == max(b.shape[1] for b, _ in stacked.values())
    tensors: dict[str, Tensor] = {}
    for name, t in sorted(thin.items()):
        key_a, key_b = modules.keys(name)
        b, a = _padded(*stacked[name], rank) if as_is else _balanced(t, rank)
        tensors[key_a], tensors[key_b] = a.to(STORED[dtype]).contiguous(), b.to(STORED[dtype]).contiguous()
    folder = Path(out_dir)
    save_file(tensors, folder / modules.WEIGHTS, metadata={"format": "pt"})
    config = json.dumps(_config(base, base_model, sorted(thin), rank), indent=2, sort_keys=True) + "\n"
    (folder / modules.CONFIG).write_text(config, encoding="utf-8")
    kept = sum(float((t.values[:rank] ** 2).sum()) for t in thin.values())
    whole = sum(float((t.values**2).sum()) for t in thin.values())
    size = (folder / modules.WEIGHTS).stat().st_size
    return Exported((modules.CONFIG, modules.WEIGHTS), rank, kept / whole if whole else 1.0, len(thin), size)


def compress(b: Tensor, a: Tensor) -> Thin:
    """Return the SVD of `b @ a` from the two thin factors, without ever forming the product."""
    left, core_left = torch.linalg.qr(b.double())  # (outputs, k), (k, R)
    right, core_right = torch.linalg.qr(a.double().t())  # (inputs, l), (l, R)
    u, values, v = torch.linalg.svd(core_left @ core_right.t(), full_matrices=False)
    values = torch.where(values > FAINT * core_left.norm() * core_right.norm(), values, 0.0)
    u, v = left @ u, v @ right.t()
    # A singular pair may be flipped as a whole: fix its sign, so that two libraries of linear algebra agree.
    largest = u.abs().argmax(0)
    sign = torch.where(u[largest, torch.arange(u.shape[1])] < 0, -1.0, 1.0).double()
    return Thin(u * sign, values, v * sign[:, None])


def _balanced(thin: Thin, rank: int) -> tuple[Tensor, Tensor]:
    """Split the singular values evenly between the factors; a layer of smaller rank is padded with zeros."""
    keep = min(rank, len(thin.values))
    root = thin.values[:keep].sqrt()
    b = torch.zeros(thin.left.shape[0], rank, dtype=torch.float64)
    a = torch.zeros(rank, thin.right.shape[1], dtype=torch.float64)
    b[:, :keep] = thin.left[:, :keep] * root
    a[:keep] = root[:, None] * thin.right[:keep]
    return b, a


def _padded(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Widen the factors to `rank` with zeros."""
    missing = rank - b.shape[1]
    return torch.nn.functional.pad(b, (0, missing)), torch.nn.functional.pad(a, (0, 0, 0, missing))


def _exact(adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors of `sum_i w_i s_i B_i A_i` by layer: side by side, the weights in B."""
    rows: dict[str, list[Tensor]] = {}
    columns: dict[str, list[Tensor]] = {}
    for adapter, weight in zip(adapters, weights, strict=True):
        if weight == 0.0:
            continue
        for name, a, b in modules.factors(adapter):
            rows.setdefault(name, []).append(a.double())
            columns.setdefault(name, []).append(b.double() * (weight * adapter.parts[name].scale))
    return {name: (torch.cat(columns[name], dim=1), torch.cat(rows[name])) for name in rows}


def _lorahub(adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors of `s (sum_i w_i B_i)(sum_j w_j A_j)` by layer."""
    mixed: dict[str, tuple[Tensor, Tensor]] = {}
    scales: dict[str, float] = {}
    for adapter, weight in zip(adapters, weights, strict=True):
        if weight == 0.0:
            continue
        for name, a, b in modules.factors(adapter):
            scaled = weight * b.double(), weight * a.double()
            mixed[name] = (mixed[name][0] + scaled[0], mixed[name][1] + scaled[1]) if name in mixed else scaled
            scales[name] = adapter.parts[name].scale
    return {name: (b * scales[name], a) for name, (b, a) in mixed.items()}


def _config(base: Base, base_model: str, names: Sequence[str], rank: int) -> Mapping[str, object]:
    layers = base.layers()
    return {
        "alpha_pattern": {},
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": any(isinstance(layers[name], Conv1D) for name in names),
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": rank,  # with alpha = r every loader scales by 1, however it reads rslora
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "revision": None,
        "target_modules": _targets(names, list(layers)),
        "task_type": base.task_type,
        "use_dora": False,
        "use_rslora": False,
    }


def _targets(names: Sequence[str], layers: Sequence[str]) -> list[str]:
    """The last parts of the names where they mean exactly these layers, else the whole names."""
    ends = {name.rsplit(".", 1)[-1] for name in names}
    meant = [layer for layer in layers if layer.rsplit(".", 1)[-1] in ends]
    return sorted(ends) if sorted(meant) == sorted(names) else list(names)
