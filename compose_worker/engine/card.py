"""Writes the README.md and recipe.json of a composed adapter; module ids and descriptions come from users and are escaped."""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compose_worker.engine import catalogue, forgetting, modules, written
from compose_worker.engine.choice import Choice
from compose_worker.engine.spec import Module, Score, Spec
from compose_worker.engine.written import text

README = "README.md"
RECIPE = "recipe.json"
RECIPE_VERSION = 1
ROWS = (("base", "Base model"), ("best_single", "Best single adapter"), ("uniform", "Uniform mean"), ("composed", "This adapter"))


def write(spec: Spec, is_seq2seq: bool, choice: Choice, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Write both files into `spec.out_dir` and return their names."""
    folder = Path(spec.out_dir)
    (folder / RECIPE).write_text(written.recipe(recipe(spec, choice, report)), encoding="utf-8")
    (folder / README).write_text(readme(spec, is_seq2seq, choice, report), encoding="utf-8")
    return (README, RECIPE)


def recipe(spec: Spec, choice: Choice, report: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is needed to rebuild the weights byte for byte."""
    parents = [
        {
            "id": module.id,
            "revision": module.revision,
            "weight": weight,
            "weights_sha256": module.weights_sha256 or modules.sha256(module, modules.WEIGHTS),
            "config_sha256": module.config_sha256 or modules.sha256(module, modules.CONFIG),
            "licence": module.licence,
        }
        for module, weight in zip(spec.modules, choice.weights, strict=True)
    ]
    used = [index for index, parent in enumerate(parents) if parent["weight"] or any(there[index] for there in (choice.layers or {}).values())]
    result = hashlib.sha256((Path(spec.out_dir) / modules.WEIGHTS).read_bytes()).hexdigest()
    return {
        "recipe_version": RECIPE_VERSION,
        "name": spec.name,
        "base_model": spec.base_model,
        "base_revision": spec.base_revision,
        "parents": [parents[index] for index in used],
        "space": report["space"],
        # In the order of the parents; `weight` is their mean.
        "layer_weights": None if choice.layers is None else {name: [there[index] for index in used] for name, there in choice.layers.items()},
        "method": spec.method,
        "settings": dict(spec.settings),
        "seed": spec.seed,
        "chosen": choice.candidate,
        "rebuilt_from": "parents and examples" if report.get("needs_examples") else "parents",
        "examples": {"count": len(spec.examples), "sha256": examples_sha256(spec)},
        "prompt": spec.prompt,
        "target": spec.target,
        "export": report["export"],
        "device": report["device"],
        "dtype": report["dtype"],
        "trained": report["search"].get("tuning") if choice.change is not None else None,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "transformers", "safetensors", "nevergrad")}},
        "result": {"weights_sha256": result},
    }


