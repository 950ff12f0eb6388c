"""Reads and checks a safetensors file without torch: its header before anything is allocated, then its values in small pieces."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from hub import strict_json
from hub.errors import HubError
from hub.strict_json import JsonFault, shown

MAX_HEADER_BYTES = 25_000_000
MAX_TENSORS = 100_000
MAX_SEPARATORS = 1_200_000  # commas and opening brackets; bounds what parsing the header can allocate
MAX_DIMENSIONS = 8
MAX_SIDE = 2**40
MAX_NAME = 512
CHUNK_BYTES = 2**18  # small enough to stay in the cache of a core

# Bits per value, as the format defines them.
BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
}

# dtype -> how to view its bytes, and the bits which, all set, mean NaN or infinity. The types without such values (integers, F4, F6) are left out.
_NOT_FINITE: dict[str, tuple[str, int]] = {
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F32": ("<u4", 0x7F800000),
    "C64": ("<u4", 0x7F800000),
    "F64": ("<u8", 0x7FF0000000000000),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),
    "F8_E8M0": ("u1", 0xFF),
}
_NAN_VALUE = {"F8_E4M3FNUZ": 0x80, "F8_E5M2FNUZ": 0x80}  # these have a single NaN, negative zero, and no infinity

_NAME = re.compile(r"[A-Za-z0-9_.\-/:]+")
_MAGIC = {
    b"PK\x03\x04": "a zip archive, as PyTorch writes for .bin and .pt files",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves",
}


@dataclass(frozen=True)
class Tensor:
    """One row of the header. `begin` and `end` count from the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def values(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    tensors: tuple[Tensor, ...]  # in the order of the data
    data_start: int
    metadata: Mapping[str, str]  # what its writer noted


def sniff(head: bytes) -> str:
    """What well-known other kind of file begins with these bytes, or "" where none is known."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def read(stream: BinaryIO, path: str = "adapter_model.safetensors") -> Header:
    """The header of a sound file, or HubError "weights-invalid". Allocates in proportion to a header that is really there."""
    length = stream.seek(0, 2)
    stream.seek(0)
    head = _read(stream, 32)
    size = int.from_bytes(head[:8], "little")
    fault = _length_fault(head, size, length)
    if fault:
        # Only now: a sound header of 640 bytes begins with the same two bytes as a pickle.
        kind = sniff(head)
        raise _invalid(path, f"its content is {kind}; only safetensors weights are accepted" if kind else fault)
    stream.seek(8)
    raw = _read(stream, size)
    if len(raw) < size:
        raise _invalid(path, "it ended inside its header")
    rows, metadata = _parse(raw, path)
    tensors = _tensors(rows, path)
    _check_layout(tensors, length - 8 - size, path)
    return Header(tensors=tensors, data_start=8 + size, metadata=metadata)


def check_finite(stream: BinaryIO, header: Header, path: str = "adapter_model.safetensors") -> None:
    """Raise HubError "weights-not-finite" for the first tensor that holds NaN or infinity."""
    stream.seek(header.data_start)
    for tensor in header.tensors:
        for chunk in _chunks(stream, tensor, path):
            if _has_non_finite(chunk, tensor.dtype):
                where = f"{shown(path)} holds NaN or infinite values in the tensor {tensor.name}"
                raise HubError("weights-not-finite", f"{where}; the training probably diverged. Upload a checkpoint with finite weights.")


def _invalid(path: str, why: str) -> HubError:
    return HubError("weights-invalid", f"{shown(path)} is not a sound safetensors file: {why}.")


def _length_fault(head: bytes, size: int, length: int) -> str:
    if len(head) < 8:
        return "it is shorter than a safetensors header"
    if size > MAX_HEADER_BYTES:
        return f"its header claims {size:,} bytes, and at most {MAX_HEADER_BYTES:,} are allowed"
    if 8 + size > length:
        return f"its header claims {size:,} bytes, but the file ends after {length:,}; it looks cut off"
    if head[8:9] != b"{" or not size:
        return "its header is not a JSON object"
    return ""


def _read(stream: BinaryIO, size: int) -> bytes:
    """`size` bytes, or fewer at the end of the stream: an unbuffered stream may hand out less than it was asked for."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _parse(raw: bytes, path: str) -> tuple[dict[str, Any], dict[str, str]]:
    if raw.count(b",") + raw.count(b"{") + raw.count(b"[") > MAX_SEPARATORS:
        raise _invalid(path, "its header holds too many entries")
    try:
        found = strict_json.loads(raw)
    except JsonFault as fault:
        raise _invalid(path, f"its header is not valid JSON, {fault}") from None
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _invalid(path, "its __metadata__ is not a table of texts")
    try:
        "".join((*metadata, *metadata.values())).encode("utf-8")
    except UnicodeEncodeError:
        raise _invalid(path, "its __metadata__ is not valid Unicode") from None
    if len(found) > MAX_TENSORS:
        raise _invalid(path, f"it holds {len(found):,} tensors, and at most {MAX_TENSORS:,} are allowed")
    return found, metadata


def _tensors(rows: dict[str, Any], path: str) -> tuple[Tensor, ...]:
    return tuple(sorted((_tensor(name, row, path) for name, row in rows.items()), key=lambda tensor: (tensor.begin, tensor.end)))


def _tensor(name: str, row: Any, path: str) -> Tensor:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise _invalid(path, f'the tensor name "{shown(name)}" has characters or a length that no PEFT adapter uses')
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"}:
        raise _invalid(path, f"the tensor {name} is not described by dtype, shape and data_offsets alone")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _invalid(path, f'the tensor {name} has the unknown dtype "{shown(dtype)}"')
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise _invalid(path, f"the shape of the tensor {name} is not a list of at most {MAX_DIMENSIONS} sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _invalid(path, f"the data_offsets of the tensor {name} are not a begin and an end")
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        need = f"{math.ceil(bits / 8):,} bytes" if bits < MAX_SIDE else "far more"
        raise _invalid(path, f"the tensor {name} has {offsets[1] - offsets[0]:,} bytes, but its shape and dtype need {need}")
    return Tensor(name=name, dtype=dtype, shape=tuple(shape), begin=offsets[0], end=offsets[1])


def _are_sizes(values: Any) -> bool:
    # `type(...) is int` because True is an int to isinstance.
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= MAX_SIDE for value in values)


def _check_layout(tensors: tuple[Tensor, ...], data_bytes: int, path: str) -> None:
    expected = 0
    for tensor in tensors:
        if tensor.begin != expected:
            fault = "overlaps the one before it" if tensor.begin < expected else "leaves a gap before it"
            raise _invalid(path, f"the data of the tensor {tensor.name} {fault}")
        expected = tensor.end
    if expected > data_bytes:
        raise _invalid(path, f"its header describes {expected:,} bytes of data, but only {data_bytes:,} are there; it looks cut off")
    if expected < data_bytes:
        raise _invalid(path, f"{data_bytes - expected:,} bytes after the last tensor belong to nothing")


def _chunks(stream: BinaryIO, tensor: Tensor, path: str) -> Iterator[bytes]:
    left = tensor.end - tensor.begin
    while left:
        chunk = _read(stream, min(left, CHUNK_BYTES))
        if len(chunk) < min(left, CHUNK_BYTES):
            raise _invalid(path, f"the file ended inside the tensor {tensor.name}")
        left -= len(chunk)
        yield chunk


def _has_non_finite(chunk: bytes, dtype: str) -> bool:
    if dtype in _NAN_VALUE:
        return bool((np.frombuffer(chunk, np.uint8) == _NAN_VALUE[dtype]).any())
    if dtype not in _NOT_FINITE:
        return False
    view, bits = _NOT_FINITE[dtype]
    masked = np.frombuffer(chunk, view) & np.array(bits, dtype=view)
    return bool(masked.size and masked.max() == bits)
