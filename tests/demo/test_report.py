"""What the demo says about a composition is what the scores say."""

import io

from demo import report, terminal


def score(accuracy, low, high, loss, n=100):
    return {"accuracy": accuracy, "low": low, "high": high, "loss": loss, "n": n, "module": None}


BASE, SINGLE = score(0.0, 0.0, 0.04, 2.5), score(0.30, 0.22, 0.40, 0.9)


def test_a_clear_gain_is_told_without_doubt():
    text = report.verdict({"base": BASE, "best_single": SINGLE, "composed": score(0.6, 0.5, 0.69, 0.5)}, "a/b")
    assert text == (
        "Against the base model the composed adapter is 60.0 points more accurate and its loss is 2.000 lower. "
        "Against the best single adapter (a/b) the composed adapter is 30.0 points more accurate and its loss is 0.400 lower."
    )


def test_a_loss_within_chance_is_told_as_both():
    text = report.verdict({"base": BASE, "best_single": SINGLE, "composed": score(0.28, 0.2, 0.37, 0.95)}, "a/b")
    assert "2.0 points less accurate and its loss is 0.050 higher. On 100 rows the intervals overlap, so this difference in accuracy may be chance." in text


def test_the_same_adapter_is_told_as_the_same():
    assert report.verdict({"base": BASE, "best_single": SINGLE, "composed": SINGLE}, "a/b").endswith(
        "It does exactly as well as the best single adapter (a/b)."
    )


def test_nothing_published_is_told():
    assert "nothing was published" in report.verdict({"base": BASE, "best_single": SINGLE}, "a/b")


def test_the_table_has_a_line_for_each_candidate():
    lines = report.score_table({"base": BASE, "best_single": SINGLE}, {"base": "Base model", "best_single": "Best", "lorahub": "LoraHub"}).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["Base", "model", "0.0%", "0%", "to", "4%", "2.500"],
        ["Best", "30.0%", "22%", "to", "40%", "0.900"],
        ["LoraHub", "nothing", "published"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_weights_are_sorted_by_size_and_signed():
    lines = report.weight_table({"a/small": 0.01, "b/minus": -0.9, "c/plus": 0.5}).splitlines()
    assert [line.split() for line in lines[2:]] == [["b/minus", "-0.900"], ["c/plus", "+0.500"], ["a/small", "+0.010"]]


def test_adapters_without_weight_are_named_apart():
    assert report.weight_table({"a/one": 1.0, "b/two": 0.0, "c/three": 0.0}).splitlines()[2:] == ["a/one    +1.000", "Tried and left out: b/two, c/three."]


def test_progress_updates_one_line_on_a_terminal():
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    shown = terminal.Terminal(2, screen)
    shown.progress("long progress")
    shown.progress("short")
    shown.step("Next")
    assert screen.getvalue() == "\rlong progress\rshort        \n\n[1/2] Next\n"


def test_progress_is_plain_lines_on_a_pipe():
    pipe = io.StringIO()
    shown = terminal.Terminal(1, pipe, every=1000)
    shown.progress("one")
    shown.progress("two")
    assert pipe.getvalue() == "one\n"


def test_a_bar_fills():
    assert [terminal.bar(done, 4, 4) for done in (0, 1, 4, 9)] == ["[----] 0/4", "[#---] 1/4", "[####] 4/4", "[####] 9/4"]
    assert terminal.bar(0, 0, 4) == "[----] 0/0"
