"""Turns the lines of the quality benchmark into a table and a plot; every number in them comes from those lines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

REPEATS = 2000  # of the bootstrap
FEWEST = 3  # methods that are worth a table
SURE = 0.05  # p below which a task counts as worse


@dataclass(frozen=True)
class Grid:
    """One shot count: for each task, `right` is (methods, seeds, rows) and `loss` (methods, seeds)."""

    shots: int
    methods: tuple[str, ...]
    right: dict[str, np.ndarray]
    loss: dict[str, np.ndarray]
    spent: dict[str, float]  # by method

    def accuracy(self) -> np.ndarray:
        """(methods, tasks)"""
        return np.array([right.mean(axis=(1, 2)) for right in self.right.values()]).T

    def losses(self) -> np.ndarray:
        """(methods, tasks)"""
        return np.array([loss.mean(axis=1) for loss in self.loss.values()]).T


def grid(lines: Sequence[dict[str, Any]], methods: Sequence[str], shots: int) -> Grid | None:
    """Only cells that every method has: the comparison is paired."""
    by_cell: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for line in lines:
        if line["shots"] == shots and line["method"] in methods:
            by_cell.setdefault((line["task"], line["seed"]), {})[line["method"]] = line
    full = {cell: found for cell, found in sorted(by_cell.items()) if len(found) == len(methods)}
    if not full:
        return None
    right, loss = {}, {}
    for task in dict.fromkeys(cell[0] for cell in full):
        mine = [found for cell, found in full.items() if cell[0] == task]
        right[task] = np.array([[[int(c) for c in found[m]["exact"]] for found in mine] for m in methods], dtype=float)
        loss[task] = np.array([[found[m]["loss"] for found in mine] for m in methods])
    spent = {m: float(np.mean([found[m]["spent"] for found in full.values()])) for m in methods}
    return Grid(shots, tuple(methods), right, loss, spent)


def grids(lines: Sequence[dict[str, Any]], methods: Sequence[str]) -> list[Grid]:
    """What is compared: by shot count, the methods with most cells on those, then with each that has fewer on the cells it has too."""
    found = []
    for shots in sorted({line["shots"] for line in lines}):
        cells = {m: sum(line["shots"] == shots and line["method"] == m for line in lines) for m in methods}
        for least in sorted(set(cells.values()) - {0}, reverse=True):
            compared = [m for m in methods if cells[m] >= least]
            one = grid(lines, compared, shots) if len(compared) >= min(FEWEST, len(methods)) else None
            found += [one] if one is not None else []
    return found


def resampled(grid: Grid) -> np.ndarray:
    """Mean accuracy over the tasks, (repeats, methods), with seeds and held-out rows drawn anew; the tasks stay."""
    chance = np.random.default_rng(0)
    out = np.zeros((REPEATS, len(grid.methods)))
    for right in grid.right.values():
        _, seeds, rows = right.shape
        for repeat in range(REPEATS):
            drawn = right[:, chance.integers(seeds, size=seeds)]
            counts = np.bincount(chance.integers(rows, size=rows), minlength=rows)
            out[repeat] += (drawn.mean(axis=1) @ counts) / rows
    return out / len(grid.right)


def worse(grid: Grid, method: int, rival: int) -> list[str]:
    """Tasks on which a method is significantly below a rival: paired t-test over the held-out rows, each averaged over the seeds."""
    found = []
    for task, right in grid.right.items():
        gap = (right[method] - right[rival]).mean(axis=0)
        if gap.mean() < 0 and _chance(gap) < SURE:
            found.append(task)
    return found


def _chance(gap: np.ndarray) -> float:
    """How likely such gaps are where there is no difference: by the t-test, or by their signs where they are all the same."""
    return float(stats.ttest_1samp(gap, 0).pvalue) if gap.std() > 0 else 2 * 0.5 ** len(gap)


def write(lines: Sequence[dict[str, Any]], methods: Sequence[str], path: Path) -> None:
    """Write the table to `path` and the plot beside it."""
    there = [m for m in methods if any(line["method"] == m for line in lines)]
    compared = grids(lines, there)
    path.parent.mkdir(parents=True, exist_ok=True)
    plot_name = path.with_suffix(".svg").name
    parts = ["# Quality", "", _about(), "", f"![Accuracy by method]({plot_name})", ""]
    for found in compared:
        parts += [f"## {_title(found)}", "", _measured(found), "", *_overview(found), "", *_by_task(found), ""]
    path.write_text("\n".join(parts), encoding="utf-8")
    path.with_suffix(".svg").write_text(_plot(compared), encoding="utf-8")


def _title(found: Grid) -> str:
    others = [m for m in found.methods if m not in ("base", "best single")]
    return f"{found.shots} examples: {', '.join(others) or 'base and best single'}"


def _measured(found: Grid) -> str:
    draws, rows = [r.shape[1] for r in found.right.values()], [r.shape[2] for r in found.right.values()]
    return f"{len(found.right)} tasks, up to {max(draws)} draws of examples for each ({sum(draws)} in all), {min(rows)} to {max(rows)} held-out rows."


def _about() -> str:
    return (
        "Written by `python -m benchmarks.quality --table` from measurements; `docs/benchmarks/README.md` says how to repeat them. "
        "Exact match of the whole greedy answer; loss in nats per answer token. Intervals (95 %) draw the seeds and the held-out rows anew "
        "and leave the tasks as they are. Rank: by accuracy on each task, 1 is best, averaged. "
        "Below base / best single: on how many tasks the method is worse at all, and on which significantly (paired t-test over held-out rows, p < 0.05; "
        "by signs where all rows say the same). "
        "Spent: forwards over all examples, a gradient counting two."
    )


def _overview(grid: Grid) -> list[str]:
    accuracy, losses, drawn = grid.accuracy(), grid.losses(), resampled(grid)
    ranks = np.mean([stats.rankdata(-column) for column in accuracy.T], axis=0)
    reference = grid.methods.index("best single") if "best single" in grid.methods else 0
    base = grid.methods.index("base") if "base" in grid.methods else 0
    out = [
        "| method | accuracy | interval | against best single | loss | rank | below base | below best single | spent |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for index, method in enumerate(grid.methods):
        low, high = np.percentile(drawn[:, index], [2.5, 97.5])
        gap = 100 * (accuracy[index] - accuracy[reference]).mean()
        gap_low, gap_high = 100 * np.percentile(drawn[:, index] - drawn[:, reference], [2.5, 97.5])
        out.append(
            f"| {method} | {accuracy[index].mean():.3f} | {low:.3f} to {high:.3f} | {gap:+.1f} points ({gap_low:+.1f} to {gap_high:+.1f}) | "
            f"{losses[index].mean():.3f} | {ranks[index]:.1f} | {_below(grid, index, base)} | {_below(grid, index, reference)} | "
            f"{grid.spent[method]:.0f} |"
        )
    return out


def _below(grid: Grid, method: int, rival: int) -> str:
    accuracy, clear = grid.accuracy(), worse(grid, method, rival)
    count = int((accuracy[method] < accuracy[rival]).sum())
    return f"{count}, significantly {', '.join(clear) or 'none'}" if count else "none"


def _by_task(grid: Grid) -> list[str]:
    accuracy, losses = grid.accuracy(), grid.losses()
    out = ["Accuracy (loss) by task:", "", f"| task | {' | '.join(grid.methods)} |", f"|---|{'---|' * len(grid.methods)}"]
    for column, task in enumerate(grid.right):
        numbers = [f"{accuracy[row, column]:.2f} ({losses[row, column]:.2f})" for row in range(len(grid.methods))]
        out.append(f"| {task} | {' | '.join(numbers)} |")
    return out


ROW, LEFT, WIDTH = 26, 130, 760


def _plot(compared: Sequence[Grid]) -> str:
    """Mean accuracy with its interval, a line a method, a panel a comparison."""
    parts, top = [], 20
    most = max((np.percentile(resampled(g), 97.5, axis=0).max() for g in compared), default=1.0)
    end = max(0.1, math.ceil(most * 10) / 10)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 30) * value / end, 1)

    for found in compared:
        drawn, mean = resampled(found), found.accuracy().mean(axis=1)
        draws = sum(right.shape[1] for right in found.right.values())
        parts.append(
            f'<text x="{LEFT}" y="{top}" class="h">{found.shots} examples, mean accuracy of {len(found.right)} tasks, {draws} draws of examples in all</text>'
        )
        bottom = top + 14 + ROW * len(found.methods)
        for tick in range(round(end * 10) + 1):
            parts.append(f'<line x1="{x(tick / 10)}" x2="{x(tick / 10)}" y1="{top + 8}" y2="{bottom}" class="g"/>')
            parts.append(f'<text x="{x(tick / 10)}" y="{bottom + 14}" text-anchor="middle">{tick / 10:.1f}</text>')
        for index, method in enumerate(found.methods):
            y = top + 14 + ROW * index + ROW // 2
            low, high = np.percentile(drawn[:, index], [2.5, 97.5])
            kind = "ours" if method.startswith("medley") else "other"
            parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{method}</text>')
            parts.append(f'<line x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}" class="{kind}"/><circle cx="{x(mean[index])}" cy="{y}" r="4" class="{kind}"/>')
        top = bottom + 46
    style = (
        "text{font:12px sans-serif;fill:#333}.h{font-weight:bold}.g{stroke:#ddd}.ours{stroke:#0a6b55;fill:#0a6b55;stroke-width:2}"
        ".other{stroke:#777;fill:#777;stroke-width:2}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" role="img">'
        f'<title>Mean accuracy by method</title><style>{style}</style><rect width="{WIDTH}" height="{top}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
