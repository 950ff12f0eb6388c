"""Says what an upload is, or refuses it: reads adapter_config.json and the safetensors header without torch, and holds them against each other.

Any PEFT type is taken into the catalogue as long as its config is readable and its weights are sound and finite. `Facts.composable` is true for plain
LoRA only: pairs of two matrices on a base model known by name, with scales that follow from the config. Whatever else is in the file makes it a hosted
adapter with a `refusal` that says why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from hub import adapter_config, safetensors_header
from hub.adapter_config import Config, Patterns
from hub.errors import HubError
from hub.file_rules import MAX_WEIGHTS_BYTES, check_kind, check_path, check_paths, check_text, is_read, is_text
from hub.safetensors_header import Header, Tensor
from hub.strict_json import shown

__all__ = ["CONFIG", "MAX_WEIGHTS_BYTES", "WEIGHTS", "Facts", "File", "check_kind", "check_path", "check_paths", "check_text", "inspect", "is_read", "is_text"]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_FACTORS = {".lora_A.weight": "A", ".lora_B.weight": "B"}
_FLOATS = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
_DTYPE_NAMES = {**_FLOATS, "I8": "int8", "U8": "uint8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


@dataclass(frozen=True)
class File:
    """One file of a would-be revision; `open` gives a fresh seekable binary stream."""

    path: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class Facts:
    """What the catalogue knows of an adapter's weights; `dataclasses.asdict` of it is JSON."""

    peft_type: str
    base_model: str  # as the config states it, "" where it does not
    task_type: str
    rank: int | None
    rank_pattern: dict[str, int]
    alpha: float | None
    alpha_pattern: dict[str, float]
    use_rslora: bool
    use_dora: bool
    target_modules: list[str]
    dtype: str  # "bfloat16" and so on, or "mixed"
    parameters: int
    layers: int
    weights_bytes: int
    tensors: list[dict[str, Any]]
    composable: bool
    refusal: str  # "" when composable, else one sentence


@dataclass
class _Pairs:
    """The tensors of a LoRA by module name, and the names of those that are no part of a pair of factors."""

    factors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)


def inspect(files: Sequence[File], *, headers_only: frozenset[str] = frozenset(), in_parts: bool = False) -> Facts | None:
    """What a revision with these files is; None where it holds no adapter (a card alone, say).

    Every safetensors file has to be sound and finite, wherever it lies; of those in `headers_only`, which are
    weights of whole models, only the header is read. With `in_parts`, config or weights may come before the other; they are no adapter until then.
    Raises HubError: weights-missing, config-missing, config-invalid, config-mismatch, weights-invalid, weights-not-finite.
    """
    by_path = {file.path: file for file in files}
    for file in files:
        if file.path.lower().endswith(".safetensors") and file.path != WEIGHTS:
            _read_weights(file, finite=file.path not in headers_only)
    if CONFIG not in by_path and WEIGHTS not in by_path:
        return None
    if in_parts and (CONFIG not in by_path or WEIGHTS not in by_path):
        _read_half(by_path)
        return None
    if CONFIG not in by_path:
        raise HubError("config-missing", f"{WEIGHTS} came without {CONFIG}. Upload both files that PEFT's save_pretrained wrote.")
    if WEIGHTS not in by_path:
        raise HubError("weights-missing", f"{CONFIG} came without {WEIGHTS}. Upload both files that PEFT's save_pretrained wrote.")
    config = _read_config(by_path[CONFIG])
    header = _read_weights(by_path[WEIGHTS], lambda found: _check_lora(config, found))
    return _facts(config, header, by_path[WEIGHTS].size)


def _read_half(by_path: Mapping[str, File]) -> None:
    if CONFIG in by_path:
        _read_config(by_path[CONFIG])
    else:
        _read_weights(by_path[WEIGHTS])


def _read_config(file: File) -> Config:
    with file.open() as stream:
        return adapter_config.read(stream.read(adapter_config.MAX_CONFIG_BYTES + 1))


