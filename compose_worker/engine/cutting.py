"""Measures what cutting a result to its rank or size costs on the examples: a score is of the file that is published, not of what it was cut from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compose_worker.engine import forgetting, hung, scores
from compose_worker.engine.export import Exported
from compose_worker.engine.scores import Rows
from compose_worker.engine.search import Found, Task

PHASE = "cut"  # of the evaluations
SLIGHT = 1e-4  # of the squared size: what is cut off with less is no more than the rounding of what is stored
WORSE = 0.01  # of the loss: a cut that costs more is told
NAMES = {"mix": "the mix", "single": "the best single adapter", "uniform": "the even mix"}


@dataclass(frozen=True)
class Cut:
    """A candidate on all examples, whole and as its file."""

    whole: Rows
    file: Rows
    rank: int


Cuts = Mapping[str, Cut]  # by candidate


def planned(rivals: Sequence[str]) -> int:
    """Measurements at most: the file of the mix, and of each rival that is an adapter."""
    return 1 + len([name for name in rivals if name != "base"])


def is_cut(exported: Exported) -> bool:
    """Whether the file lacks more of the change than rounding takes."""
    return exported.share_written < 1 - SLIGHT


def measure(task: Task, found: Found, candidate: str, exported: Exported, folder: Path) -> Cut:
    """Read the file of a candidate back and measure it on all examples; one forward."""
    evaluator = task.evaluator
    whole = {"mix": found.fitted, "single": task.best_single(), "uniform": task.uniform}[candidate]
    nothing = np.zeros(task.count)
    file = evaluator.take(PHASE, whole.weights, None, lambda rows: hung.measure(evaluator, nothing, rows, forgetting.read(str(folder))))
    return Cut(scores.whole(whole), scores.whole(file), exported.rank)


def counted(rows: Rows, cut: Cut) -> Rows:
    """What a candidate does on rows held out, with what its cut changes on the same rows; of rows that are its own on all examples: what the file does."""
    sums = tuple(max(0.0, own + file - whole) for own, whole, file in zip(rows.sums, cut.whole.sums, cut.file.sums, strict=True))
    exact = tuple(own if file == whole else file for own, whole, file in zip(rows.exact, cut.whole.exact, cut.file.exact, strict=True))
    return Rows(sums, exact)


def is_worse(cut: Cut, tokens: Sequence[int]) -> bool:
    """Whether the file does clearly worse than the whole on all examples."""
    return scores.loss(cut.file, tokens) > (1 + WORSE) * scores.loss(cut.whole, tokens) or sum(cut.file.exact) < sum(cut.whole.exact)


def as_json(cuts: Cuts, tokens: Sequence[int]) -> dict[str, dict[str, float]]:
    """Losses and accuracies on all examples, whole and as a file, of every candidate that was cut."""
    return {
        name: {
            "rank": cut.rank,
            "whole_loss": scores.loss(cut.whole, tokens),
            "whole_accuracy": sum(cut.whole.exact) / len(tokens),
            "file_loss": scores.loss(cut.file, tokens),
            "file_accuracy": sum(cut.file.exact) / len(tokens),
        }
        for name, cut in cuts.items()
    }


def notes(cuts: Cuts, published: str, tokens: Sequence[int]) -> list[str]:
    """What cuts cost, in words; of other candidates than what is `published` always, for they might have been."""
    said = []
    for name, cut in cuts.items():
        file, whole = scores.loss(cut.file, tokens), scores.loss(cut.whole, tokens)
        which = "the result" if name == published else NAMES[name]
        what = f"Cut to rank {cut.rank}, {which} has loss {file:.3f} and {sum(cut.file.exact)} of {len(tokens)} right on all examples"
        if name != published or is_worse(cut, tokens):
            counted = "its score counts that" if name == published else "the choice of what is published counts that"
            said.append(f"{what}, where it had {whole:.3f} and {sum(cut.whole.exact)} before; {counted}. Allow a larger rank or file.")
    return said
