"""Says what a whole model is: reads config.json and the headers of its safetensors files without torch. Adapters are the business of hub.adapter_format."""

import fnmatch
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hub import safetensors_header
from hub.adapter_format import File
from hub.errors import HubError

CONFIG = "config.json"
WEIGHTS = "model*.safetensors"
INDEX = "model.safetensors.index.json"
MAX_CONFIG_BYTES = 1_000_000
MAX_INDEX_BYTES = 10_000_000
MAX_WORD = 80
PIPELINES = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
}


@dataclass(frozen=True)
class ModelFacts:
    """What the catalogue knows of a base model; `dataclasses.asdict` of it is JSON."""

    model_type: str
    architectures: list[str]
    parameters: dict[str, int]  # values by dtype, as safetensors names it; empty where the weights are not here yet
    weights_bytes: int

    @property
    def pipeline(self) -> str:
        """The pipeline tag that the architecture stands for, or ""."""
        return next((tag for name in self.architectures for ending, tag in PIPELINES.items() if name.endswith(ending)), "")


def parts(paths: Iterable[str]) -> set[str]:
    """Return the paths that make up whole models: a config.json with model*.safetensors in the same folder; none where there is no model."""
    found: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == CONFIG or is_weights(path):
            found.setdefault(folder, set()).add(path)
    whole = (files for files in found.values() if any(map(is_weights, files)) and any(not is_weights(path) for path in files))
    return set().union(*whole)


def is_weights(path: str) -> bool:
    """Say whether clients take this file for weights of a whole model."""
    return fnmatch.fnmatchcase(path.rpartition("/")[2].lower(), WEIGHTS)


def shards(index: bytes) -> set[str]:
    """Return the weight files that an index of shards names; none where it cannot be read."""
    try:
        table = json.loads(index).get("weight_map", {})
        return {str(name) for name in table.values()}
    except (ValueError, AttributeError, RecursionError):
        return set()


def inspect(files: Sequence[File]) -> ModelFacts | None:
    """Return what the model at the top of these files is; None where there is none. Its weights were found sound already."""
    by_path = {file.path: file for file in files}
    weights = [file for file in files if "/" not in file.path and is_weights(file.path)]
    if CONFIG not in by_path or not weights:
        return None
    with by_path[CONFIG].open() as stream:
        config = read_config(stream.read(MAX_CONFIG_BYTES + 1))
    counts: Counter[str] = Counter()
    for file in weights:
        with file.open() as stream:
            for tensor in safetensors_header.read(stream, file.path).tensors:
                counts[tensor.dtype] += tensor.values
    return describe(config, parameters=dict(counts), weights_bytes=sum(file.size for file in weights))


def read_config(raw: bytes) -> dict[str, Any]:
    """Return config.json as an object, or raise "config-invalid"."""
    if len(raw) > MAX_CONFIG_BYTES:
        raise HubError("config-invalid", f"{CONFIG} is larger than {MAX_CONFIG_BYTES:,} bytes.")
    try:
        found = json.loads(raw)  # of real models, some hold Infinity, which strict JSON has not
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HubError("config-invalid", f"{CONFIG} is not a JSON object. Save the model again with model.save_pretrained(folder).")
    return found


def describe(config: dict[str, Any], *, parameters: dict[str, int], weights_bytes: int) -> ModelFacts:
    """Return the facts that a config and its weights make."""
    kind, architectures = config.get("model_type"), config.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return ModelFacts(
        model_type=_word(kind),
        architectures=[word for word in map(_word, names[:5]) if word],
        parameters=parameters,
        weights_bytes=weights_bytes,
    )


def _word(value: Any) -> str:
    return "".join(value.split())[:MAX_WORD] if isinstance(value, str) and value.isprintable() else ""
