"""Weights of every layer's own: mixed, differentiated, exported and read back as the same thing."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from compose_worker.engine import bank as banks
from compose_worker.engine import examples, export, run, scoring
from compose_worker.engine.evaluator import Evaluator
from compose_worker.engine.layout import Layout
from compose_worker.engine.spec import Module
from tests.engine.conftest import Watcher, make_examples


@pytest.fixture
def evaluator(make_spec, three, load):
    spec, base = make_spec("llama", three("llama")), load("llama")
    return Evaluator(spec, banks.load(base, spec.modules), examples.encode(base, spec.examples, spec.prompt, spec.target), Watcher())


def drawn(evaluator, seed=0):
    return np.random.default_rng(seed).normal(size=(len(evaluator.bank.stacks), 3)) * 0.7


def test_the_same_weights_on_every_layer_are_one_for_each_module(evaluator):
    weights = [0.7, -0.2, 0.4]
    layered = evaluator.measure("search", np.tile(weights, (len(evaluator.bank.stacks), 1)))
    assert layered.sums == pytest.approx(evaluator.measure("search", weights).sums, rel=1e-5)
    assert layered.weights == pytest.approx(weights)


def test_layers_are_told_apart(evaluator):
    weights = drawn(evaluator)
    assert evaluator.measure("search", weights).loss != pytest.approx(evaluator.measure("search", weights[::-1].copy()).loss, abs=1e-3)


def test_the_gradient_is_that_of_each_layer(evaluator):
    weights = drawn(evaluator)
    slope = np.array(evaluator.measure("search", weights, gradient=True).gradient).reshape(weights.shape)
    for layer, module in ((0, 0), (1, 2), (2, 1), (len(weights) - 1, 2)):
        step = np.zeros_like(weights)
        step[layer, module] = 1e-2
        change = evaluator.measure("search", weights + step).loss - evaluator.measure("search", weights - step).loss
        assert slope[layer, module] == pytest.approx(change / 2e-2, abs=2e-3)
    assert abs(slope).max() > 0.01


def test_one_weight_is_the_mean_over_the_layers_a_module_changes(evaluator):
    weights = drawn(evaluator)
    names = list(evaluator.bank.stacks)
    for index, adapter in enumerate(evaluator.bank.adapters):
        own = [weights[names.index(name), index] for name in adapter.parts]
        assert evaluator.bank.mean(weights)[index] == pytest.approx(np.mean(own))


def test_the_exported_adapter_is_the_mix(evaluator, base_paths, load, tmp_path):
    weights = drawn(evaluator)
    changes = export.exact(evaluator.bank.adapters, evaluator.bank.by_layer(weights))
    export.export(changes, Layout.of(load("llama"), "acme/tiny"), export.Options(max_rank=32, dtype="float32"), str(tmp_path))
    found = scoring.score_mix(base_paths["llama"], [Module("a/b", "", str(tmp_path))], [1.0], make_examples(), device="cpu", dtype="float32")
    assert found.rows.sums == pytest.approx(evaluator.measure("search", weights).sums, rel=1e-4)


def test_a_gradient_comes_back_from_the_history_bit_for_bit(evaluator, make_spec, three):
    weights = drawn(evaluator)
    first = evaluator.measure("fold", weights, (0, 1, 2), gradient=True)
    history = tuple(evaluator._observer.evaluations)
    json.dumps(history[0].detail)
    assert len(base64.b64decode(history[0].detail["gradient"])) == 4 * weights.size
    again = Evaluator(make_spec("llama", three("llama"), history=history), evaluator.bank, evaluator.encoded, Watcher())
    assert again.measure("fold", weights, (0, 1, 2), gradient=True) == first
    assert again._observer.evaluations == []


def test_a_recipe_names_the_weights_of_every_layer(make_spec, three, taught):
    modules = three("llama")
    spec = make_spec("endless", modules, "medley", {"budget": 40, "dtype": "float32"}, examples=taught(modules, [0.8, 0.6, 0.0], 48))
    result = run.compose(spec, Watcher())
    recipe = json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    layers = recipe["layer_weights"]
    assert result.verdict == "mix" and recipe["rebuilt_from"] == "parents"
    assert all(len(there) == 3 for there in layers.values()) and len({tuple(there) for there in layers.values()}) > 1
    first = [there[0] for name, there in layers.items() if name.endswith(("q_proj", "v_proj"))]
    assert np.mean(first) == pytest.approx(recipe["parents"][0]["weight"])
    assert torch.isfinite(torch.tensor(list(layers.values()))).all()
