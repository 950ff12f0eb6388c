"""Keeps modules that lately took part ready on the device, so that the next job with them reads no file; the oldest go at a byte limit."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from compose_worker.engine import modules
from compose_worker.engine.base_models import Base
from compose_worker.engine.modules import Adapter, Part
from compose_worker.engine.spec import Module

KEEP_BYTES = 512_000_000

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class _Held:
    parts: dict[str, Part]
    factors: tuple[tuple[str, Tensor, Tensor], ...]  # on the device, in the number format of the layer

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for _, a, b in self.factors for tensor in (a, b))


_held: OrderedDict[Key, _Held] = OrderedDict()
_lock = threading.Lock()


def read(base: Base, module: Module, layers: Mapping[str, nn.Module]) -> Adapter:
    """`modules.read`, from memory where the same file was checked against the same base model before."""
    with _lock:
        held = _held.get(_key(base, module))
    return Adapter(module, held.parts) if held is not None else modules.read(module, layers)


def factors(base: Base, adapter: Adapter, layers: Mapping[str, nn.Module], keep: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (layer name, A, B) of every part on the device; what fits into `keep` bytes stays for the next job."""
    key = _key(base, adapter.module)
    with _lock:
        held = _held.get(key)
        if held is not None:
            _held.move_to_end(key)
    if held is not None:
        yield from held.factors
        return
    known = bool(adapter.module.weights_sha256 and adapter.module.config_sha256)
    made = []
    for name, a, b in modules.stored(adapter):
        number: Any = layers[name].weight.dtype
        part = (name, a.to(base.device, number), b.to(base.device, number))
        yield part
        if known:
            made.append(part)
    if known:
        _keep(key, _Held(adapter.parts, tuple(made)), keep)


def forget() -> None:
    """Drop every module."""
    with _lock:
        _held.clear()


def _keep(key: Key, held: _Held, limit: int) -> None:
    with _lock:
        _held[key] = held
        total = sum(other.bytes for other in _held.values())
        while _held and total > limit:
            _, gone = _held.popitem(last=False)
            total -= gone.bytes


def _key(base: Base, module: Module) -> Key:
    return (base.path, str(base.device), str(base.dtype), module.weights_sha256, module.config_sha256)
