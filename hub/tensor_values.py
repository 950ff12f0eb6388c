"""Looks at the numbers of a safetensors file without torch: the size of each tensor, and how the values of one are spread."""

import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hub.safetensors_header import Header, Tensor

BINS = 41  # odd: values around zero fall into the middle one
LARGEST = 64_000_000  # bytes of one tensor that are looked at
PLAIN = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1", "U16": "<u2", "U32": "<u4", "BOOL": "u1"}


@dataclass(frozen=True)
class Spread:
    """How the values of a tensor are spread; the bars run from -reach to reach."""

    values: int
    low: float
    high: float
    mean: float
    deviation: float
    norm: float
    zeros: int
    reach: float
    bars: tuple[int, ...]


def is_readable(tensor: Tensor) -> bool:
    """Say whether the values can be looked at: of a type that numpy knows, some, and not too many."""
    return (tensor.dtype in PLAIN or tensor.dtype == "BF16") and 0 < tensor.end - tensor.begin <= LARGEST


def norms(stream: BinaryIO, header: Header) -> dict[str, float]:
    """Return the Frobenius norm of each tensor that can be looked at."""
    return {tensor.name: math.sqrt(float(np.square(_load(stream, header, tensor)).sum())) for tensor in header.tensors if is_readable(tensor)}


def spread(stream: BinaryIO, header: Header, tensor: Tensor) -> Spread:
    """Return how the values of one tensor are spread."""
    values = _load(stream, header, tensor)
    low, high, mean = float(values.min()), float(values.max()), float(values.mean())
    reach = max(abs(low), abs(high)) or 1.0
    bars, _ = np.histogram(values, BINS, (-reach, reach))
    norm = math.sqrt(float(np.square(values).sum()))
    return Spread(values.size, low, high, mean, float(values.std()), norm, int((values == 0).sum()), reach, tuple(int(n) for n in bars))


def _load(stream: BinaryIO, header: Header, tensor: Tensor) -> NDArray[np.float64]:
    stream.seek(header.data_start + tensor.begin)
    raw = stream.read(tensor.end - tensor.begin)
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.frombuffer(raw, PLAIN[tensor.dtype]).astype(np.float64)
