"""Writes safetensors files byte by byte, so that tests can also write wrong ones."""

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hub import adapter_format
from hub.errors import HubError
from tests import make

PREFIX = "base_model.model.model.layers"
Shapes = Mapping[str, tuple[int, ...]]


def write(header: Any, data: bytes = b"") -> bytes:
    """A file with this header, which may be bytes or anything that JSON can say, and this data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def rows(shapes: Shapes, dtype: str = "F32", width: int = 4) -> dict[str, Any]:
    """A sound header for tensors of these shapes, one behind the other."""
    found, at = {}, 0
    for name, shape in shapes.items():
        end = at + width * int(np.prod(shape, dtype=object))
        found[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    return found


def weights(shapes: Shapes, dtype: str = "F32", width: int = 4) -> bytes:
    """A sound file of zeros."""
    header = rows(shapes, dtype, width)
    return write(header, bytes(max((row["data_offsets"][1] for row in header.values()), default=0)))


def pair(module: str, rank: int = 4, inside: int = 6, outside: int = 5) -> dict[str, tuple[int, ...]]:
    """The shapes of one module's two factors."""
    return {f"base_model.model.{module}.lora_A.weight": (rank, inside), f"base_model.model.{module}.lora_B.weight": (outside, rank)}


def lora(rank: int = 4, layers: int = 2, targets: tuple[str, ...] = ("q_proj", "v_proj")) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        for target in targets:
            found |= pair(f"model.layers.{layer}.self_attn.{target}", rank)
    return found


def file(path: str, content: bytes) -> adapter_format.File:
    return adapter_format.File(path=path, size=len(content), open=lambda: io.BytesIO(content))


def inspect(content: bytes, config: Any = None, **settings: Any) -> adapter_format.Facts:
    """What the catalogue says of these weights beside a config: `settings` over a sound one, or bytes as they are."""
    text = config if isinstance(config, bytes) else json.dumps(make.config(**settings) if config is None else config).encode()
    facts = adapter_format.inspect([file("adapter_config.json", text), file("adapter_model.safetensors", content)])
    assert facts is not None
    return facts


def refusal(content: bytes, config: Any = None, **settings: Any) -> HubError:
    """The error that these weights and this config raise."""
    with pytest.raises(HubError) as caught:
        inspect(content, config, **settings)
    assert caught.value.status == 400
    return caught.value


def invalid(content: bytes) -> str:
    """Why these bytes are no sound safetensors file."""
    error = refusal(content)
    assert error.code == "weights-invalid", error.message
    return error.message
