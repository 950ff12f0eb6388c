"""Computes the geometry of the charts; templates draw them. Percent coordinates, so that text never scales."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STRANDS = 6  # colours; what comes after them is drawn grey
MIX_WIDTH, MIX_GAP = 56.0, 2.0
NAMES = {"base": "Base", "uniform": "Even mix", "best_single": "Best single", "composed": "This mix"}
ALONE = 12  # adapters shown with their loss alone


@dataclass(frozen=True)
class Bar:
    """One strand of a mix bar, in units of its 56 by 9 box."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True)
class Weight:
    """One signed bar around the zero line, in percent."""

    id: str
    weight: float
    x: float
    width: float


@dataclass(frozen=True)
class Row:
    """One candidate with its held-out score; positions in percent of an axis from 0 to 1."""

    key: str
    name: str
    note: str
    accuracy: float
    low: float
    high: float
    right: int
    n: int
    loss: float
    x: float
    x1: float
    x2: float
    cut: int = 0  # the rank of the file that was scored, if that was cut


@dataclass(frozen=True)
class Part:
    """One adapter and what the loss would be without it; its bar in percent."""

    id: str
    without_loss: float
    whole_loss: float  # with all of them
    effect: float
    width: float


@dataclass(frozen=True)
class Alone:
    """How one adapter does without the others."""

    id: str
    loss: float
    accuracy: float
    kept: bool
    width: float


@dataclass(frozen=True)
class Strand:
    """A line of the lineage from a parent to its mix, in a box of 100 by 100."""

    kind: str
    width: float
    adds: bool
    path: str
    narrow: str


@dataclass(frozen=True)
class Dot:
    """One measured candidate."""

    x: float
    y: float
    off: bool  # its loss lies above the chart


@dataclass
class LossChart:
    """The losses of a composition by candidate."""

    finding: str
    ticks: list[tuple[float, str]] = field(default_factory=list)
    marks: list[tuple[float, str, str]] = field(default_factory=list)  # x, text, anchor
    dots: list[Dot] = field(default_factory=list)
    line: str = ""
    best: tuple[float, float, float] | None = None  # x, y, loss
    best_on_left: bool = False
    best_is_low: bool = False  # its label hangs below the chart, where the numbers of the axis would be
    base: tuple[float, float] | None = None  # y, loss
    single: tuple[float, float, str] | None = None  # y, loss, module
    base_dy: int = 4  # pixels that move its label away from the other one
    off: int = 0
    cut: int = 0  # candidates that are files after their cut


def mix_bar(weights: Iterable[float]) -> list[Bar]:
    """Return the strands of a mix, largest first; a negative weight is outlined whatever its colour."""
    ordered = sorted((w for w in weights if w), key=abs, reverse=True)
    if not ordered:
        return []
    shown, rest = ordered[:STRANDS], ordered[STRANDS:]
    amounts = [abs(w) for w in shown] + ([sum(abs(w) for w in rest)] if rest else [])
    room = MIX_WIDTH - MIX_GAP * (len(amounts) - 1)
    smallest = 2.5
    spare = max(0.0, room - smallest * len(amounts))
    widths = [smallest + spare * amount / sum(amounts) for amount in amounts]
    bars, x = [], 0.0
    for number, width in enumerate(widths):
        kind = "ref" if number >= STRANDS else "takes" if shown[number] < 0 else f"f{number + 1}"
        bars.append(Bar(kind, round(x, 1), round(width, 1)))
        x += width + MIX_GAP
    return bars


def weight_bars(weights: Mapping[str, float], limit: int = 14) -> tuple[list[Weight], int]:
    """Return bars for the largest weights, and how many modules are left out (most of them with no weight at all)."""
    ordered = sorted(weights.items(), key=lambda item: -abs(item[1]))
    shown = [(name, w) for name, w in ordered if abs(w) >= 0.005][:limit]
    top = max([abs(w) for _, w in shown] + [1.0])
    bars = []
    for name, w in shown:
        width = 46 * abs(w) / top
        bars.append(Weight(name, w, round(50 - width if w < 0 else 50, 2), round(width, 2)))
    return bars, len(ordered) - len(bars)


