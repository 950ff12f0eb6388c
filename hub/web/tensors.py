"""What is inside a safetensors file: its header as a table to sort and filter, and the values of one tensor as a picture. No script is needed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from hub import safetensors_header, storage, tensor_values
from hub.errors import HubError, not_found
from hub.models import Profile, RevisionFile
from hub.safetensors_header import Header, Tensor
from hub.services import access, adapters, fetching
from hub.web import strangers

PAGE = 100
NORMED = 32_000_000  # bytes of a file of which every tensor is measured when it is looked at
KEPT_SECONDS = 7 * 24 * 3600  # bytes under one sha256 never change
LAYERS = 10_000  # a larger number in a name counts no layers
PREFIX = "base_model.model."
FACTORS = (".lora_A.weight", ".lora_B.weight")
SORTS = {"": "Order in the file", "name": "Name", "layer": "Layer", "dtype": "Type", "values": "Values", "size": "Size", "norm": "Norm", "change": "Change"}
DESCENDING = frozenset(["values", "size", "norm", "change"])


@dataclass(frozen=True)
class Row:
    """One tensor as the table shows it. `change` is the norm of what its matrix adds to the base model, where it is known."""

    tensor: Tensor
    layer: int | None
    norm: float | None
    change: float | None
    share: float  # of the largest one's bytes, in percent

    @property
    def shape(self) -> str:
        """The sides: 8 × 576."""
        return " × ".join(f"{side:,}" for side in self.tensor.shape) or "one value"

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.tensor.end - self.tensor.begin


@dataclass(frozen=True)
class Bar:
    """One bar of the picture of values, in percent."""

    x: float
    height: float
    low: float
    high: float
    values: int

    @property
    def top(self) -> float:
        """Where it begins, from above."""
        return round(100 - self.height, 2)


@require_safe
@strangers.kept
def show(request: HttpRequest, owner: str, name: str, path: str) -> HttpResponse:
    """Show the tensors of one file of a revision."""
    file = adapters.find_file(actor=request.user, repo_id=f"{owner}/{name}", path=path, ref=request.GET.get("revision", "main"))
    access.require_file(request.user, file.revision.adapter, path)
    if not path.endswith(".safetensors"):
        raise not_found("safetensors file")
    fetching.require([file.blob_id])
    with storage.open_blob(file.blob_id) as stream:
        header = safetensors_header.read(stream, path)
        known = _norms(stream, header, file)
        tensor = _chosen(header, request.GET.get("tensor", ""))
        spread = tensor_values.spread(stream, header, tensor) if tensor and tensor_values.is_readable(tensor) else None
    rows = _rows(header, known, _changes(file))
    shown = _sorted(_filtered(rows, request.GET), request.GET.get("sort", ""))
    number = _number(request.GET.get("page", "")) or 1
    context = {
        "adapter": file.revision.adapter,
        "revision": file.revision,
        "file": file,
        "header": header,
        "values": sum(tensor.values for tensor in header.tensors),
        "metadata": sorted(header.metadata.items()),
        "types": Counter(tensor.dtype for tensor in header.tensors).most_common(),
        "layers": sorted({row.layer for row in rows if row.layer is not None}),
        "rows": shown[(number - 1) * PAGE : number * PAGE],
        "matches": len(shown),
        "before": number - 1,
        "after": number + 1 if len(shown) > number * PAGE else 0,
        "has_norms": bool(known),
        "has_changes": any(row.change is not None for row in rows),
        "sorts": SORTS,
        "asked": {name: request.GET.get(name, "") for name in ("q", "dtype", "layer", "sort")},
        "chosen": next((row for row in rows if tensor and row.tensor.name == tensor.name), None),
        "spread": spread,
        "bars": _bars(spread) if spread else [],
    }
    return render(request, "adapters/tensors.html", context)


def _norms(stream: Any, header: Header, file: RevisionFile) -> dict[str, float]:
    if file.size > NORMED:
        return {}
    key = f"tensor-norms-{file.blob_id}"
    if (known := cache.get(key)) is None:
        known = tensor_values.norms(stream, header)
        cache.set(key, known, KEPT_SECONDS)
    return dict(known)


def _changes(file: RevisionFile) -> dict[str, float]:
    """Return the norm of each matrix's update, as the worker measured it for exactly these weights."""
    profile = Profile.objects.filter(pk=file.revision.profile_id, weights=file.blob_id).first() if file.revision.profile_id else None
    return {row[0]: row[3] for row in profile.rows} if profile else {}


def _rows(header: Header, norms: Mapping[str, float], changes: Mapping[str, float]) -> list[Row]:
    largest = max((tensor.end - tensor.begin for tensor in header.tensors), default=0) or 1
    return [
        Row(tensor, _layer(tensor.name), norms.get(tensor.name), changes.get(_matrix(tensor.name)), round(100 * (tensor.end - tensor.begin) / largest, 2))
        for tensor in header.tensors
    ]


def _matrix(name: str) -> str:
    """The matrix of the base model that a factor belongs to."""
    ending = next((ending for ending in FACTORS if name.endswith(ending)), "")
    return name.removeprefix(PREFIX).removesuffix(ending)


def _layer(name: str) -> int | None:
    """The first number in a name, as in the pictures of the weights."""
    return next((int(part) for part in name.split(".") if part.isascii() and part.isdecimal() and len(part) < 5), None)


def _filtered(rows: Iterable[Row], asked: Mapping[str, str]) -> list[Row]:
    words, dtype, layer = asked.get("q", "").lower().split(), asked.get("dtype", ""), _number(asked.get("layer", ""))
    return [
        row
        for row in rows
        if all(word in row.tensor.name.lower() for word in words) and dtype in ("", row.tensor.dtype) and (layer is None or layer == row.layer)
    ]


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    """Sort by a column: texts upwards, numbers downwards, what is not known last; the order in the file decides between equal ones."""
    keys: dict[str, Any] = {
        "name": lambda row: row.tensor.name,
        "layer": lambda row: LAYERS if row.layer is None else row.layer,
        "dtype": lambda row: row.tensor.dtype,
        "values": lambda row: row.tensor.values,
        "size": lambda row: row.size,
        "norm": lambda row: -1.0 if row.norm is None else row.norm,
        "change": lambda row: -1.0 if row.change is None else row.change,
    }
    return sorted(rows, key=keys[sort], reverse=sort in DESCENDING) if sort in keys else rows


def _chosen(header: Header, name: str) -> Tensor | None:
    if not name:
        return None
    found = next((tensor for tensor in header.tensors if tensor.name == name), None)
    if found is None:
        raise HubError("tensor-not-found", f"This file has no tensor {name[:200]!r}.", status=404)
    return found


def _bars(spread: tensor_values.Spread) -> list[Bar]:
    top, width = max(spread.bars), 2 * spread.reach / len(spread.bars)
    return [
        Bar(round(100 * place / len(spread.bars), 3), round(100 * number / top, 2), place * width - spread.reach, (place + 1) * width - spread.reach, number)
        for place, number in enumerate(spread.bars)
    ]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None
