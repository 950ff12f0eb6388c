"""The spectrum of a result: effective ranks, shares and the warning when one adapter is nearly all of it."""

import math

import pytest
import torch

from compose_worker.engine import bank, run, spectrum
from tests.engine.conftest import Watcher
from tests.engine.test_merge import truth


def values(**layers):
    return {name.replace("_", "."): torch.tensor(v, dtype=torch.float64) for name, v in layers.items()}


def test_effective_rank_and_top_share():
    found = spectrum.summary(values(a_q=[2.0, 2.0, 2.0, 2.0], b_q=[3.0, 0.0], a_v=[4.0, 3.0]), {})
    assert found["by_layer"]["a.q"] == {"effective_rank": 4.0, "top_share": 0.25, "energy": 16.0}
    assert found["by_layer"]["b.q"] == {"effective_rank": 1.0, "top_share": 1.0, "energy": 9.0}
    spread = [16 / 25, 9 / 25]
    rank = math.exp(-sum(p * math.log(p) for p in spread))
    assert found["by_target"]["v"] == {"effective_rank": pytest.approx(rank, abs=1e-3), "top_share": 0.64, "energy_share": 0.5}
    assert found["by_target"]["q"] == {"effective_rank": 2.5, "top_share": 0.625, "energy_share": 0.5}
    assert found["effective_rank"] == pytest.approx((4 + 1 + rank) / 3, abs=1e-3)


def test_nothing_has_no_rank():
    found = spectrum.summary(values(a_q=[0.0, 0.0]), {})
    assert found["effective_rank"] == 0.0 and found["by_layer"]["a.q"]["top_share"] == 0.0


def test_shares_are_of_the_true_changes(load, three):
    chosen, weights = three("llama"), [0.7, -0.4, 0.2]
    found = spectrum.shares(bank.load(load("llama"), chosen).adapters, weights)
    sizes = [weight**2 * sum(float(m.square().sum()) for m in truth(module).values()) for module, weight in zip(chosen, weights, strict=True)]
    assert list(found.values()) == pytest.approx([size / sum(sizes) for size in sizes])


def test_a_dominant_module_is_said():
    found = {"modules": {"acme/a": 0.95, "acme/b": 0.05}}
    assert spectrum.notes(1.0, found) == ["One adapter dominates: acme/a makes up 95% of the mix's squared size."]
    assert spectrum.notes(1.0, {"modules": {"acme/a": 0.6, "acme/b": 0.4}}) == [] == spectrum.notes(1.0, {"modules": {"acme/a": 1.0}})
    assert "12.0%" in spectrum.notes(0.88, {"modules": {}})[0]


def test_it_is_in_the_report(make_spec, three, taught):
    chosen = three("llama")
    result = run.compose(make_spec("endless", chosen, "cma", {"budget": 8}, examples=taught(chosen, [0.8, 0.6, 0.0])), Watcher())
    found = result.report["spectrum"]
    assert sum(found["modules"].values()) == pytest.approx(1.0, abs=1e-3) and set(found["modules"]) == {m for m, w in result.weights.items() if w}
    assert sum(row["energy_share"] for row in found["by_target"].values()) == pytest.approx(1.0, abs=1e-3)
    assert result.report["forgetting"]["kl"] > 0 and result.report["seconds"]["export"] > 0


def test_a_sum_of_factors_has_no_shares(make_spec, adapters, taught):
    """It holds products of one module's A with another's B, which belong to neither."""
    chosen = [adapters("llama", seed) for seed in (1, 2, 3)]
    examples = taught(chosen, [0.8, 0.6, 0.0])
    result = run.compose(make_spec("endless", chosen, "lorahub", {"budget": 20}, examples=examples), Watcher())
    assert result.verdict == "mix" and result.report["space"] == "lorahub"
    assert result.report["spectrum"]["modules"] == {} and not any("dominates" in note for note in result.report["notes"])