def _read_weights(file: File, check: Callable[[Header], None] = lambda _: None, *, finite: bool = True) -> Header:
    with file.open() as stream:
        header = safetensors_header.read(stream, file.path)
        # Before the values: a mismatch is found in a moment, a NaN only after reading the whole file.
        check(header)
        if finite:
            safetensors_header.check_finite(stream, header, file.path)
    return header


def _facts(config: Config, header: Header, weights_bytes: int) -> Facts:
    tensors = header.tensors
    dtypes = {tensor.dtype for tensor in tensors}
    pairs = _pairs(header) if config.is_lora else _Pairs()
    refusal = config.refusal or _tensors_refusal(pairs)
    # By their last names: PEFT writes "all-linear" as the list of all paths.
    changed = sorted({module.rpartition(".")[2] for module in (*pairs.factors, *_embeddings(pairs.extra))})
    return Facts(
        peft_type=config.peft_type,
        base_model=config.base_model,
        task_type=config.task_type,
        rank=config.rank,
        rank_pattern=config.rank_pattern,
        alpha=config.alpha,
        alpha_pattern=config.alpha_pattern,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        target_modules=changed or (config.targets if isinstance(config.targets, list) else []),
        dtype=_dtype_name(dtypes),
        parameters=sum(tensor.values for tensor in tensors),
        layers=len({layer for layer in map(_layer, (tensor.name for tensor in tensors)) if layer}),
        weights_bytes=weights_bytes,
        tensors=[{"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)} for tensor in tensors],
        composable=not refusal,
        refusal=refusal,
    )


def _dtype_name(dtypes: set[str]) -> str:
    if len(dtypes) != 1:
        return "mixed"
    dtype = next(iter(dtypes))
    return _DTYPE_NAMES.get(dtype, dtype.lower())


def _layer(name: str) -> str:
    """The tensor's path up to its layer number: the encoder's and the decoder's layer 0 are two layers."""
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: place + 1]) if place is not None else ""


def _pairs(header: Header) -> _Pairs:
    pairs = _Pairs()
    for tensor in header.tensors:
        ending = next((ending for ending in _FACTORS if tensor.name.endswith(ending)), "")
        if ending and tensor.name.startswith(_PREFIX):
            module = tensor.name[len(_PREFIX) : -len(ending)]
            pairs.factors.setdefault(module, {})[_FACTORS[ending]] = tensor
        else:
            pairs.extra.append(tensor.name)
    return pairs


def _tensors_refusal(pairs: _Pairs) -> str:
    """Why the tensors of a LoRA keep it from being composed, whatever its config says."""
    if pairs.extra:
        return f"It cannot be used in compositions: {_extra_fault(pairs.extra)}."
    for module, factors in pairs.factors.items():
        if any(len(tensor.shape) != 2 for tensor in factors.values()):
            return f"It cannot be used in compositions: {shown(module)} is a convolution, and only linear layers are composed."
        if any(tensor.dtype not in _FLOATS for tensor in factors.values()):
            return "It cannot be used in compositions: its weights are not stored as float16, bfloat16, float32 or float64."
    return ""


def _extra_fault(names: list[str]) -> str:
    if _embeddings(names):
        return "it changes an embedding, and only linear layers are composed"
    name = names[0]
    if ".lora_magnitude_vector" in name:
        return "it holds the magnitudes of a DoRA"
    if name.endswith(".base_layer.weight"):
        return f"it holds a copy of the base model's own weights ({name}); PEFT leaves it out if you save with save_embedding_layers=False"
    if name.endswith(".bias"):
        return f"it holds a bias ({name})"
    return f"it holds a tensor that is no LoRA factor of PEFT's naming ({name})"


