"""Reads adapter_config.json as PEFT writes it, and says which of its settings leave the plain LoRA that can be composed.

No pattern of a stranger is ever run as a regular expression. A key of rank_pattern or alpha_pattern that is a plain module path (letters, digits,
"_", "-", "."; an optional "^" in front and "$" behind; "\\." for a dot) is matched exactly as PEFT matches it; with any other key the adapter is
hosted and cannot be composed. target_modules as a regular expression needs no matching: the tensors themselves say which modules are changed.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from hub import strict_json
from hub.errors import HubError
from hub.strict_json import JsonFault, shown

MAX_CONFIG_BYTES = 1_000_000
MAX_RANK = 65_536
MAX_SHAPES_OF_PATTERNS = 100

_PEFT_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+")
_PATTERN = re.compile(r"\^?((?:[A-Za-z0-9_\-.]|\\\.)+)\$?")

# Initialisations after which the adapter still belongs to the unchanged base. PiSSA, OLoRA, CorDA, LoftQ and their like subtract something from the base first.
_PLAIN_INITIALISATIONS = (None, True, False, "gaussian", "eva", "orthogonal")
_TASKS = ("", "CAUSAL_LM", "SEQ_2_SEQ_LM")

# Settings that change nothing about what the LoRA tensors mean once training is over.
_HARMLESS = frozenset(
    (
        *("peft_type", "base_model_name_or_path", "task_type", "auto_mapping", "peft_version", "inference_mode", "r", "lora_alpha", "lora_dropout"),
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "use_rslora", "fan_in_fan_out"),
        *("bias", "init_lora_weights", "revision", "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        *("use_dora", "ensure_weight_tying", "runtime_config", "unsloth_fixed", "modules_to_save"),
    )
)
_VARIANTS = {
    "lora_bias": "it trains biases of the LoRA layers",
    "layer_replication": "it repeats layers of the base model",
    "trainable_token_indices": "it trains token embeddings",
    "target_parameters": "it changes bare parameters (target_parameters), not modules",
    "alora_invocation_tokens": "it is an aLoRA, active only after certain tokens",
    "use_qalora": "it is a QALoRA, made for a quantised base model",
    "use_bdlora": "it is a block-diagonal LoRA",
    "arrow_config": "it routes between adapters (Arrow)",
    "kasa_config": "it is a KaSA, which changes the base weights too",
    "monteclora_config": "it samples its weights (MonteCLoRA)",
    "velora_config": "it is a VeLoRA variant",
    "megatron_config": "it was made for Megatron layers",
}


@dataclass(frozen=True)
class Config:
    peft_type: str
    base_model: str
    task_type: str
    rank: int | None
    alpha: float | None
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    use_rslora: bool
    use_dora: bool
    targets: list[str] | str | None  # a list of module names, a regular expression, or nothing
    excluded: list[str]
    layers: frozenset[int] | None  # the only layer indices that PEFT adapts, where the config names them
    layers_under: tuple[str, ...]  # the names of the lists those layers are in; () means any
    plain_tensors: bool  # whether the tensors must be pairs of two matrices with the ranks the config states
    refusal: str  # why the config alone keeps it from being composed, or ""

    @property
    def is_lora(self) -> bool:
        return self.peft_type == "LORA"


def read(raw: bytes) -> Config:
    """The config, or HubError "config-invalid"."""
    if len(raw) > MAX_CONFIG_BYTES:
        raise _invalid(f"it is larger than {MAX_CONFIG_BYTES / 1e6:.0f} MB")
    try:
        data = strict_json.loads(raw)
    except JsonFault as fault:
        raise HubError("config-invalid", f"adapter_config.json is not valid JSON: {fault}. Upload the file that PEFT's save_pretrained wrote.") from None
    if not isinstance(data, dict):
        raise _invalid("it is not a JSON object")
    peft_type = data.get("peft_type")
    if not isinstance(peft_type, str) or not _PEFT_TYPE.fullmatch(peft_type.upper()):
        raise _invalid('it names no peft_type, for example "LORA"')
    return _lora(data) if peft_type.upper() == "LORA" else _other(data, peft_type.upper())


def _other(data: Mapping[str, Any], peft_type: str) -> Config:
    rank, alpha = data.get("r"), data.get("lora_alpha", data.get("alpha"))
    targets = data.get("target_modules")
    return Config(
        peft_type=peft_type,
        base_model=_text(data, "base_model_name_or_path", 500),
        task_type=_text(data, "task_type", 60),
        rank=rank if _is_rank(rank) else None,
        alpha=float(alpha) if _is_number(alpha) else None,
        rank_pattern={},
        alpha_pattern={},
        use_rslora=False,
        use_dora=False,
        targets=sorted(set(targets)) if _are_names(targets) else None,
        excluded=[],
        layers=None,
        layers_under=(),
        plain_tensors=False,
        refusal=f"{peft_type} adapters are hosted, but compositions work with plain LoRA adapters only.",
    )


def _lora(data: Mapping[str, Any]) -> Config:
    rank, alpha = data.get("r", 8), data.get("lora_alpha", 8)  # PEFT's own defaults
    if not _is_rank(rank):
        raise _invalid("its r is not a positive whole number")
    if not _is_number(alpha):
        raise _invalid("its lora_alpha is not a number")
    excluded = _names(data, "exclude_modules")
    layers, under = _layers(data)
    config = Config(
        peft_type="LORA",
        base_model=_text(data, "base_model_name_or_path", 500),
        task_type=_text(data, "task_type", 60),
        rank=rank,
        alpha=float(alpha),
        rank_pattern=_pattern(data, "rank_pattern", _is_rank, "positive whole numbers"),
        alpha_pattern={key: float(value) for key, value in _pattern(data, "alpha_pattern", _is_number, "numbers").items()},
        use_rslora=_flag(data, "use_rslora"),
        use_dora=_flag(data, "use_dora"),
        targets=_names(data, "target_modules"),
        excluded=excluded if isinstance(excluded, list) else [],
        layers=layers,
        layers_under=under,
        plain_tensors=not _variant(data),
        refusal="",
    )
    reason = _variant(data) or _departure(config, data)
    return replace(config, refusal=f"It cannot be used in compositions: {reason}." if reason else "")


def _variant(data: Mapping[str, Any]) -> str:
    """Which setting, if any, gives the LoRA tensors a meaning or a shape of their own."""
    for key, value in data.items():
        if value and key not in _HARMLESS:
            return _VARIANTS.get(key, f'its config sets "{shown(key, 40)}", which is not known here')
    return ""


def _departure(config: Config, data: Mapping[str, Any]) -> str:
    """The first reason why the adapter is more than low-rank changes to a base model known by name."""
    patterns = (*config.rank_pattern, *config.alpha_pattern)
    reasons = (
        (config.use_dora, "it is a DoRA, whose effect depends on the base weights"),
        (data.get("bias") not in (None, "none"), "it trains biases of the base model"),
        (data.get("modules_to_save"), "it replaces whole modules of the base model (modules_to_save)"),
        (not _is_plain_initialisation(data.get("init_lora_weights")), "its initialisation changed the base weights (init_lora_weights)"),
        (not config.base_model, "its config does not name the base model"),
        (not _HUB_NAME.fullmatch(config.base_model), "base_model_name_or_path is a path on a computer; write the base model's name on the hub there"),
        (data.get("revision") not in (None, "", "main"), "it was trained on another revision of the base model than the main one"),
        (config.task_type not in _TASKS, "its task is not text generation"),
        (isinstance(data.get("exclude_modules"), str), "its exclude_modules is a regular expression"),
        (not all(map(_PLAIN_NAME.fullmatch, config.layers_under)), "its layers_pattern is a regular expression"),
        (not Patterns.cover(patterns), "its rank_pattern or alpha_pattern holds a regular expression; write out the module names"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _is_plain_initialisation(value: Any) -> bool:
    return any(value is plain or (isinstance(value, str) and value.lower() == plain) for plain in _PLAIN_INITIALISATIONS)


class Patterns:
    """Finds the key of a rank_pattern or alpha_pattern that PEFT would use for a module, without running any of them.

    PEFT takes the first key for which `(.*\\.)?(key)$` matches the module's name; in a plain key only "." stands for more than itself, for any one character.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        # (length, places of wildcards, whole name only) -> text with "." at those places -> (position, key)
        self._groups: dict[tuple[int, tuple[int, ...], bool], dict[str, tuple[int, str]]] = {}
        for position, key in enumerate(keys):
            found = _PATTERN.fullmatch(key)
            if found:
                text, wild = _unescape(found[1])
                self._groups.setdefault((len(text), wild, key.startswith("^")), {}).setdefault(text, (position, key))

    @property
    def shapes(self) -> int:
        return len(self._groups)

    @staticmethod
    def cover(keys: Iterable[str]) -> bool:
        """Whether all of these keys are plain module paths."""
        return all(map(_PATTERN.fullmatch, keys))

    def key_for(self, module: str) -> str | None:
        starts = {len(module), *(len(module) - place - 1 for place, character in enumerate(module) if character == ".")}
        best: tuple[int, str] | None = None
        for (length, wild, whole), texts in self._groups.items():
            if length not in starts or (whole and length != len(module)):
                continue
            letters = list(module[len(module) - length :])
            for place in wild:
                letters[place] = "."
            found = texts.get("".join(letters))
            if found and (best is None or found < best):
                best = found
        return best[1] if best else None


