"""Writes a change of the base model as one plain PEFT adapter of bounded rank or size; the same change gives the same bytes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from compose_worker.engine import modules, ranks
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.layout import Layout
from compose_worker.engine.modules import Adapter
from compose_worker.engine.ranks import Budget

STORED = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
FAINT = 1e-9  # singular values below this share of the factors' size are rounding, not rank


@dataclass(frozen=True)
class Change:
    """What is added to one layer's weight: `b @ a`. `lost` is the squared size of what was cut off before."""

    b: Tensor  # (outputs, R)
    a: Tensor  # (R, inputs)
    lost: float = 0.0


Changes = Mapping[str, Change]  # by layer


@dataclass(frozen=True)
class Thin:
    """A layer's change as `left @ diag(values) @ right`, in the order of what each direction is worth."""

    left: Tensor  # (outputs, k), orthonormal columns
    values: Tensor  # (k,), falling: the root of what is lost with a direction
    right: Tensor  # (k, inputs)


@dataclass(frozen=True)
class Options:
    """How a change is written."""

    max_rank: int = 16
    mean_rank: int = 0  # 0: no limit but max_rank
    max_bytes: int = 0  # 0: no limit
    profile: str = "serving"  # "serving": one rank everywhere; "peft": a rank for each layer
    dtype: str = "bfloat16"


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: tuple[str, ...]
    ranks: dict[str, int]  # by layer
    energy_kept: float  # share of the squared singular values of all layers that the ranks leave; of a merge, of those before it was approximated
    share_written: float  # the same of the change that was handed in
    as_is: bool  # whether every factor was written as it was handed in
    bytes: int
    values: dict[str, Tensor]  # singular values that were written, by layer
    changed: int  # layers, with those that got no rank

    @property
    def rank(self) -> int:
        """The largest rank."""
        return max(self.ranks.values())

    def as_json(self, options: Options) -> dict[str, Any]:
        """What the report and the recipe say of it. The mean rank is over all layers changed, those left out among them, as the limit is."""
        said = {"rank": self.rank, "energy_kept": self.energy_kept, "layers": len(self.ranks), "bytes": self.bytes, "profile": options.profile}
        return said | {"mean_rank": round(sum(self.ranks.values()) / self.changed, 3)}


def options(settings: Mapping[str, Any]) -> Options:
    """Read the settings of a method; those that an old recipe does not name take their defaults."""
    known = {name: settings[name] for name in Options.__dataclass_fields__ if name in settings}
    return Options(**known)


def export(changes: Changes, layout: Layout, chosen: Options, out_dir: str, grams: Mapping[str, Tensor] | None = None) -> Exported:
    """Write adapter_config.json and adapter_model.safetensors into `out_dir`. `grams` weigh directions by what the examples use (see `compress`)."""
    with one_thread():
        thin = {name: compress(change.b, change.a, (grams or {}).get(name)) for name, change in sorted(changes.items())}
    dtype = STORED[chosen.dtype]
    costs = {name: (t.right.shape[1] + t.left.shape[0]) * dtype.itemsize for name, t in thin.items()}
    end = max(chosen.max_bytes, sum(costs.values()) + 1000 * len(costs))  # no place in the file is further, nor in the smallest one that a refusal names
    given = ranks.share(
        {name: t.values for name, t in thin.items()},
        costs,
        {name: _head(name, (t.right.shape[1], t.left.shape[0]), chosen, end) for name, t in thin.items()},
        Budget(chosen.max_rank, chosen.mean_rank, max(1, chosen.max_bytes - ranks.FRAME) if chosen.max_bytes else 0, uniform=chosen.profile == "serving"),
    )
    tensors: dict[str, Tensor] = {}
    as_is = len(given) == len(thin)
    for name, rank in given.items():
        stays = _stays(changes[name], thin[name], rank, dtype)
        as_is = as_is and stays
        b, a = _padded(changes[name], rank) if stays else _balanced(thin[name], rank)
        for key, factor in zip(modules.keys(name), (a, b), strict=True):
            tensors[key] = _stored(factor, dtype)
    folder = Path(out_dir)
    save_file(tensors, folder / modules.WEIGHTS, metadata={"format": "pt"})
    config = json.dumps(layout.config(given, chosen.profile), indent=2, sort_keys=True) + "\n"
    (folder / modules.CONFIG).write_text(config, encoding="utf-8")
    values = {name: thin[name].values[:rank] for name, rank in given.items()}
    kept = sum(float((v**2).sum()) for v in values.values())
    here = sum(float((t.values**2).sum()) for t in thin.values())
    lost = sum(change.lost for change in changes.values())
    energy_kept, share_written = (min(1.0, kept / whole) if whole else 1.0 for whole in (here + lost, here))
    size = (folder / modules.WEIGHTS).stat().st_size
    return Exported((modules.CONFIG, modules.WEIGHTS), given, energy_kept, share_written, as_is, size, values, len(thin))


