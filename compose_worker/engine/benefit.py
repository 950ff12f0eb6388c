"""Says whether modules help, apart from what weights of their own for every layer can be taught.

Such weights learn from examples whatever the modules are: on SmolLM2-135M-Instruct, 26 modules of random numbers and five examples took a loss
of 5.9 nats to 0.9 on held-out examples, while one of them alone, picked without the fold, took it to 5.5 (`docs/benchmarks/README.md`).
That is no skill of a module.
"""

from collections.abc import Mapping, Sequence

from compose_worker.engine import scores
from compose_worker.engine.scores import Rows
from compose_worker.engine.search import Found, Task

LOWER = 0.1  # the share of the base model's loss by which what helps lowers it
MORE, MORE_OF = 2, 0.1  # or how many more right answers it has, and of how many examples, at a lower loss


def planned(folds: int) -> int:
    """Measurements: the mix with one weight for each module, on its folds."""
    return folds


def helps(task: Task, found: Found, rows: Mapping[str, Rows]) -> bool:
    """Whether a module, the mean, or a mix with one weight for each module is clearly better than the base model.

    `rows` are held out where there are folds. What was trained on top of a mix needs no module that helps.
    """
    tokens = task.evaluator.tokens
    if found.change is not None or any(is_clearly_better(rows[name], rows["base"], tokens) for name in ("single", "uniform")):
        return True
    if found.layers is None or not found.by_fold:
        return is_clearly_better(rows["mix"], rows["base"], tokens)
    even = task.evaluator.measure_many("fold", [task.evaluator.bank.mean(mix) for mix in found.by_fold], task.folds)
    return is_clearly_better(scores.together(even), rows["base"], tokens)


def remains(candidate: str, trained: bool, rows: Mapping[str, Rows], tokens: Sequence[int]) -> bool:
    """Whether what a cut candidate is published for is still there, by rows that count the cut.

    Fits to a part of the examples are judged too harshly, so a mix may stand on the module that it did better than. What was trained needs only to be better.
    """
    if trained:
        return scores.loss(rows[candidate], tokens) < scores.loss(rows["base"], tokens)
    standing = ("mix", "single") if candidate == "mix" else (candidate,)
    return any(is_clearly_better(rows[name], rows["base"], tokens) for name in standing)


def is_clearly_better(one: Rows, other: Rows, tokens: Sequence[int]) -> bool:
    """Whether the loss of the one is lower by a tenth, or lower at all with clearly more right answers."""
    mine, others = scores.loss(one, tokens), scores.loss(other, tokens)
    more = sum(one.exact) - sum(other.exact)
    return mine < (1 - LOWER) * others or (mine < others and more >= max(MORE, MORE_OF * len(one.exact)))
