"""Loads base models from a folder and keeps the last ones resident, under a byte limit; downloads nothing."""

import json
import logging
import threading
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from compose_worker.engine import fingerprint, memory
from compose_worker.engine.errors import ComposeError

logger = logging.getLogger(__name__)

KEEP_BYTES = 8_192_000_000  # of base models that stay in memory
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_resident: OrderedDict[tuple[str, str, str], "Base"] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Base:
    """A frozen language model with its tokenizer. `lock` is held while modules hang on it."""

    path: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype
    is_seq2seq: bool
    scattered: frozenset[str] = frozenset()  # linear layers that do not read a batch line by line
    seen: str = ""  # the fingerprint of the folder it was read from, and when that was written
    lock: Any = field(default_factory=threading.RLock)

    @property
    def task_type(self) -> str:
        return "SEQ_2_SEQ_LM" if self.is_seq2seq else "CAUSAL_LM"

    @property
    def context(self) -> int | None:
        """The largest number of tokens the model reads at once; None where it has no such number."""
        # An encoder-decoder with relative positions still names its `n_positions`, which bound nothing.
        others = ("max_encoder_position_embeddings",) if self.is_seq2seq else ("n_positions", "max_seq_len")
        stated = next((number for name in ("max_position_embeddings", *others) if (number := getattr(self.model.config, name, None))), 0)
        limit = getattr(self.tokenizer, "model_max_length", None) or 0
        known = [number for number in (stated, limit) if 0 < number < 10_000_000]
        return min(known) if known else None

    def knows(self, token: int) -> bool:
        """Whether the model has an embedding for the token; a tokenizer may have more of them than the model."""
        return token < getattr(self.model.get_input_embeddings(), "num_embeddings", token + 1)

    @property
    def bytes(self) -> int:
        """What its weights take."""
        return sum(parameter.nbytes for parameter in self.model.parameters())

    def layers(self) -> dict[str, nn.Module]:
        """Every layer a LoRA can hang on, by its name inside the model."""
        return {name: layer for name, layer in self.model.named_modules() if isinstance(layer, nn.Linear | Conv1D)}


def shape(layer: nn.Module) -> tuple[int, int]:
    """Return (inputs, outputs) of a linear layer; GPT-2's Conv1D stores its weight the other way round."""
    rows, columns = layer.weight.shape  # type: ignore[misc]
    return (int(rows), int(columns)) if isinstance(layer, Conv1D) else (int(columns), int(rows))


def load(path: str, device: str = "auto", dtype: str = "auto", keep: int = KEEP_BYTES) -> Base:
    """Return the base model in the folder `path`, from memory if it was used lately; beside it stay others as far as `keep` bytes go."""
    where = _device(device)
    number = _dtype(dtype, where)
    key = (str(Path(path).resolve()), str(where), str(number))
    seen = f"{fingerprint.of(path)} {fingerprint.touched(path)}"
    with _lock:
        if key in _resident and _resident[key].seen != seen:  # the folder holds another model now
            del _resident[key]
        if key not in _resident:
            _resident[key] = _read(path, seen, where, number)
        _resident.move_to_end(key)
        while len(_resident) > 1 and sum(base.bytes for base in _resident.values()) > keep:
            _resident.popitem(last=False)
        return _resident[key]


def forget() -> None:
    """Drop every resident base model."""
    with _lock:
        _resident.clear()


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ComposeError("device-unavailable", f"This worker has no {wanted!r}. Set the device to 'auto' or 'cpu'.")
    return device


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        return DTYPES[wanted]
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    # Without these instructions bfloat16 is emulated and several times slower than float32.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx"))