def _unescape(body: str) -> tuple[str, tuple[int, ...]]:
    literal = [character == "\\." for character in re.findall(r"\\\.|.", body)]
    text = body.replace("\\.", ".")
    return text, tuple(place for place, escaped in enumerate(literal) if text[place] == "." and not escaped)


def _invalid(why: str) -> HubError:
    return HubError("config-invalid", f"adapter_config.json cannot be used: {why}. Upload the file that PEFT's save_pretrained wrote.")


def _is_rank(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_RANK


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e9


def _is_name(value: Any, limit: int = 512) -> bool:
    return isinstance(value, str) and 0 < len(value) <= limit and value.isprintable()


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(map(_is_name, value))


def _text(data: Mapping[str, Any], key: str, limit: int) -> str:
    value = data.get(key)
    if value is None or value == "":
        return ""
    if not _is_name(value, limit):
        raise _invalid(f"its {key} is not a line of text of at most {limit} characters")
    return str(value)


def _flag(data: Mapping[str, Any], key: str) -> bool:
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise _invalid(f"its {key} is neither true nor false")
    return bool(value)


def _names(data: Mapping[str, Any], key: str) -> list[str] | str | None:
    value = data.get(key)
    if value is None or _is_name(value, 20_000):
        return value
    if not _are_names(value):
        raise _invalid(f"its {key} is neither a list of module names nor a pattern")
    return sorted(set(value))


def _pattern(data: Mapping[str, Any], key: str, is_value: Callable[[Any], bool], kind: str) -> dict[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, dict) or not all(_is_name(name) and is_value(item) for name, item in value.items()):
        raise _invalid(f"its {key} does not map module names to {kind}")
    if Patterns(value).shapes > MAX_SHAPES_OF_PATTERNS:
        raise _invalid(f"its {key} is too complicated")
    return dict(value)


def _layers(data: Mapping[str, Any]) -> tuple[frozenset[int] | None, tuple[str, ...]]:
    """PEFT's layers_to_transform and layers_pattern."""
    value, under = data.get("layers_to_transform"), data.get("layers_pattern")
    indices = [value] if type(value) is int else value
    if indices is not None and not (isinstance(indices, list) and all(type(index) is int for index in indices)):
        raise _invalid("its layers_to_transform is not a list of layer numbers")
    names = [under] if isinstance(under, str) and under else under or []
    if not _are_names(names):
        raise _invalid("its layers_pattern is not a list of names")
    return (frozenset(indices) if indices else None), tuple(names)
