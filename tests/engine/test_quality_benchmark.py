"""The quality benchmark: it runs every method, goes on where it stopped, withholds a task's own module, and its table says what its lines say."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import noise, quality, quality_report, rivals
from compose_worker.engine import scoring
from compose_worker.engine.spec import Example
from tests.engine.conftest import make_examples

METHODS = "base,in-context,best single,uniform,peft linear,peft svd,lorahub,medley"


@pytest.fixture
def arguments(base_paths, adapters, tmp_path):
    for number, task in enumerate(("first", "second")):
        folder = tmp_path / "tasks" / task
        folder.mkdir(parents=True)
        for part, count in (("train", 12), ("test", 9)):
            rows = [{"input": e.input, "output": e.output} for e in make_examples(count, seed=number)]
            (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for seed, name in enumerate(("acme/a", "acme/first", "acme/c")):
        shutil.copytree(adapters("llama", seed + 1).path, tmp_path / "modules" / name)

    def make(methods=METHODS, **changes):
        options = {"base": base_paths["llama"], "tasks": tmp_path / "tasks", "modules": tmp_path / "modules", "shots": "5", "seeds": "2", "budget": "10"}
        options |= {"results": tmp_path / "results.jsonl", "table": tmp_path / "out" / "quality.md", "methods": methods, **changes}
        return [part for name, value in options.items() for part in (f"--{name}", str(value))]

    return make


def test_it_measures_every_cell_once_and_writes_table_and_plot(arguments, tmp_path):
    quality.main(arguments("base,best single"))
    quality.main(arguments())
    lines = quality.read(tmp_path / "results.jsonl")
    keys = [(line["task"], line["seed"], line["method"]) for line in lines]
    assert len(keys) == len(set(keys)) == 2 * 2 * len(METHODS.split(","))
    table = (tmp_path / "out" / "quality.md").read_text()
    assert all(f"| {method} |" in table for method in METHODS.split(","))
    assert (tmp_path / "out" / "quality.svg").read_text().startswith("<svg")


def test_the_same_cell_gives_the_same_line(arguments, tmp_path):
    quality.main(arguments("lorahub,medley", results=tmp_path / "one.jsonl", seeds=1))
    quality.main(arguments("medley,lorahub", results=tmp_path / "two.jsonl", seeds=1))

    def known(name):
        return {quality._key(line): line["sums"] for line in quality.read(tmp_path / name)}

    assert known("one.jsonl") == known("two.jsonl")


def test_a_tasks_own_module_is_withheld(arguments):
    known = {cell.task: [Path(m.path).name for m in cell.modules] for cell in quality.cells(quality._options(arguments()))}
    assert known == {"first": ["a", "c"], "second": ["a", "c", "first"]}


def test_noise_has_the_shapes_and_sizes_of_the_modules(arguments, tmp_path):
    arguments()
    noise.main([str(tmp_path / "modules"), str(tmp_path / "noise")])
    pairs = list(zip(quality.modules(tmp_path / "modules"), quality.modules(tmp_path / "noise"), strict=True))
    assert [module.id for _, module in pairs] == ["noise-00", "noise-01", "noise-02"]
    for real, drawn in pairs:
        assert (Path(real.path) / "adapter_config.json").read_text() == (Path(drawn.path) / "adapter_config.json").read_text()
        before, after = (load_file(Path(module.path) / "adapter_model.safetensors") for module in (real, drawn))
        assert {name: tensor.shape for name, tensor in before.items()} == {name: tensor.shape for name, tensor in after.items()}
        for name, tensor in before.items():
            assert not torch.equal(tensor, after[name])
            assert float(after[name].std()) == pytest.approx(float(tensor.std()), rel=0.5, abs=1e-6)


def test_a_line_that_was_cut_off_is_measured_again(arguments, tmp_path):
    (tmp_path / "results.jsonl").write_text('{"task": "first", "sh')
    quality.main(arguments("base"))
    assert len(quality.read(tmp_path / "results.jsonl")) == 4


def test_time_that_is_over_leaves_the_rest_for_the_next_run(arguments, tmp_path):
    quality.main(arguments("base", minutes=0))
    assert quality.read(tmp_path / "results.jsonl") == []
    quality.main(arguments("base"))
    assert len(quality.read(tmp_path / "results.jsonl")) == 4


def lines(right):
    """Lines of made-up cells: `right[method]` is one string of hits for each seed."""
    return [
        {"task": "t", "shots": 5, "seed": seed, "method": method, "exact": hits, "loss": 1.0, "spent": 3}
        for method, found in right.items()
        for seed, hits in enumerate(found)
    ]


def test_the_table_compares_on_the_same_cells():
    found = quality_report.grid(lines({"base": ["0011", "0001"], "medley": ["0111"]}), ["base", "medley"], 5)
    assert found.accuracy().tolist() == [[0.5], [0.75]]
    assert quality_report.grid(lines({"base": ["0"], "medley": []}), ["base", "medley"], 5) is None


def test_a_method_that_was_measured_less_is_compared_where_it_was():
    measured = {"base": ["00", "00"], "best single": ["01", "01"], "medley": ["01", "11"], "tune": ["00"]}
    most, fewer = quality_report.grids(lines(measured), list(measured))
    assert (most.methods, most.accuracy().tolist()) == (("base", "best single", "medley"), [[0.0], [0.5], [0.75]])
    assert (fewer.methods, fewer.accuracy().tolist()) == (("base", "best single", "medley", "tune"), [[0.0], [0.5], [0.5], [0.0]])


def test_a_run_that_was_interrupted_gets_no_table_for_what_it_began():
    begun = {"base": ["00", "00"], "best single": ["01"], "medley": ["01"]}
    assert [found.accuracy().tolist() for found in quality_report.grids(lines(begun), list(begun))] == [[[0.0], [0.5], [0.5]]]


def test_worse_means_significantly_worse():
    much = quality_report.grid(lines({"a": ["1" * 40], "b": ["1" * 20 + "0" * 20], "c": ["1" * 39 + "0"]}), ["a", "b", "c"], 5)
    assert quality_report.worse(much, 1, 0) == ["t"]
    assert quality_report.worse(much, 2, 0) == quality_report.worse(much, 0, 1) == []
    assert [quality_report._below(much, method, 0) for method in (0, 1, 2)] == ["none", "1, significantly t", "1, significantly none"]


def test_intervals_hold_the_mean():
    found = quality_report.grid(lines({"a": ["0101" * 20, "0111" * 20], "b": ["0001" * 20, "0000" * 20]}), ["a", "b"], 5)
    low, high = np.percentile(quality_report.resampled(found), [2.5, 97.5], axis=0)
    mean = found.accuracy().mean(axis=1)
    assert (low < mean).all() and (mean < high).all()
    assert low[0] > high[1]


def test_in_context_learning_is_the_base_model_on_the_whole_text(base_paths):
    shown, held_out = make_examples(3, seed=1), make_examples(5, seed=2)
    lab = rivals.Lab(base_paths["llama"], 10)
    found = rivals.run(lab, rivals.Cell("t", 3, 0, (), shown, held_out), "in-context")
    before = "".join(f"{e.input}\nAnswer: {e.output}\n\n" for e in shown)
    whole = [Example(before + e.input, e.output) for e in held_out]
    assert found.rows.sums == pytest.approx(scoring.score_mix(base_paths["llama"], [], [], whole).rows.sums, rel=1e-4)


def test_what_all_rows_say_is_significant():
    grid = quality_report.Grid(5, ("a", "b"), {"t": np.stack([np.zeros((1, 20)), np.ones((1, 20))])}, {"t": np.zeros((2, 1))}, {"a": 1.0, "b": 1.0})
    assert quality_report.worse(grid, 0, 1) == ["t"] and quality_report.worse(grid, 1, 0) == []
    few = quality_report.Grid(5, ("a", "b"), {"t": np.stack([np.zeros((1, 5)), np.ones((1, 5))])}, {"t": np.zeros((2, 1))}, {"a": 1.0, "b": 1.0})
    assert quality_report.worse(few, 0, 1) == []


def test_lorahub_spends_what_its_search_took(arguments, tmp_path):
    quality.main(arguments("lorahub", seeds=1))
    lines = quality.read(tmp_path / "results.jsonl")
    assert {line["task"]: line["spent"] for line in lines} == {"first": 2 + 2 + 10, "second": 3 + 2 + 10}  # a task's own module is withheld


@pytest.mark.parametrize("change", [{"rows": 3}, {"budget": 11}, {"modules": "fewer"}, {"base": "gpt2"}])
def test_measurements_of_another_run_are_not_taken(arguments, base_paths, tmp_path, change):
    quality.main(arguments("base", seeds=1))
    if "modules" in change:
        shutil.copytree(tmp_path / "modules" / "acme" / "a", tmp_path / "fewer" / "a")
        change = {"modules": tmp_path / "fewer"}
    if "base" in change:
        change = {"base": base_paths["gpt2"]}
    with pytest.raises(SystemExit, match=f"made with other {next(iter(change))}"):
        quality.main(arguments("base", seeds=1, **change))
    quality.main(arguments("base", seeds=1, minutes=0, **change))  # a table of them is


@pytest.mark.parametrize(
    "change",
    [
        {"only": "frist"}, {"only": "first,secnod"}, {"methods": "base,medly"}, {"methods": "linear"}, {"base": "none"}, {"tasks": "none"},
        {"modules": "none"}, {"shots": "0"}, {"shots": "5,x"}, {"rows": 0}, {"budget": 0}, {"table": "x.svg"},
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_measured(arguments, tmp_path, change, capsys):
    with pytest.raises(SystemExit) as caught:
        quality.main(arguments(**{"methods": "base", **change}))
    assert caught.value.code == 2 and "error: " in capsys.readouterr().err
    assert not (tmp_path / "results.jsonl").exists()


def test_a_task_with_too_few_rows_is_left_out(arguments, tmp_path, capsys):
    lines = (tmp_path / "tasks" / "first" / "train.jsonl").read_text().split("\n")
    (tmp_path / "tasks" / "first" / "train.jsonl").write_text("\n\n".join(lines[:4]) + "\n")
    quality.main(arguments("base", seeds=1))
    assert {line["task"] for line in quality.read(tmp_path / "results.jsonl")} == {"second"}
    assert "first has 4 rows to draw from and 9 to hold out" in capsys.readouterr().out


def test_lines_of_tasks(arguments, tmp_path):
    file = tmp_path / "tasks" / "first" / "train.jsonl"
    file.write_text(json.dumps({"input": "a\u2028b", "output": "c"}, ensure_ascii=False) + "\n\n")
    assert quality._rows(file) == [Example("a\u2028b", "c")]
    file.write_text('{"input": "a", "output": "b"}\n{"input": 1\n')
    with pytest.raises(SystemExit, match=r"Line 2 of .*train.jsonl"):
        quality._rows(file)
