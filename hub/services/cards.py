"""Writes cards: a first one from a template where an adapter has none, and what its owner fills in where the card does not say it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.conf import settings

from hub import adapter_config, card, labels
from hub.errors import HubError
from hub.services import suggestions

LICENCES = (
    *("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0"),
    *("gpl-3.0", "openrail", "llama3.1", "llama3.2", "gemma", "other"),
)
TASKS = tuple(dict.fromkeys(labels.PIPELINES.values()))
MAX_PROMPTS, MAX_PROMPT, MAX_DESCRIPTION = 10, 500, 2_000
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")


@dataclass(frozen=True)
class Filled:
    """What an owner says of an adapter beside its files."""

    licence: str = ""
    task: str = ""
    description: str = ""
    prompts: Sequence[str] = field(default_factory=tuple)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return not (self.licence or self.task or self.description.strip() or self.prompts)


def filled(*, licence: str = "", task: str = "", description: str = "", prompts: str = "") -> Filled:
    """Check what a form sends; prompts are lines."""
    if licence and not _LICENCE.fullmatch(licence):
        raise HubError("licence-invalid", "A licence is written as Hugging Face writes it, such as apache-2.0.", fields={"licence": "Such as apache-2.0."})
    if task and task not in TASKS:
        raise HubError("task-invalid", f"The task is one of: {', '.join(TASKS)}.", fields={"task": f"One of: {', '.join(TASKS)}."})
    lines = [line.strip() for line in prompts.splitlines() if line.strip()]
    if len(lines) > MAX_PROMPTS or any(len(line) > MAX_PROMPT for line in lines):
        text = f"There may be {MAX_PROMPTS} sample prompts, each a line of at most {MAX_PROMPT} characters."
        raise HubError("prompts-invalid", text, fields={"prompts": text})
    if len(description) > MAX_DESCRIPTION:
        text = f"The description may have {MAX_DESCRIPTION:,} characters. Write more into the card later."
        raise HubError("description-invalid", text, fields={"description": text})
    return Filled(licence, task, description.replace("\r\n", "\n"), tuple(lines))


def write(*, text: str, said: Filled, repo_id: str, config: bytes = b"") -> str:
    """Return the card: `text` with what it does not say yet, or where there is none a first one from what the config says."""
    facts = _config(config)
    if not text.strip():
        return _first(said, repo_id, facts)
    if said.is_empty:
        return text
    parsed = card.parse(text)
    missing = {name: value for name, value in _front(said, {}).items() if name not in parsed.data}
    return _with_front(text.replace("\r\n", "\n"), missing) + (f"\n\n{said.description.strip()}\n" if said.description.strip() and not parsed.summary else "")


def tags(*, actor: Any, text: str, name: str, config: bytes) -> list[str]:
    """Suggest tags: those of the card, and those in use that its words, the name and the config speak of."""
    try:
        parsed = card.parse(text) if text else None
    except HubError:
        parsed = None
    own = [*parsed.tags, *parsed.languages] if parsed else []
    body = f"{name} {parsed.summary} {parsed.body}" if parsed else f"{name} {text}"
    kinds = [str(value).lower() for key in ("peft_type",) if (value := _config(config).get(key))]
    known = suggestions.tags(actor=actor, text=body)
    return [tag for tag in dict.fromkeys(tag.lower() for tag in [*own, *known, *kinds]) if tag][:12]


def _config(raw: bytes) -> dict[str, Any]:
    """What a config says for a card; nothing where it cannot be read."""
    try:
        found = adapter_config.read(raw)
    except HubError:
        return {}
    return {"base_model": found.base_model, "task": labels.PIPELINES.get(found.task_type, ""), "rank": found.rank, "peft_type": found.peft_type}


def _front(said: Filled, facts: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "base_model": facts.get("base_model"),
        "library_name": "peft" if facts else "",
        "license": said.licence,
        "pipeline_tag": said.task or facts.get("task"),
        "widget": [{"text": prompt} for prompt in said.prompts],
    }
    return {name: value for name, value in values.items() if value}


def _with_front(text: str, values: Mapping[str, Any]) -> str:
    """Put values at the end of the front matter; what stands in it is not touched."""
    if not values:
        return text
    lines = _yaml(values)
    found = re.match(r"(---[ \t]*\n.*?)(^---[ \t]*(?:\n|\Z))", text, re.DOTALL | re.MULTILINE)
    return f"{found[1]}{lines}{found[2]}{text[found.end() :]}" if found else f"---\n{lines}---\n\n{text.lstrip()}"


def _yaml(values: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=1000))


def _first(said: Filled, repo_id: str, facts: Mapping[str, Any]) -> str:
    base, rank = facts.get("base_model") or "", facts.get("rank")
    kind = "LoRA adapter" if facts.get("peft_type") == "LORA" else "PEFT adapter"
    for_whom = (f" of rank {rank}" if rank else "") + (f" for {base}" if base else "")
    what = said.description.strip() or f"A {kind}{for_whom}. What it was trained for is not written down yet."
    parts = [f"# {repo_id.partition('/')[2]}", what]
    if said.prompts:
        parts += ["## Sample prompts", "\n".join(f"```text\n{prompt.replace('```', '` ` `')}\n```" for prompt in said.prompts)]
    if base:
        loader = "AutoModelForSeq2SeqLM" if facts.get("task") == "text2text-generation" else "AutoModelForCausalLM"
        parts += [
            "## Use it",
            f"```python\n# HF_ENDPOINT={settings.PUBLIC_URL}\nfrom peft import PeftModel\nfrom transformers import {loader}, AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("{base}")\nmodel = {loader}.from_pretrained("{base}")\n'
            f'model = PeftModel.from_pretrained(model, "{repo_id}")\n```',
        ]
    front = _yaml(values) if (values := _front(said, facts)) else ""
    return (f"---\n{front}---\n\n" if front else "") + "\n\n".join(parts) + "\n"