def examples_sha256(spec: Spec) -> str:
    """The hash of the examples in canonical JSON; the examples themselves stay private."""
    rows = [{"input": e.input, "output": e.output} for e in spec.examples]
    return hashlib.sha256(json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def readme(spec: Spec, is_seq2seq: bool, choice: Choice, report: Mapping[str, Any]) -> str:
    """The card: front matter, then how the adapter was made, from what, and how well it does."""
    method = catalogue.method(spec.method)
    parents = _parents(spec, choice)
    source = (
        f"from {_plural(len(parents), 'adapter')} and {_plural(len(spec.examples), 'example')}" if parents else f"from {_plural(len(spec.examples), 'example')}"
    )
    if not spec.examples:
        source = f"from {_plural(len(parents), 'adapter')}"
    description = text(spec.description) if spec.description.strip() else "An adapter composed from other adapters."
    parts = [
        _front_matter(spec, is_seq2seq, choice),
        f"{written.heading(spec.name)}\n{description}",
        f"## How it was made\n\nComposed by Medley with the method **{method.title}** (`{method.name}`) {source}, seed {spec.seed}. {text(choice.summary)}",
        *([_parents_table(spec, choice)] if parents else []),
        *([_scores_table(choice)] if choice.scores else []),
        _export_words(report),
        *([text(forgetting.sentence(report["forgetting"]))] if report["forgetting"] else []),
        _usage(spec, is_seq2seq),
        _recipe_words(report),
    ]
    return "\n\n".join(parts) + "\n"


def licence(parents: list[Module]) -> tuple[str, list[str]]:
    """The licence of the result: the parents' own if they share one, else `other`; and the list of all."""
    named = sorted({module.licence or "unknown" for module in parents})
    return (named[0] if len(named) == 1 and named[0] != "unknown" else "other"), named


def _parents(spec: Spec, choice: Choice) -> list[tuple[Module, float]]:
    pairs = zip(spec.modules, choice.weights, strict=True)
    return sorted(((module, weight) for module, weight in pairs if weight != 0.0), key=lambda pair: (-abs(pair[1]), pair[0].id))


def _front_matter(spec: Spec, is_seq2seq: bool, choice: Choice) -> str:
    parents = [module for module, _ in _parents(spec, choice)]
    common, named = licence(parents)
    lines = ["---", f"license: {_yaml(common)}"]
    if common == "other":
        lines += [f"license_name: {_yaml('parents: ' + ', '.join(named))}"]
    lines += [
        # The base first: whoever reads one name gets what the weights are for. The parents follow, as Hugging Face lists those of a merge.
        "base_model:",
        *(f"  - {_yaml(name)}" for name in (spec.base_model, *(module.id for module in parents))),
        "base_model_relation: merge",
        "library_name: peft",
        f"pipeline_tag: {'text2text-generation' if is_seq2seq else 'text-generation'}",
        "tags:",
        *(f"  - {tag}" for tag in ("lora", "peft", "medley", "composition")),
        "---",
    ]
    return "\n".join(lines)


def _yaml(words: str) -> str:
    return json.dumps(words)  # a JSON string is a YAML string that nothing breaks out of


def _parents_table(spec: Spec, choice: Choice) -> str:
    lines = ["## Parents", "", "| adapter | weight | revision | licence |", "|---|---:|---|---|"]
    for module, weight in _parents(spec, choice):
        lines.append(f"| {text(module.id)} | {weight:+.4f} | {text(module.revision[:12])} | {text(module.licence or 'unknown')} |")
    left = len(spec.modules) - len(_parents(spec, choice))
    if left:
        what = "took part in the search and got no weight" if catalogue.method(spec.method).needs_examples else "got no weight"
        lines += ["", f"{_plural(left, 'more adapter')} {what}."]
    return "\n".join(lines)


def _scores_table(choice: Choice) -> str:
    lines = ["## How well it does", "", "| candidate | loss | accuracy | 95 % interval | examples | measured on |", "|---|---:|---:|---|---:|---|"]
    for name, title in ROWS:
        s: Score = choice.scores[name]
        label = f"{title} ({text(s.module)})" if s.module else title
        lines.append(f"| {label} | {s.loss:.3f} | {s.accuracy:.0%} | {s.low:.0%} to {s.high:.0%} | {s.n} | {choice.scored_on[name]} |")
    lines += ["", "Loss is the mean over answer tokens in nats; an answer is right when greedy decoding gives exactly the output wanted."]
    return "\n".join(lines)


def _export_words(report: Mapping[str, Any]) -> str:
    export = report["export"]
    of = "what it does on the examples, squared" if report.get("cut_by_use") else "its squared size"
    return f"The mix is stored with rank {export['rank']} on {export['layers']} layers, which keeps {export['energy_kept']:.2%} of {of}."


def _recipe_words(report: Mapping[str, Any]) -> str:
    if report.get("needs_examples"):
        return f"`{RECIPE}` names parents with revisions and hashes, weights, method, settings and seed. Rebuilding takes the examples too, which are private."
    return f"`{RECIPE}` holds everything needed to rebuild this file: parents with revisions and hashes, weights, method, settings and seed."


def _usage(spec: Spec, is_seq2seq: bool) -> str:
    family = "AutoModelForSeq2SeqLM" if is_seq2seq else "AutoModelForCausalLM"
    code = [
        "from peft import PeftModel",
        f"from transformers import AutoTokenizer, {family}",
        "",
        f"base = {spec.base_model!r}",
        f"model = PeftModel.from_pretrained({family}.from_pretrained(base), {spec.name!r})",
        "tokenizer = AutoTokenizer.from_pretrained(base)",
        f"prompt = {spec.prompt!r}.replace('{{input}}', '...')",
        "inputs = tokenizer(prompt, return_tensors='pt')",
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))",
    ]
    return "\n".join(["## Use it", "", "```python", *code, "```"])


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
