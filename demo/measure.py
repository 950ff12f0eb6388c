"""Measures the candidates on held-out rows and lets the composed adapter answer; a process of its own, so that its memory is given back.

Usage: python -m demo.measure QUESTION.json ANSWER.json
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from compose_worker.engine import scoring
from compose_worker.engine.spec import PROMPT, Example, Module, Score

NEW_TOKENS = 32


def measure(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores by candidate, the best single adapter, and some answers of the composed adapter."""
    base = question["base"]
    shown, held_out = _examples(question["examples"]), _examples(question["held_out"])
    singles: dict[str, str] = question["singles"]  # id -> folder
    # chosen on the examples that were given to the composition: the held-out rows decide nothing
    losses = {name: scoring.score_adapter(base, folder, shown).loss for name, folder in singles.items()}
    best = min(losses, key=lambda name: losses[name])
    uniform = [1 / len(singles)] * len(singles)
    modules = [Module(name, "", folder) for name, folder in singles.items()]
    scores: dict[str, Score] = {
        "base": scoring.score_adapter(base, None, held_out),
        "best_single": scoring.score_adapter(base, singles[best], held_out),
        "uniform": scoring.score_mix(base, modules, uniform, held_out).score,
    }
    for name, folder in question["results"].items():
        scores[name] = scoring.score_adapter(base, folder, held_out)
    answers = greedy(base, question["results"]["composed"], [row.input for row in held_out[: question["answers"]]]) if "composed" in question["results"] else []
    return {"best_single": best, "scores": {name: dataclasses.asdict(score) for name, score in scores.items()}, "answers": answers}


def greedy(base: str, adapter: str, inputs: Sequence[str]) -> list[str]:
    """Answer as any user of peft would: load the base model, put the adapter on it, generate."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), adapter).eval()
    answers = []
    for text in inputs:
        prompt = tokenizer(PROMPT.replace("{input}", text), return_tensors="pt")
        output = model.generate(**prompt, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.eos_token_id)
        answers.append(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return answers


def _examples(rows: Sequence[Mapping[str, str]]) -> list[Example]:
    return [Example(row["input"], row["output"]) for row in rows]


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
