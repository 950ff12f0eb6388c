"""Composing by given weights: without examples and without a base model, and scored where there are examples."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from compose_worker.engine import export, merge, run
from compose_worker.engine.errors import ComposeError
from tests.engine.conftest import Watcher, make_examples
from tests.engine.test_bank import close, logits, mixed, through_peft
from tests.engine.test_export import as_module

FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md", "recipe.json")


@pytest.mark.parametrize("method", merge.RULES)
def test_it_works_without_examples_and_without_a_base_model(make_spec, three, method):
    watcher = Watcher()
    spec = make_spec("llama", three("llama"), method, {"max_rank": 64}, examples=(), base_path="")
    result = run.compose(spec, watcher)
    assert (result.verdict, result.scores, result.files) == ("mix", {}, FILES) and watcher.evaluations == [] and watcher.total == 0
    assert set(result.weights.values()) == ({1 / 3} if merge.RULES[method].mean else {1.0})
    assert "Nothing was measured" in result.summary and result.summary.startswith("3 adapters were")
    json.dumps(result.report)
    recipe = json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    assert recipe["examples"]["count"] == 0 and recipe["rebuilt_from"] == "parents"
    readme = (Path(spec.out_dir) / "README.md").read_text()
    assert "## How well it does" not in readme and "## Parents" in readme and "0 examples" not in readme


def test_linear_gives_the_answers_of_the_weighted_mix(make_spec, three, kind, load):
    chosen = three(kind)
    weights = {chosen[0].id: 0.7, chosen[2].id: -0.4}
    spec = make_spec(kind, chosen, "linear", {"weights": weights, "max_rank": 64, "dtype": "float32"}, examples=(), base_path="")
    result = run.compose(spec, Watcher())
    assert result.weights == {chosen[0].id: 0.7, chosen[1].id: pytest.approx(1 / 3), chosen[2].id: -0.4}
    base = load(kind)
    assert close(logits(through_peft(base, as_module(spec.out_dir))), mixed(base, chosen, list(result.weights.values())))


def test_with_examples_the_result_is_scored_and_published_as_it_is(make_spec, three, taught):
    chosen = three("llama")
    rows = taught(chosen, [0.0, 0.0, 0.0])  # the base is best, and yet the merge is what was asked for
    spec, watcher = make_spec("endless", chosen, "ties", {"max_rank": 64, "dtype": "float32"}, examples=rows), Watcher()
    result = run.compose(spec, watcher)
    assert result.verdict == "mix" and result.files == FILES and len(watcher.evaluations) <= watcher.total
    assert set(result.scores) == {"base", "best_single", "uniform", "composed"}
    assert result.scores["composed"].loss > result.scores["base"].loss
    assert result.report["scored_on"]["composed"].startswith("all examples; nothing was learned")
    assert "fitted" not in result.summary and not any("searches" in note for note in result.report["notes"])
    bare = make_spec("endless", chosen, "ties", {"max_rank": 64, "dtype": "float32"}, examples=(), base_path="")
    run.compose(bare, Watcher())
    ours, theirs = ((Path(s.out_dir) / "adapter_model.safetensors").read_bytes() for s in (spec, bare))
    assert ours == theirs  # examples change what is known of it, not what it is


def test_one_adapter_as_it_is(make_spec, adapters):
    spec = make_spec("llama", [adapters("llama", 1)], "linear", {}, examples=(), base_path="")
    result = run.compose(spec, Watcher())
    assert result.verdict == "single" and result.summary.startswith("One adapter was")


@pytest.mark.parametrize("count", [0, 8])
@pytest.mark.parametrize(
    ("weights", "code"),
    [({"acme/m1": 0.0, "acme/m2": 0.0, "acme/m3": 0.0}, "weights-zero"), ({"acme/other": 1.0}, "setting-invalid")],
)
def test_bad_weights(make_spec, three, taught, weights, code, count):
    chosen = three("llama")
    with pytest.raises(ComposeError) as caught:
        run.compose(make_spec("endless", chosen, "linear", {"weights": weights}, examples=taught(chosen, [1.0, 0.0, 0.0], count)), Watcher())
    assert caught.value.code == code


@pytest.mark.parametrize("count", [0, 8])
def test_weights_that_cancel(make_spec, adapters, taught, count):
    one = adapters("llama", 1)
    chosen = [one, replace(one, id="acme/copy")]
    rows = taught(chosen, [1.0, 0.0], count)
    with pytest.raises(ComposeError, match="cancel each other out") as caught:
        run.compose(make_spec("endless", chosen, "linear", {"weights": {"acme/m1": 1.0, "acme/copy": -1.0}}, examples=rows), Watcher())
    assert caught.value.code == "change-zero"


def test_the_shares_are_told_with_examples_and_without(make_spec, adapters, taught):
    chosen = [adapters("llama", seed) for seed in (1, 2)]
    weights = {"acme/m1": 0.1, "acme/m2": 2.0}
    for rows in ((), taught(chosen, [1.0, 0.0], 8)):
        report = run.compose(make_spec("endless", chosen, "linear", {"weights": weights}, examples=rows), Watcher()).report
        assert report["spectrum"]["modules"]["acme/m2"] > 0.9 and any("acme/m2 makes up" in note for note in report["notes"])


def test_methods_that_learn_still_need_examples(make_spec, three):
    with pytest.raises(ComposeError) as caught:
        run.compose(make_spec("llama", three("llama"), "medley", examples=()), Watcher())
    assert caught.value.code == "examples-missing"


@pytest.mark.parametrize("examples", [(), make_examples()])
@pytest.mark.parametrize("place", ["merge", "export"])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)"),
    ],
)
def test_no_memory_for_the_merge_is_said(make_spec, three, monkeypatch, examples, place, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(*((merge, "approximate") if place == "merge" else (export, "compress")), fail)
    with pytest.raises(ComposeError, match="memory is too small") as caught:
        run.compose(make_spec("llama", three("llama"), "ties", examples=examples), Watcher())
    assert caught.value.code == "out-of-memory"


@pytest.mark.parametrize("examples", [(), make_examples()])
def test_one_adapter_as_it_is_is_single_with_examples_and_without(make_spec, three, examples):
    chosen = three("llama")
    spec = make_spec("llama", chosen, "linear", {"weights": {chosen[0].id: 1.0, chosen[1].id: 0.0, chosen[2].id: 0.0}}, examples=examples)
    assert run.compose(spec, Watcher()).verdict == "single"
    readme = (Path(spec.out_dir) / "README.md").read_text()
    assert "2 more adapters got no weight." in readme and "took part in the search" not in readme