def _read(path: str, seen: str, device: torch.device, dtype: torch.dtype) -> Base:
    config = _config(path)
    kind = str(config.get("model_type"))
    is_seq2seq = bool(config.get("is_encoder_decoder")) and kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    if not is_seq2seq and kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ComposeError("base-model-unsupported", f"Models of the type {kind[:40]!r} do not write text. Choose a text-generation model as base.")
    if config.get("quantization_config"):
        raise ComposeError("base-model-unsupported", "The base model is quantised. Give the worker the same model in 16 or 32 bits.")
    family = AutoModelForSeq2SeqLM if is_seq2seq else AutoModelForCausalLM
    transformers_logging.disable_progress_bar()
    try:
        with memory.enough_for("this base model"):
            # Weights that a file lacks are drawn at random, which is only told to those who ask.
            loaded: Any = family.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype, output_loading_info=True
            )
            model, told = loaded
            if told["missing_keys"]:
                raise ValueError(f"its files lack {sorted(told['missing_keys'])[:3]}")
            model = model.eval().requires_grad_(False).to(device)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)  # nosec B615
    except ComposeError:
        raise
    except Exception as error:  # of a damaged folder, where tokenizers and configs raise what has no name
        logger.warning("base model in %s does not load", path, exc_info=True)
        raise ComposeError(
            "base-model-unavailable", "The worker has this base model, but its files do not load. Ask the operator to fetch it again."
        ) from error
    finally:
        transformers_logging.enable_progress_bar()
    _fuse(model)
    try:
        with torch.inference_mode(), memory.enough_for("this base model"):
            looks_ahead, scattered = _tried(model, is_seq2seq, device)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        number = str(dtype).removeprefix("torch.")
        logger.warning("base model %s does not run in %s", type(model).__name__, number, exc_info=True)
        raise ComposeError(
            "base-model-unsupported", f"This base model loads but fails on a few tokens in {number}. Choose another, or ask the operator for another dtype."
        ) from error
    if looks_ahead:
        raise ComposeError("base-model-unsupported", f"Models of the type {kind[:40]!r} see the words to come. Choose a text-generation model as base.")
    return Base(path, model, tokenizer, device, dtype, is_seq2seq, scattered=scattered, seen=seen)


def _tried(model: PreTrainedModel, is_seq2seq: bool, device: torch.device) -> tuple[bool, frozenset[str]]:
    """Try the model on two lines of a few tokens: whether it looks ahead, and the linear layers where lines do not keep apart.

    Encoders also have heads for the next word, and would see the answer. Some attentions hold tokens before lines.
    """
    pairs = [((1, 2, 3, 4), (2, 3, 4, 1)), ((1, 2, 3, 4), (3, 4, 1, 2)), ((1, 2, 3, 5), (2, 3, 4, 1))]
    times = 8 if is_seq2seq else 1  # some encoders read blocks of 16 tokens
    (logits, reads), (_, others), (later, _) = (_run(model, is_seq2seq, torch.tensor(pair, device=device).repeat(1, times)) for pair in pairs)
    before, after = logits[0, :3].float(), later[0, :3].float()
    looks_ahead = not is_seq2seq and bool((before - after).abs().max() > 1e-5 * before.abs().max())  # a model without finite numbers is refused for those
    # An expert reads only what is sent to it.
    return looks_ahead, frozenset(
        name for name in reads.keys() | others.keys() if not (name in reads and name in others and _keeps_lines(reads[name], others[name]))
    )


def _run(model: PreTrainedModel, is_seq2seq: bool, ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits, and what every linear layer reads."""
    reads: dict[str, Tensor] = {}
    head: Any = model.get_output_embeddings()
    projected: list[Tensor] = []
    with ExitStack() as stack:
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear | Conv1D):
                stack.callback(layer.register_forward_pre_hook(lambda _, args, name=name: reads.update({name: args[0]})).remove)
        stack.callback(head.register_forward_pre_hook(lambda _, args: projected.append(args[0])).remove)
        written = ids[:, :3] if is_seq2seq else ids  # an encoder-decoder writes fewer tokens than it reads, or more
        more = {"decoder_input_ids": written, "attention_mask": torch.ones_like(ids)} if is_seq2seq else {}
        logits: Tensor = model(input_ids=ids, use_cache=False, **more).logits
    if logits.shape[:2] != written.shape or len(projected) != 1 or projected[0].shape[:2] != written.shape:
        raise ValueError(f"logits of the shape {tuple(logits.shape)}, projected from {[tuple(x.shape) for x in projected]}")
    return logits, reads


def _keeps_lines(x: Tensor, other: Tensor) -> bool:
    """Whether the first of two lines is the first half of what a layer reads, so that it stays the same beside another second line."""
    if x.shape != other.shape or not (x.shape[0] == 2 if x.dim() == 3 else x.dim() == 2 and x.shape[0] % 2 == 0):
        return False
    half = x.shape[0] // 2
    first, same = x[:half].float(), other[:half].float()
    return not bool((first - same).abs().max() > 0.01 * first.abs().max())  # beside other lines, the last bits may differ


def _fuse(model: nn.Module) -> None:
    """Let torch compute in one step what transformers spells out in six: the approximate GELU of T5 and GPT-2."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))


def _config(path: str) -> dict[str, Any]:
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ComposeError("base-model-unavailable", "The worker does not have this base model. Ask the operator to add it, or choose another.") from error
    if not isinstance(config, dict):
        raise ComposeError("base-model-unavailable", "The base model's config.json is damaged. Ask the operator to fetch the model again.")
    return config