def score_rows(scores: Mapping[str, Any] | None, result: str = NAMES["composed"], cut: Mapping[str, int] | None = None) -> list[Row]:
    """Return the candidates of a report, from the base up to the result; `cut` has the ranks of those whose file was cut and scored."""
    rows = []
    for key, name in {**NAMES, "composed": result}.items():
        score = (scores or {}).get(key)
        if not score:
            continue
        accuracy, low, high, n = (float(score.get(k) or 0) for k in ("accuracy", "low", "high", "n"))
        rows.append(
            Row(
                key,
                name,
                str(score.get("module") or ""),
                accuracy,
                low,
                high,
                round(accuracy * n),
                int(n),
                float(score.get("loss") or 0),
                round(100 * accuracy, 2),
                round(100 * low, 2),
                round(100 * high, 2),
                (cut or {}).get(key, 0),
            )
        )
    return rows


def triple(scores: Mapping[str, Any] | None) -> dict[str, Row]:
    """Return the rows of a report by name: base, best_single, uniform, composed."""
    return {row.key: row for row in score_rows(scores)}


def alone(report: Mapping[str, Any]) -> list[Alone]:
    """Return the adapters of a report by their loss alone, lowest first; the bars share one scale from zero."""
    singles = report.get("singles") or {}
    rows = sorted(((name, s) for name, s in singles.items() if math.isfinite(s.get("loss", math.inf))), key=lambda item: item[1]["loss"])[:ALONE]
    top = max([s["loss"] for _, s in rows] + [1e-9])
    return [Alone(name, s["loss"], float(s.get("accuracy") or 0), bool(s.get("kept")), round(100 * s["loss"] / top, 2)) for name, s in rows]


def parts(report: Mapping[str, Any]) -> list[Part]:
    """Return what each adapter does for the mix, the most useful first; the bars share one scale from zero."""
    said = report.get("attribution") or {}
    rows = sorted(((name, s) for name, s in said.items() if math.isfinite(s.get("effect", math.inf))), key=lambda item: (-item[1]["effect"], item[0]))
    top = max([s["effect"] for _, s in rows] + [1e-9])
    return [Part(name, s["without_loss"], s["without_loss"] - s["effect"], s["effect"], round(100 * max(0.0, s["effect"]) / top, 2)) for name, s in rows]


def strands(weights: Sequence[float]) -> list[Strand]:
    """Return the lines from the parents, stacked top to bottom, to the mix at the middle of the right side."""
    top = max([abs(w) for w in weights] + [1e-9])
    found = []
    for number, w in enumerate(weights):
        y = 100 * (number + 0.5) / len(weights)
        end = 50 + (number - (len(weights) - 1) / 2) * min(2.0, 10 / len(weights))
        x = 54 - (number - (len(weights) - 1) / 2) * min(5.0, 30 / len(weights))
        kind = f"k{number + 1}" if number < STRANDS else "kref"
        width = round(2 + 8 * abs(w) / top, 1)
        wide = f"M0 {y:.1f}C55 {y:.1f} 45 {end:.1f} 100 {end:.1f}"
        found.append(Strand(kind, width, w >= 0, wide, f"M0 {y:.1f}C45 {y:.1f} {x:.1f} {y:.1f} {x:.1f} 100"))
    return found


def strands_out(weights: Sequence[float]) -> list[Strand]:
    """Return the lines from the adapter at the middle of the left side to what was made of it, stacked top to bottom."""
    top = max([abs(w) for w in weights] + [1e-9])
    found = []
    for number, w in enumerate(weights):
        y = 100 * (number + 0.5) / len(weights)
        start = 50 + (number - (len(weights) - 1) / 2) * min(3.0, 12 / len(weights))
        x = 52 - number * min(10.0, 40 / len(weights))
        wide = f"M0 {start:.1f}C55 {start:.1f} 45 {y:.1f} 100 {y:.1f}"
        found.append(Strand("k1", round(2 + 6 * abs(w) / top, 1), w >= 0, wide, f"M{x:.1f} 0C{x:.1f} {y:.1f} 45 {y:.1f} 0 {y:.1f}"))
    return found


