"""Says by which words Hugging Face clients find an adapter: computed from its files, the card second."""

from collections.abc import Iterable

from hub import adapter_format, card, model_format

PIPELINES = {
    "CAUSAL_LM": "text-generation",
    "SEQ_2_SEQ_LM": "text2text-generation",
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "FEATURE_EXTRACTION": "feature-extraction",
}
MAX_LABEL = 250
MAX_TARGETS = 60


def of(facts: adapter_format.Facts | None, parsed: card.Card, model: model_format.ModelFacts | None = None) -> list[str]:
    """Return the labels of a revision, each once."""
    base_model = facts.base_model if facts else parsed.base_model
    found = ["peft", facts.peft_type.lower(), "safetensors"] if facts else ["transformers", "safetensors", model.model_type] if model else []
    if task := pipeline(facts.task_type if facts else "", parsed.pipeline_tag) or (model.pipeline if model and not facts else ""):
        found.append(task)
    found += parsed.tags
    found += parsed.languages
    found += [f"dataset:{name}" for name in parsed.datasets]
    if base_model:
        relation = "adapter" if facts else "finetune" if model else ""
        found += [f"base_model:{base_model}", *([f"base_model:{relation}:{base_model}"] if relation else [])]
    if parsed.licence:
        found.append(f"license:{parsed.licence}")
    return list(dict.fromkeys(label for label in map(_one_line, found) if 0 < len(label) <= MAX_LABEL))


def pipeline(task_type: str, stated: str) -> str:
    """Return the pipeline tag: what the card states, else what PEFT's task type means."""
    return stated or PIPELINES.get(task_type, "")


def pack(labels: Iterable[str]) -> str:
    """Return labels as one text in which each can be found between two line breaks."""
    return "".join(f"\n{label}" for label in labels) + "\n"


def unpack(text: str) -> list[str]:
    """Return the labels of a packed text."""
    return [label for label in text.split("\n") if label]


def _one_line(label: str) -> str:
    return " ".join(label.split())


def targets(names: Iterable[str]) -> str:
    """Name matrices without what most of them end with: k q v; what is too many for a row of a list is cut off."""
    found = " ".join(sorted({name.rpartition(".")[2].removesuffix("_proj") for name in names}))
    return found if len(found) <= MAX_TARGETS else f"{found[: MAX_TARGETS - 1]}…"