def check_room(possible: Sequence[Sequence[str]], shapes: Mapping[str, tuple[int, int]], chosen: Options) -> None:
    """Raise `setting-out-of-range` where nothing that may be published fits into the bytes allowed, before anything is measured.

    `possible` are the layers of each such result; `shapes` are (inputs, outputs) by layer.
    """
    if not chosen.max_bytes:
        return
    size = STORED[chosen.dtype].itemsize

    def least(names: Sequence[str]) -> int:
        costs = [sum(shapes[name]) * size for name in names]
        end = max(chosen.max_bytes, sum(costs) + 1000 * len(costs))
        each = [cost + _head(name, shapes[name], chosen, end) for name, cost in zip(names, costs, strict=True)]
        return sum(each) if chosen.profile == "serving" else min(each)

    bytes_needed, layers = min((least(names), len(names)) for names in possible)
    if bytes_needed + ranks.FRAME > chosen.max_bytes:
        raise ranks.too_small(bytes_needed, layers if chosen.profile == "serving" else 1)


def compress(b: Tensor, a: Tensor, gram: Tensor | None = None) -> Thin:
    """Return the SVD of `b @ a` from the two thin factors, without ever forming the product.

    With `gram` (R, R) = `a C a^T` for second moments C of the layer's inputs, the directions are those of `b @ a @ C^(1/2)`:
    cutting the last ones changes the layer's outputs on such inputs least.
    """
    even = _evening(b, a)
    b, a = b.double() * even, a.double() / even[:, None]
    left, core_left = torch.linalg.qr(b)  # (outputs, k), (k, R)
    if gram is None:
        right, core_right = torch.linalg.qr(a.t())  # (inputs, l), (l, R)
        u, values, v = torch.linalg.svd(core_left @ core_right.t(), full_matrices=False)
        size = core_left.norm() * core_right.norm()
        left, right = left @ u, v @ right.t()
    else:
        root = _root(gram.double() / even[:, None] / even)  # (R, R)
        u, values, _ = torch.linalg.svd(core_left @ root, full_matrices=False)
        size = core_left.norm() * root.norm()
        left, right = left @ u, (u.t() @ core_left) @ a / values.clamp_min(1e-300)[:, None]
    faint = values <= FAINT * size
    values, right = torch.where(faint, 0.0, values), torch.where(faint[:, None], 0.0, right)
    # A singular pair may be flipped as a whole: fix its sign, so that two libraries of linear algebra agree.
    largest = left.abs().argmax(0)
    sign = torch.where(left[largest, torch.arange(left.shape[1])] < 0, -1.0, 1.0).double()
    return Thin(left * sign, values, right * sign[:, None])


def exact(adapters: Sequence[Adapter], weights: Sequence[float] | Mapping[str, Sequence[float]]) -> dict[str, Change]:
    """`sum_i w_i s_i B_i A_i` by layer: the factors side by side, the weights in B. `weights` is one for each module, or such a list by layer."""
    by_layer = weights if isinstance(weights, Mapping) else dict.fromkeys({name for adapter in adapters for name in adapter.parts}, weights)
    rows: dict[str, list[Tensor]] = {}
    columns: dict[str, list[Tensor]] = {}
    for index, adapter in enumerate(adapters):
        if not any(there[index] for there in by_layer.values()):
            continue
        for name, a, b in modules.factors(adapter):
            if by_layer[name][index] != 0.0:
                rows.setdefault(name, []).append(a.double())
                columns.setdefault(name, []).append(b.double() * (by_layer[name][index] * adapter.parts[name].scale))
    return {name: Change(torch.cat(columns[name], dim=1), torch.cat(rows[name])) for name in rows}