def loss_chart(history: Sequence[Any], ids: Sequence[str]) -> LossChart | None:
    """Return the chart of a job's history. Measurements on a part of the examples are left out: their losses do not compare."""
    points = [e for e in history if e.rows is None and e.weights and e.phase != "fold" and math.isfinite(e.loss)]
    if not points:
        return None
    base = next((e.loss for e in points if e.phase == "base"), None)
    singles = [e for e in points if e.phase == "single"]
    single = min(singles, key=lambda e: e.loss) if singles else None
    low, high = _limits([e.loss for e in points], base)
    last = max(len(points), 10)

    def x(number: int) -> float:
        return round(100 * number / (last - 1), 2)

    def y(loss: float) -> float:
        return round(100 * min(1.0, max(0.0, (high - loss) / (high - low))), 2)

    chart = LossChart(finding="", ticks=_ticks(low, high, y), marks=_marks(last, x))
    best = math.inf
    path = []
    for number, e in enumerate(points):
        chart.dots.append(Dot(x(number), y(e.loss), e.loss > high))
        if e.loss < best:
            if path:
                path.append(f"L{x(number)} {y(best)}")
            best = e.loss
            chart.best = (x(number), y(best), best)
        path.append(f"{'L' if path else 'M'}{x(number)} {y(best)}")
    chart.line = "".join(path)
    chart.best = (x(len(points) - 1), y(best), best)
    chart.best_on_left = chart.best[0] > 62
    chart.best_is_low = chart.best_on_left and chart.best[1] > 93
    chart.off = sum(dot.off for dot in chart.dots)
    chart.cut = sum(e.phase == "cut" for e in points)
    if base is not None:
        chart.base = (y(base), base)
    if single is not None:
        chart.single = (y(single.loss), single.loss, _module(single.weights, ids))
    _part_labels(chart)
    chart.finding = _finding(chart, len(points))
    return chart


def _part_labels(chart: LossChart) -> None:
    """Move the base's label away from the best single one's where the lines lie close: the chart is 285 pixels high."""
    if not chart.base or not chart.single:
        return
    gap = (chart.single[0] - chart.base[0]) * 2.85
    chart.base_dy = round(min(4, gap - 15)) if gap >= 0 else round(max(4, gap + 30))


def _limits(losses: Sequence[float], base: float | None) -> tuple[float, float]:
    """Frame what matters: up to a bit above the base, down to zero unless that would flatten the curve."""
    lowest = min(losses)
    high = min(max(losses), 1.6 * base) if base else max(losses)
    high = max(high, (base or 0) * 1.05, lowest * 1.1, 1e-6)
    step = _step(high)
    return (0.0 if lowest < 0.6 * high else math.floor(lowest * 0.9 / step) * step), math.ceil(high / step - 1e-9) * step


def _step(high: float) -> float:
    unit = 10 ** math.floor(math.log10(high))
    return next(unit * k for k in (0.1, 0.2, 0.5, 1, 2) if high / (unit * k) <= 6)


def _ticks(low: float, high: float, y: Any) -> list[tuple[float, str]]:
    step = _step(high)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    number = round((high - low) / step)
    return [(y(low + k * step), f"{low + k * step:.{max(digits, 1)}f}") for k in range(number + 1)]


def _marks(last: int, x: Any) -> list[tuple[float, str, str]]:
    step = next(k for k in (5, 10, 20, 50, 100, 200, 500, 1000) if last / k <= 6)
    inner = [n for n in range(step, last, step) if last - n > step / 3]
    return [(0.0, "1", "start"), *((x(n - 1), str(n), "middle") for n in inner), (100.0, str(last), "end")]


def _module(weights: Sequence[float], ids: Sequence[str]) -> str:
    used = [number for number, w in enumerate(weights) if w]
    return ids[used[0]] if len(used) == 1 and used[0] < len(ids) else ""


def _finding(chart: LossChart, count: int) -> str:
    parts = [f"Best loss so far {chart.best[2]:.2f} after {count} candidates" if chart.best else ""]
    if chart.base:
        parts.append(f"the base has {chart.base[1]:.2f}")
    if chart.single:
        parts.append(f"the best single adapter {chart.single[1]:.2f}")
    return ", ".join(part for part in parts if part)
