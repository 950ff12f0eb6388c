"""The geometry of the charts."""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.web import charts

WEIGHT = st.floats(-10, 10)
LOSS = st.floats(0.0001, 50)


@dataclass
class Measured:
    """An evaluation as the database has it."""

    phase: str
    loss: float
    weights: list[float] = field(default_factory=lambda: [1.0, 0.0])
    rows: Any = None


def history(*rows: tuple[str, float]) -> list[Measured]:
    return [Measured(phase, loss) for phase, loss in rows]


def test_a_mix_bar() -> None:
    bars = charts.mix_bar([0.34, -0.12, 0.91, 0.0])
    assert [bar.kind for bar in bars] == ["f1", "f2", "takes"]
    assert bars[0].x == 0 and bars[0].width > bars[1].width > bars[2].width


@given(st.lists(WEIGHT, max_size=40))
def test_a_mix_bar_fills_its_box(weights: list[float]) -> None:
    bars = charts.mix_bar(weights)
    assert bool(bars) == any(weights) and len(bars) <= charts.STRANDS + 1
    if bars:
        assert abs(bars[-1].x + bars[-1].width - charts.MIX_WIDTH) < 1 and all(bar.width >= 2 for bar in bars)
        assert all(right.x - left.x - left.width > 1.5 for left, right in pairwise(bars))


def test_weight_bars() -> None:
    bars, left = charts.weight_bars({"a/x": 0.5, "a/y": -1.0, "a/z": 0.0})
    assert [(bar.id, bar.x, bar.width) for bar in bars] == [("a/y", 4.0, 46.0), ("a/x", 50, 23.0)] and left == 1
    assert charts.weight_bars({"a/x": 0.0}) == ([], 1)
    assert len(charts.weight_bars({f"a/{n}": 1.0 for n in range(60)})[0]) == 14


@given(st.dictionaries(st.text(max_size=5), WEIGHT, max_size=30))
def test_weight_bars_stay_inside(weights: dict[str, float]) -> None:
    bars, left = charts.weight_bars(weights)
    assert len(bars) + left == len(weights)
    assert all(bar.x >= 0 and bar.x + bar.width <= 100 for bar in bars)


def test_scores() -> None:
    rows = charts.score_rows({"composed": {"accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 8, "loss": 1.0}, "base": {"accuracy": 0.0, "n": 8}})
    assert [(row.key, row.right, row.x, row.x1, row.x2) for row in rows] == [("base", 0, 0, 0, 0), ("composed", 4, 50, 25, 75)]
    assert charts.score_rows(None) == charts.score_rows({}) == [] and charts.triple({}) == {}


def test_adapters_alone() -> None:
    report = {"singles": {"a/x": {"loss": 2.0, "kept": False}, "a/y": {"loss": 1.0, "accuracy": 0.5, "kept": True}, "a/z": {"loss": float("inf")}}}
    assert [(row.id, row.width, row.kept) for row in charts.alone(report)] == [("a/y", 50.0, True), ("a/x", 100.0, False)]
    assert charts.alone({}) == []


def test_what_each_adapter_does() -> None:
    report = {
        "attribution": {"a/x": {"without_loss": 0.5, "effect": 0.1}, "a/y": {"without_loss": 0.6, "effect": 0.2}, "a/z": {"without_loss": 0.3, "effect": -0.1}}
    }
    assert [(row.id, row.without_loss, row.width) for row in charts.parts(report)] == [("a/y", 0.6, 100.0), ("a/x", 0.5, 50.0), ("a/z", 0.3, 0.0)]
    assert {round(row.whole_loss, 9) for row in charts.parts(report)} == {0.4}
    assert charts.parts({}) == []


def test_a_loss_chart() -> None:
    rows = history(("base", 2.31), ("single", 0.94), ("single", 9.0), ("uniform", 1.9), ("search", 0.5), ("search", 0.7))
    chart = charts.loss_chart(rows, ["a/x", "a/y"])
    assert chart is not None and len(chart.dots) == 6 and chart.off == 1
    assert chart.base[1] == 2.31 and chart.single[1:] == (0.94, "a/x") and chart.best[2] == 0.5
    assert chart.best[1] > chart.single[0] > chart.base[0], "lower losses lie lower"
    assert "0.50 after 6 candidates" in chart.finding and "base has 2.31" in chart.finding and "0.94" in chart.finding


@pytest.mark.parametrize(("best", "low"), [(0.05, True), (0.9, False)])
def test_the_label_of_the_best_has_room_below_the_chart(best: float, low: bool) -> None:
    chart = charts.loss_chart(history(("base", 2.0), *[("search", 1.5)] * 8, ("search", best)), ["a/x"])
    assert chart is not None and chart.best_on_left and chart.best_is_low is low


def test_measurements_on_a_part_of_the_examples_are_left_out() -> None:
    rows = [*history(("base", 2.0), ("search", 1.0)), Measured("fold", 0.1, rows=[0, 1]), Measured("single", 0.2, rows=[3])]
    chart = charts.loss_chart(rows, ["a/x"])
    assert chart is not None and len(chart.dots) == 2 and chart.best[2] == 1.0 and chart.single is None


def test_what_a_shortlist_was_made_from_is_no_candidate() -> None:
    chart = charts.loss_chart([Measured("shortlist", 0.0, weights=[]), *history(("base", 2.0), ("single", 1.0))], ["a/x", "a/y"])
    assert chart is not None and len(chart.dots) == 2 and chart.best[2] == 1.0


def test_no_chart_without_measurements() -> None:
    assert charts.loss_chart([], []) is None
    assert charts.loss_chart([Measured("fold", 1.0, rows=[0])], []) is None
    assert charts.loss_chart([Measured("search", float("inf")), Measured("search", float("nan"))], []) is None


@given(st.lists(st.tuples(st.sampled_from(["base", "single", "uniform", "search"]), LOSS), min_size=1, max_size=60))
def test_a_loss_chart_stays_inside(rows: list[tuple[str, float]]) -> None:
    chart = charts.loss_chart(history(*rows), ["a/x", "a/y"])
    assert chart is not None and chart.best is not None
    assert all(0 <= dot.x <= 100 and 0 <= dot.y <= 100 for dot in chart.dots) and len(chart.dots) == len(rows)
    assert all(-1 <= y <= 101 for y, _ in chart.ticks) and 2 <= len(chart.ticks) <= 14
    assert chart.best[2] == min(loss for _, loss in rows)
    line = [float(y) for _, y in re.findall(r"[ML](\S+?) ([\d.]+)", chart.line)]
    assert line == sorted(line), "the best so far never gets worse"


@pytest.mark.parametrize("losses", [(2.0, 1.99), (2.0, 1.0), (1.0, 1.1), (1.0, 1.01), (1.0, 1.0)])
def test_the_labels_of_base_and_single_do_not_meet(losses: tuple[float, float]) -> None:
    chart = charts.loss_chart(history(("base", losses[0]), ("single", losses[1])), ["a/x"])
    base, single = chart.base[0] * 2.85 + chart.base_dy, chart.single[0] * 2.85
    assert base <= single - 14 or base >= single + 29


@given(st.lists(WEIGHT, max_size=50))
def test_strands_start_and_end_inside(weights: list[float]) -> None:
    found = charts.strands(weights)
    assert len(found) == len(weights)
    for strand, weight in zip(found, weights, strict=True):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", strand.path + strand.narrow)]
        assert all(0 <= number <= 100 for number in numbers) and 2 <= strand.width <= 10 and strand.adds == (weight >= 0)
