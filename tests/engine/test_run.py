"""Whole compositions, from spec to files, and the answers they give."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from compose_worker.engine import bank, examples, run, scoring
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.methods import cma
from compose_worker.engine.spec import Example
from tests.engine.conftest import Watcher, make_examples

FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md", "recipe.json")


def test_it_works(make_spec, three, taught):
    modules = three("llama")
    spec, watcher = make_spec("endless", modules, examples=taught(modules, [0.8, 0.6, 0.0], 48)), Watcher()
    result = run.compose(spec, watcher)
    assert result.verdict == "mix" and result.files == FILES
    assert sorted(p.name for p in Path(spec.out_dir).iterdir()) == sorted(FILES)
    assert set(result.weights) == {m.id for m in modules} and set(result.scores) == {"base", "best_single", "uniform", "composed"}
    assert result.scores["composed"].loss < result.scores["best_single"].loss < result.scores["base"].loss
    assert all(s.n == 48 and 0 <= s.low <= s.accuracy <= s.high <= 1 for s in result.scores.values())
    assert result.scores["best_single"].module == "acme/m1"
    assert "mix" in result.summary and result.summary.endswith(".")
    json.dumps(result.report)
    assert set(result.report["seconds"]) == {"loading", "modules", "search", "check", "export"}
    assert result.report["scored_on"]["composed"].startswith("examples held out")


@pytest.mark.parametrize("method", ["medley", "cma"])
def test_an_encoder_decoder_end_to_end(make_spec, three, load, base_paths, method):
    modules = three("t5")
    # Answers that the first module gives, so that there is something to find.
    base = load("t5")
    asked = make_examples(8)
    encoded = examples.encode(base, asked, "{input} Answer:", "{output}")
    rows = []
    with bank.load(base, modules).mixed(torch.tensor([1.0, 0.0, 0.0])), torch.inference_mode():
        for example, e in zip(asked, encoded, strict=True):
            logits = base.model(input_ids=torch.tensor([e.prompt]), decoder_input_ids=torch.tensor([[0]])).logits
            rows.append(Example(example.input, base.tokenizer.decode([5 + int(logits[0, -1, 5:].argmax())])))
    spec = make_spec("t5", modules, method, {"budget": 16}, examples=tuple(rows))
    result = run.compose(spec, Watcher())
    assert result.verdict in ("mix", "single") and result.scores["composed"].loss < result.scores["base"].loss
    config = json.loads((Path(spec.out_dir) / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_2_SEQ_LM"
    assert "text2text-generation" in (Path(spec.out_dir) / "README.md").read_text()
    PeftModel.from_pretrained(copy.deepcopy(base.model), spec.out_dir)
    scored = scoring.score_adapter(base_paths["t5"], spec.out_dir, rows, "cpu", "float32")
    bare = scoring.score_adapter(base_paths["t5"], None, rows, "cpu", "float32")
    assert scored.loss < bare.loss


@pytest.mark.parametrize("method", ["medley", "select"])
def test_random_modules_do_not_help(make_spec, three, taught, method):
    modules = three("llama")
    spec = make_spec("endless", modules, method, examples=taught(modules, [0.0, 0.0, 0.0]))  # what the base answers by itself
    result = run.compose(spec, Watcher())
    assert result.verdict == "nothing" and result.files == () and not any(result.weights.values())
    assert list(Path(spec.out_dir).iterdir()) == []
    assert result.summary.startswith("Nothing here helps")


@pytest.mark.parametrize("method", ["medley", "select"])
def test_one_perfect_module_is_the_answer(make_spec, adapters, taught, base_paths, method):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    asked = taught(modules, [0.0, 1.0, 0.0], 24)
    right = scoring.score_mix(base_paths["endless"], modules, [0.0, 1.0, 0.0], asked, "exact", "cpu", "float32").rows.exact
    result = run.compose(make_spec("endless", modules, method, examples=tuple(e for e, r in zip(asked, right, strict=True) if r)), Watcher())
    assert result.verdict == "single" and result.weights == {"acme/m1": 0.0, "acme/m2": 1.0, "acme/m3": 0.0}
    assert result.files == FILES and result.scores["composed"].module == "acme/m2"


@pytest.mark.parametrize("method", ["medley", "cma", "lorahub", "select"])
def test_a_single_module(make_spec, adapters, taught, method):
    module = adapters("llama", 1)
    result = run.compose(make_spec("endless", [module], method, examples=taught([module], [1.0])), Watcher())
    assert result.verdict in ("single", "mix") and list(result.weights) == ["acme/m1"]
    assert result.scores["composed"].loss <= result.scores["base"].loss


@pytest.mark.parametrize(("method", "given"), [("linear", {"weights": {"acme/m1": 1.0, "acme/m2": 0.0}}), ("cma", {"budget": 1, "bound": 1.0})])
def test_a_search_that_ends_with_one_module_as_it_is_calls_it_no_mix(make_spec, adapters, taught, monkeypatch, method, given):
    modules = [adapters("llama", 1), adapters("llama", 2)]
    monkeypatch.setattr(cma.blind, "minimise", lambda *args: losses(args[-1], (1.0, 0.0)))
    result = run.compose(make_spec("endless", modules, method, given, examples=taught(modules, [1.0, 0.0])), Watcher())
    assert result.verdict == "single" and "the adapter acme/m1 alone has loss" in result.summary and "mix" not in result.summary


def losses(measure, point):
    measure([point])
    return point


@pytest.mark.parametrize("method", ["medley", "cma", "lorahub", "select"])
def test_two_identical_modules(make_spec, adapters, taught, method):
    module = adapters("llama", 1)
    twin = replace(module, id="acme/twin")
    result = run.compose(make_spec("endless", [module, twin], method, examples=taught([module], [1.0])), Watcher())
    assert result.verdict in ("single", "mix") and set(result.weights) == {"acme/m1", "acme/twin"}


def test_what_examples_are_doubtful_for_is_in_the_report(make_spec, three, taught):
    modules = three("llama")
    pairs = taught(modules, [1.0, 0.0, 0.0], 5)
    result = run.compose(make_spec("endless", modules, "select", examples=[*pairs, pairs[1]]), Watcher())
    assert "Examples 2 and 6 are the same, which counts 2 times." in result.report["notes"]


def test_training_is_named_where_no_adapter_is_near(make_spec, adapters, taught):
    four = [adapters("llama", seed) for seed in (1, 2, 3, 4)]
    for weights, far in (([1.0, 1.0, -1.0, -1.0], True), ([0.7, 0.0, 0.6, -0.4], False), ([0.0, 1.0, 0.0, 0.0], False)):
        result = run.compose(make_spec("endless", four, "medley", {"budget": 60}, examples=taught(four, weights, 48)), Watcher())
        assert any("'medley+tune'" in note for note in result.report["notes"]) is far
        assert result.report["suggested_method"] == ("medley+tune" if far else None)
        losses = result.report["candidates"]
        assert (result.verdict == "mix" and losses["mix"] < run.FAR * losses["single"]) is far


def test_one_example_cannot_be_held_out(make_spec, three, taught):
    modules = three("llama")
    result = run.compose(make_spec("endless", modules, examples=taught(modules, [1.0, 0.0, 0.0], 1)), Watcher())
    assert result.verdict != "mix" and result.scores["composed"].n == 1
    assert "none could be held out" in result.report["notes"][0]
    assert result.report["folds"] == [] and "held out" not in result.report["scored_on"]["composed"]


def test_a_shortlist_keeps_the_best_alone(make_spec, adapters, taught):
    modules = [adapters("llama", seed) for seed in range(1, 7)]
    spec = make_spec("endless", modules, shortlist=2, examples=taught(modules, [0.0, 0.8, 0.0, 0.0, 0.5, 0.0]))
    watcher = Watcher()
    result = run.compose(spec, watcher)
    singles = result.report["singles"]
    kept = {name for name, row in singles.items() if row["kept"]}
    losses = {name: min(e.loss for e in watcher.evaluations if e.phase in ("single", "strength") and e.weights[i]) for i, name in enumerate(singles)}
    assert kept == set(sorted(losses, key=lambda name: losses[name])[:2])
    assert all(weight == 0.0 for name, weight in result.weights.items() if name not in kept)
    (uniform,) = [e for e in watcher.evaluations if e.phase == "uniform"]
    assert sorted(uniform.weights) == [0, 0, 0, 0, 0.5, 0.5]


def test_lorahub_with_a_shortlist_takes_modules_of_the_commonest_shape(make_spec, adapters, taught):
    modules = [adapters("llama", 1), adapters("llama", 9, r=8), adapters("llama", 2), adapters("llama", 3)]
    spec = make_spec("endless", modules, "lorahub", {"budget": 4}, shortlist=3, examples=taught(modules, [0.0, 1.0, 0.0, 0.0]))
    result = run.compose(spec, Watcher())
    assert [row["kept"] for row in result.report["singles"].values()] == [True, False, True, True]
    assert any(": 3 of the commonest kind took part, and 1 of another kind could not" in note for note in result.report["notes"])
    assert result.scores["best_single"].module == "acme/m9"  # which does best alone, whether it can be mixed or not


def test_in_sample_scores_say_so(make_spec, three, taught):
    modules = three("llama")
    result = run.compose(make_spec("endless", modules, "cma", {"budget": 5}, examples=taught(modules, [0.8, 0.6, 0.0])), Watcher())
    assert "fitted" in result.report["scored_on"]["composed"] and "fitted" in result.summary
    assert "picked on" in result.report["scored_on"]["best_single"]  # like is compared with like
    assert result.scores["best_single"].loss == min(row["loss"] for row in result.report["singles"].values())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": "alchemy"}, "unknown-method"),
        ({"settings": {"budget": 0}}, "setting-out-of-range"),
        ({"settings": {"colour": 1}}, "unknown-setting"),
        ({"modules": ()}, "modules-missing"),
        ({"examples": ()}, "examples-missing"),
        ({"examples": (Example("w1", ""),)}, "example-empty"),
        ({"base_path": "/nowhere"}, "base-model-unavailable"),
        ({"method": "lorahub", "settings": {}}, "modules-differ"),
    ],
)
def test_bad_input(make_spec, three, changes, code):
    spec = replace(make_spec("llama", three("llama")), **changes)
    with pytest.raises(ComposeError) as caught:
        run.compose(spec, Watcher())
    assert caught.value.code == code
    assert list(Path(spec.out_dir).iterdir()) == []


def test_the_same_module_twice(make_spec, adapters):
    with pytest.raises(ComposeError) as caught:
        run.compose(make_spec("llama", [adapters("llama", 1)] * 2), Watcher())
    assert caught.value.code == "module-twice"


def test_a_small_rank_is_noted(make_spec, three, taught):
    modules = three("llama")
    spec = make_spec("endless", modules, "cma", {"budget": 16, "max_rank": 1}, examples=taught(modules, [0.8, 0.6, 0.0]))
    result = run.compose(spec, Watcher())
    assert result.report["export"]["rank"] == 1
    assert any("rank" in note for note in result.report["notes"])
