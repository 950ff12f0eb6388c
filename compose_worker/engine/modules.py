"""Reads a module's folder: its config and its tensors, checked against the base model; refuses what the algebra does not cover."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from compose_worker.engine import base_models, memory
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.spec import Module

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
COPY = ".base_layer.weight"  # what PEFT writes beside the factors of an output layer, unless told not to

# A field of adapter_config.json that, when set, makes the adapter more than `scale * B @ A`; and what people call it.
BEYOND_LORA = {
    "use_dora": "DoRA",
    "lora_bias": "LoRA bias",
    "modules_to_save": "fully trained layers (modules_to_save)",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "LoRA on bare parameters",
    "layer_replication": "replicated layers",
    "megatron_config": "Megatron layers",
    "alora_invocation_tokens": "activated LoRA",
    "arrow_config": "Arrow routing",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "velora_config": "VeLoRA",
}
BASE_CHANGING_STARTS = ("pissa", "olora", "loftq", "corda", "lora_ga")  # these initialisations also rewrite the base model's weights
MAX_PATTERN = 200
LARGEST = 10**6  # ranks, alphas and scales beyond are no adapter's
NUMBERS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class Part:
    """What a module does to one layer: `scale * B @ A`, with A (rank, inputs) and B (outputs, rank)."""

    rank: int
    scale: float


@dataclass(frozen=True)
class Adapter:
    """A module whose folder was found in order."""

    module: Module
    parts: dict[str, Part]  # by layer name


def read(module: Module, layers: Mapping[str, nn.Module]) -> Adapter:
    """Check a module's config and tensor shapes against the base model's layers."""
    config = _config(module)
    _refuse_beyond_lora(module, config)
    tensors = Tensors(module)
    parts = {}
    for name in _pairs(module, tensors.names()):
        a, b = (tensors.shape(key) for key in keys(name))
        if len(a) != 2 or len(b) != 2:
            raise _mismatch(module, f"{_short(name)} has tensors of {list(a)} and {list(b)}, and the factors of a linear layer have two dimensions")
        if name not in layers:
            raise _mismatch(module, f"it changes the layer {_short(name)}, which this base model does not have")
        parts[name] = _part(module, config, name, a, b, base_models.shape(layers[name]))
    if not parts:
        raise _unsupported(module, "it holds no LoRA tensors")
    return Adapter(module, parts)


class Tensors:
    """A module's tensors as views of its mapped file: bytes are read when they are used, and copied nowhere."""

    def __init__(self, module: Module) -> None:
        path = Path(module.path) / WEIGHTS
        try:
            with safe_open(path, framework="pt"):  # checks that names, shapes and offsets agree with the file
                pass
            size = path.stat().st_size
            self._bytes = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        except (OSError, RuntimeError, SafetensorError) as error:
            if memory.is_out_of_memory(error):
                raise
            raise _unreadable(module, WEIGHTS) from error
        self._module = module
        self._begin = 8 + int.from_bytes(bytes(self._bytes[:8].tolist()), "little")
        header = json.loads(bytes(self._bytes[8 : self._begin].numpy()))
        self._header = {name: entry for name, entry in header.items() if name != "__metadata__"}

    def names(self) -> list[str]:
        """What the tensors are called."""
        return list(self._header)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one."""
        return tuple(self._header[name]["shape"])

    def get(self, name: str) -> Tensor:
        """One tensor, as it is stored."""
        entry = self._header[name]
        if entry["dtype"] not in NUMBERS:
            raise _unsupported(self._module, f"its tensors hold numbers of the type {_short(entry['dtype'])}, and only floating-point ones can be mixed")
        begin, end = (self._begin + offset for offset in entry["data_offsets"])
        number = NUMBERS[entry["dtype"]]
        own = self._bytes[begin:end]
        return (own.clone() if begin % number.itemsize else own).view(number).view(entry["shape"])

    def finite(self) -> bool:
        """Whether all numbers are finite, seen in one pass; False also where that pass cannot tell."""
        numbers = {entry["dtype"] for entry in self._header.values()}
        number = NUMBERS.get(next(iter(numbers))) if len(numbers) == 1 else None
        if number not in (torch.float32, torch.float16, torch.bfloat16) or self._begin % number.itemsize:
            return False
        return bool(torch.isfinite(self._bytes[self._begin :].view(number).sum(dtype=torch.float32)))


def stored(adapter: Adapter) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (layer name, A, B) of every part as views of the file; numbers that are not finite are refused."""
    tensors = Tensors(adapter.module)
    fine = tensors.finite()
    for name in adapter.parts:
        a, b = (tensors.get(key) for key in keys(name))
        if not fine and not (bool(torch.isfinite(a.float()).all()) and bool(torch.isfinite(b.float()).all())):
            raise ComposeError(
                "module-not-finite", f"The adapter {adapter.module.id} holds numbers that are not finite (NaN or infinity) in {_short(name)}. Leave it out."
            )
        yield name, a, b


