"""Scores a finished adapter or a mix on any examples, for benchmarks and demonstrations; the resident base model is used again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compose_worker.engine import bank as banks
from compose_worker.engine import base_models, examples, scores
from compose_worker.engine.scores import Rows
from compose_worker.engine.spec import PROMPT, TARGET, Example, Module, Score


@dataclass(frozen=True)
class Scored:
    """A score with what each example contributed."""

    score: Score
    rows: Rows
    tokens: tuple[int, ...]


def score_adapter(
    base_path: str,
    adapter_dir: str | None,
    rows: Sequence[Example],
    device: str = "auto",
    dtype: str = "auto",
    prompt: str = PROMPT,
    target: str = TARGET,
) -> Score:
    """Score the adapter in a folder, or the bare base model where that is None."""
    chosen = [] if adapter_dir is None else [Module(id=Path(adapter_dir).name, revision="", path=str(adapter_dir))]
    return score_mix(base_path, chosen, [1.0] * len(chosen), rows, "exact", device, dtype, prompt, target).score


def score_mix(
    base_path: str,
    modules: Sequence[Module],
    weights: Sequence[float],
    rows: Sequence[Example],
    space: str = "exact",
    device: str = "auto",
    dtype: str = "auto",
    prompt: str = PROMPT,
    target: str = TARGET,
) -> Scored:
    """Score a weighted mix of modules without writing it."""
    base = base_models.load(base_path, device, dtype)
    encoded = examples.encode(base, rows, prompt, target)
    used = [(module, weight) for module, weight in zip(modules, weights, strict=True) if weight != 0.0]
    bank = banks.load(base, [module for module, _ in used])
    if space == "lorahub" and used:
        banks.check_alike(bank.adapters)
    sums, exact = [math.nan] * len(rows), [False] * len(rows)
    with bank.mixed(torch.tensor([weight for _, weight in used]), space), torch.inference_mode():
        for batch in examples.batches(base, encoded):
            outcome = examples.run(base, batch)
            for row, s, e in zip(batch.rows, outcome.sums, outcome.exact, strict=True):
                sums[row], exact[row] = s, e
    tokens = tuple(len(e.answer) for e in encoded)
    found = Rows(tuple(sums), tuple(exact))
    return Scored(scores.score(found, tokens), found, tokens)