def _check_lora(config: Config, header: Header) -> None:
    """Raise HubError "config-mismatch" where a LoRA's tensors are not what its config says."""
    if not header.tensors:
        raise _mismatch("the weights hold no tensors")
    if not config.is_lora:
        return
    pairs = _pairs(header)
    if not pairs.factors and not any(".lora_" in name for name in pairs.extra):
        raise _mismatch("the config says LORA, but no tensor is named base_model.model.<module>.lora_A.weight as PEFT names them")
    if config.plain_tensors:
        _check_shapes(config, pairs)
        _check_targets(config, [*pairs.factors, *_embeddings(pairs.extra)])


def _mismatch(why: str) -> HubError:
    return HubError("config-mismatch", f"{CONFIG} and {WEIGHTS} do not belong together: {why}.")


def _embeddings(names: Iterable[str]) -> list[str]:
    """The modules whose LoRA factors PEFT keeps as bare lora_embedding_A and lora_embedding_B."""
    found = (name.removeprefix(_PREFIX).partition(".lora_embedding_") for name in names)
    return list(dict.fromkeys(module for module, mark, _ in found if mark))


def _check_shapes(config: Config, pairs: _Pairs) -> None:
    rank_of = _rank_of(config)
    for module, factors in pairs.factors.items():
        if len(factors) != 2:
            have, lack = ("A", "B") if "A" in factors else ("B", "A")
            raise _mismatch(f"{shown(module)} has a lora_{have} but no lora_{lack}; the file looks incomplete")
        a, b = factors["A"].shape, factors["B"].shape
        if len(a) < 2 or len(a) != len(b) or 0 in a or 0 in b:
            raise _mismatch(f"the factors of {shown(module)} have the shapes {list(a)} and {list(b)}; sharded training has to gather them before saving")
        if a[0] != b[1]:
            raise _mismatch(f"lora_A of {shown(module)} has rank {a[0]}, its lora_B has rank {b[1]}")
        allowed = rank_of(module)
        if a[0] not in allowed:
            raise _mismatch(f"{shown(module)} has rank {a[0]}, and the config says {' or '.join(map(str, sorted(allowed)))}")


def _rank_of(config: Config) -> Callable[[str], set[int]]:
    """What ranks the config allows a module: one, or any that it mentions where a regular expression decides (which is never run)."""
    default = config.rank or 0
    patterns = Patterns(config.rank_pattern)
    if not patterns.cover(config.rank_pattern):
        anything = {default, *config.rank_pattern.values()}
        return lambda _: anything

    def rank_of(module: str) -> set[int]:
        key = patterns.key_for(module)
        return {config.rank_pattern[key] if key is not None else default}

    return rank_of


def _check_targets(config: Config, modules: list[str]) -> None:
    if not isinstance(config.targets, list):
        return
    unused = set(config.targets)
    suffixes = set(config.targets)
    for module in modules:
        endings = _endings(module)
        hits = endings & suffixes
        if not hits:
            raise _mismatch(f"{shown(module)} has LoRA weights, but target_modules does not name it")
        unused -= hits
        if module not in suffixes and not _in_layers(config, module):
            raise _mismatch(f"{shown(module)} has LoRA weights, but layers_to_transform leaves out its layer")
        if not endings.isdisjoint(config.excluded):
            raise _mismatch(f"{shown(module)} has LoRA weights, but exclude_modules names it")
    if unused:
        raise _mismatch(f'target_modules names "{shown(min(unused))}", but no weights are there for it; upload the complete file or take the name out')


def _endings(module: str) -> frozenset[str]:
    """The module's name and every part of it that follows a dot: what PEFT compares with target_modules."""
    parts = module.split(".")
    return frozenset(".".join(parts[start:]) for start in range(len(parts)))


def _in_layers(config: Config, module: str) -> bool:
    """PEFT's rule for layers_to_transform: the first number behind the name of a list decides; without layers_pattern, of any list not at the top."""
    if config.layers is None:
        return True
    parts = module.split(".")
    for name in config.layers_under or ("",):
        for place in range(1 if name else 2, len(parts) - 1):
            if parts[place].isdigit() and (not name or parts[place - 1] == name):
                return int(parts[place]) in config.layers
    return False