def lorahub(adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, Change]:
    """`s (sum_i w_i B_i)(sum_j w_j A_j)` by layer."""
    mixed: dict[str, tuple[Tensor, Tensor]] = {}
    scales: dict[str, float] = {}
    for adapter, weight in zip(adapters, weights, strict=True):
        if weight == 0.0:
            continue
        for name, a, b in modules.factors(adapter):
            scaled = weight * b.double(), weight * a.double()
            mixed[name] = (mixed[name][0] + scaled[0], mixed[name][1] + scaled[1]) if name in mixed else scaled
            scales[name] = adapter.parts[name].scale
    return {name: Change(b * scales[name], a) for name, (b, a) in mixed.items()}


def added(changes: Changes, more: Changes) -> dict[str, Change]:
    """The sum of two changes."""
    out = dict(changes)
    for name, change in more.items():
        if name in out:
            change = Change(torch.cat([out[name].b, change.b], dim=1), torch.cat([out[name].a, change.a]), out[name].lost + change.lost)
        out[name] = change
    return out


@contextmanager
def one_thread() -> Iterator[None]:
    """Decompose on one thread: how many there are decides how sums are split, and so the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _evening(b: Tensor, a: Tensor) -> Tensor:
    """Powers of two (R,) that make a column of `b` about as long as its row of `a` once they multiply the one and divide the other.

    The product stays what it is, to the bit. Without them a module whose factors are scaled against those of another would look like rounding.
    """
    columns, rows = b.double().norm(dim=0), a.double().norm(dim=1)
    there = (columns > 0) & (rows > 0)
    ratio = torch.where(there, rows / torch.where(there, columns, 1.0), 1.0)
    return torch.exp2(torch.round(torch.log2(ratio) / 2))


def _root(gram: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((gram + gram.t()) / 2)
    return vectors * values.clamp_min(0.0).sqrt()


def _head(name: str, shape: tuple[int, int], chosen: Options, end: int) -> int:
    """The bytes that the header of a file of at most `end` bytes takes for a layer's two tensors, or a few more: names, kind, shapes and places."""
    shapes = (chosen.max_rank, shape[0]), (shape[1], chosen.max_rank)
    kind = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[chosen.dtype]
    entries = {key: {"dtype": kind, "shape": shape, "data_offsets": [end] * 2} for key, shape in zip(modules.keys(name), shapes, strict=True)}
    return len(json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()) - 1  # a comma for the two braces


def _stays(change: Change, thin: Thin, rank: int, dtype: torch.dtype) -> bool:
    """Whether the factors are written as they are: where nothing is cut a single adapter comes out as it was, not as another rounding of it.

    One of them may be too large for the numbers that are stored, and the other as much smaller: then both get the same length.
    """
    fits = bool(torch.isfinite(change.b.to(dtype)).all() and torch.isfinite(change.a.to(dtype)).all())
    columns = change.b.shape[1]
    return fits and columns <= rank and int((thin.values > 0).sum()) == columns


def _padded(change: Change, rank: int) -> tuple[Tensor, Tensor]:
    more = rank - change.b.shape[1]
    return torch.nn.functional.pad(change.b, (0, more)), torch.nn.functional.pad(change.a, (0, 0, 0, more))


def _balanced(thin: Thin, rank: int) -> tuple[Tensor, Tensor]:
    """Give both factors of a direction the same length; a layer of smaller rank is padded with zeros."""
    keep = min(rank, len(thin.values))
    lengths = thin.values[:keep] * thin.right[:keep].norm(dim=1)
    root = lengths.sqrt()
    b = torch.zeros(thin.left.shape[0], rank, dtype=torch.float64)
    a = torch.zeros(rank, thin.right.shape[1], dtype=torch.float64)
    b[:, :keep] = thin.left[:, :keep] * root
    a[:keep] = (thin.values[:keep] / root.clamp_min(1e-300))[:, None] * thin.right[:keep]
    return b, a


def _stored(factor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = factor.to(dtype) + 0.0  # there is one zero: adding makes -0.0 into 0.0
    if not bool(torch.isfinite(stored).all()):
        raise ComposeError("export-overflow", f"The result has numbers too large for {str(dtype).removeprefix('torch.')}. Store it as bfloat16 or float32.")
    return stored.contiguous()
