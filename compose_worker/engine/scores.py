"""Turns measurements into scores: folds of the examples, what each candidate does on rows it did not learn from, and intervals."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compose_worker.engine.evaluator import Measured
from compose_worker.engine.spec import Example, Score

FOLDS = 3
DOUBT = 1.0  # nats over all examples that a mix must gain, and every step towards it, to count: a difference below may be chance
Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Rows:
    """Loss and exactness of one candidate (or one way to choose a candidate) on every example."""

    sums: tuple[float, ...]
    exact: tuple[bool, ...]


def folds(examples: Sequence[Example], seed: int, count: int = FOLDS) -> tuple[tuple[int, ...], ...]:
    """Split the rows into folds; rows with the same input stay together. Empty when there is nothing to split."""
    groups: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        groups.setdefault(example.input.strip(), []).append(row)
    if len(groups) < 2:
        return ()
    order = list(groups.values())
    random.Random(seed).shuffle(order)  # noqa: S311  not a secret
    parts: list[list[int]] = [[] for _ in range(min(count, len(order)))]
    for index, group in enumerate(order):
        parts[index % len(parts)].extend(group)
    return tuple(tuple(sorted(part)) for part in parts)


def rest(fold: Sequence[int], total: int) -> tuple[int, ...]:
    """The rows outside a fold."""
    out = set(fold)
    return tuple(row for row in range(total) if row not in out)


def whole(measured: Measured) -> Rows:
    """The rows of a candidate that was measured on all examples."""
    return Rows(measured.sums, measured.exact)


def together(parts: Sequence[Measured]) -> Rows:
    """Measurements of folds as those of all rows, in their order."""
    found = sorted((row, s, e) for part in parts for row, s, e in zip(part.rows, part.sums, part.exact, strict=True))
    return Rows(tuple(s for _, s, _ in found), tuple(e for _, _, e in found))


def held_out_best(candidates: Sequence[Measured], parts: Sequence[Sequence[int]], tokens: Sequence[int]) -> tuple[Rows, tuple[int, ...]]:
    """How "take the candidate that is best on the other folds" does on each fold, and which one it takes there."""
    sums = [0.0] * len(tokens)
    exact = [False] * len(tokens)
    taken = []
    for fold in parts:
        others = rest(fold, len(tokens))
        best = min(range(len(candidates)), key=lambda index: sum(candidates[index].sums[row] for row in others))
        taken.append(best)
        for row in fold:
            sums[row], exact[row] = candidates[best].sums[row], candidates[best].exact[row]
    return Rows(tuple(sums), tuple(exact)), tuple(taken)


def loss(rows: Rows, tokens: Sequence[int]) -> float:
    """Token-weighted mean loss."""
    return sum(rows.sums) / sum(tokens)


def score(rows: Rows, tokens: Sequence[int], module: str | None = None) -> Score:
    """The score of a candidate over all its rows."""
    right, n = sum(rows.exact), len(rows.exact)
    low, high = wilson(right, n)
    return Score(loss=loss(rows, tokens), accuracy=right / n, low=low, high=high, n=n, module=module)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    share = right / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def as_json(found: Mapping[str, Score]) -> dict[str, dict[str, object]]:
    """Scores as plain numbers."""
    return {name: {"loss": s.loss, "accuracy": s.accuracy, "low": s.low, "high": s.high, "n": s.n, "module": s.module} for name, s in found.items()}