def factors(adapter: Adapter) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (layer name, A, B) of every part in float32, read from disk one layer at a time."""
    for name, a, b in stored(adapter):
        yield name, a.float(), b.float()


def keys(name: str) -> tuple[str, str]:
    """Return the names PEFT gives to the two factors of a layer."""
    return f"{PREFIX}{name}.lora_A.weight", f"{PREFIX}{name}.lora_B.weight"


def sha256(module: Module, file_name: str) -> str:
    """Return the hash of one of the module's files."""
    with (Path(module.path) / file_name).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _config(module: Module) -> dict[str, Any]:
    try:
        config = json.loads((Path(module.path) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(module, CONFIG) from error
    if not isinstance(config, dict):
        raise _unreadable(module, CONFIG)
    return config


def _refuse_beyond_lora(module: Module, config: Mapping[str, Any]) -> None:
    kind = str(config.get("peft_type", "")).upper()
    if kind != "LORA":
        raise _unsupported(module, f"it is of the type {_short(kind or 'unknown')}, and only plain LoRA can be mixed")
    for name, title in BEYOND_LORA.items():
        if config.get(name):
            raise _unsupported(module, f"it uses {title}, and only plain LoRA can be mixed")
    if config.get("bias", "none") != "none":
        raise _unsupported(module, "it also trained bias terms, and only plain LoRA can be mixed")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(BASE_CHANGING_STARTS):
        raise _unsupported(module, f"its initialisation ({_short(start)}) changed the base model too. Convert it to plain LoRA first")


def _pairs(module: Module, names: list[str]) -> list[str]:
    """Return the layers that both factors are there for; anything that is not such a factor is refused."""
    sides: dict[str, set[str]] = {}
    for key in names:
        match = re.fullmatch(re.escape(PREFIX) + r"(.+)\.lora_(A|B)\.weight", key)
        if match is None and key.endswith(COPY):
            raise _unsupported(module, f"it holds a copy of the base model's own weights, {_short(key)}. Save it again with PEFT's save_embedding_layers=False")
        if match is None:
            raise _unsupported(module, f"it holds the tensor {_short(key)}, which is not part of a plain LoRA on linear layers")
        sides.setdefault(match[1], set()).add(match[2])
    for name, both in sides.items():
        if both != {"A", "B"}:
            raise _mismatch(module, f"one of the two factors of {_short(name)} is missing")
    return sorted(sides)


def _part(module: Module, config: Mapping[str, Any], name: str, a: tuple[int, ...], b: tuple[int, ...], layer: tuple[int, int]) -> Part:
    rank = _by_pattern(module, config, "rank_pattern", name, config.get("r", 8))
    alpha = _by_pattern(module, config, "alpha_pattern", name, config.get("lora_alpha", 8))
    if rank < 1 or rank != int(rank):
        raise _mismatch(module, f"its rank for {_short(name)} is not a positive whole number")
    inputs, outputs = layer
    if a != (rank, inputs) or b != (outputs, rank):
        raise _mismatch(
            module, f"{_short(name)} has tensors of {list(a)} and {list(b)} where rank {int(rank)} needs [{int(rank)}, {inputs}] and [{outputs}, {int(rank)}]"
        )
    return Part(int(rank), alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _by_pattern(module: Module, config: Mapping[str, Any], field: str, name: str, default: Any) -> float:
    """Look `name` up the way peft does: the first key that is a regular expression for the end of the name."""
    value = default
    patterns = config.get(field) or {}
    if not isinstance(patterns, dict):
        raise _unsupported(module, f"the {field} in its config is not a table of patterns")
    for pattern, number in patterns.items():
        if _matches(module, str(pattern), name):
            value = number
            break
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise _mismatch(module, f"its {field.removesuffix('_pattern')} for {_short(name)} is not a number, or larger than {LARGEST}")
    return float(value)


def _matches(module: Module, pattern: str, name: str) -> bool:
    # The expression comes from an upload: nested or many repetitions could keep the worker busy for ever.
    if len(pattern) > MAX_PATTERN or re.search(r"\)[*+{?]", pattern) or len(re.findall(r"[*+{?]", pattern)) > 3:
        raise _unsupported(module, f"the pattern {_short(pattern)} in its config is too complicated. Write the layer names out")
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error as error:
        raise _unsupported(module, f"the pattern {_short(pattern)} in its config is not a regular expression") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _unsupported(module: Module, reason: str) -> ComposeError:
    return ComposeError("module-unsupported", f"The adapter {module.id} cannot be mixed: {reason}. Leave it out.")


def _mismatch(module: Module, reason: str) -> ComposeError:
    return ComposeError("module-mismatch", f"The adapter {module.id} does not fit this base model: {reason}. Leave it out.")


def _unreadable(module: Module, file_name: str) -> ComposeError:
    return ComposeError("module-unreadable", f"The file {file_name} of the adapter {module.id} is missing or damaged. Leave it out or upload it again.")
