"""Adapters of finite numbers that are too large: predictions overflow, and nothing that cannot be compared gets into a decision or a history."""

import json
import math
from dataclasses import replace

import pytest
import torch

from compose_worker.engine import bank, catalogue, examples, run, shortlist
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.evaluator import Evaluator
from tests.engine.conftest import Watcher, grown, make_examples
from tests.engine.test_resume import through_json


@pytest.fixture
def huge(adapters, tmp_path):
    """An adapter whose numbers are finite, and whose products are not."""
    return grown(adapters("llama", 9), tmp_path / "huge", 1e25)


@pytest.mark.parametrize("method", ["medley", "select", "cma", "linear"])
@pytest.mark.parametrize("first", [True, False])
def test_a_named_one_is_refused_wherever_it_stands(make_spec, adapters, huge, method, first):
    good = adapters("llama", 1)
    settings = {"budget": 8} if method in ("medley", "cma") else {}
    watcher = Watcher()
    with pytest.raises(ComposeError, match="acme/huge") as caught:
        run.compose(make_spec("llama", [huge, good] if first else [good, huge], method, settings), watcher)
    assert caught.value.code == "module-not-finite" and "too large" in caught.value.message
    assert all(math.isfinite(e.loss) and all(map(math.isfinite, e.detail["sums"])) for e in watcher.evaluations)
    through_json(watcher.evaluations)


@pytest.mark.parametrize("tried", [4, 50])
@pytest.mark.parametrize("place", [0, 8])
def test_one_that_was_found_is_left_out_and_named(make_spec, adapters, taught, huge, monkeypatch, tried, place):
    monkeypatch.setattr(catalogue, "TRIED", tried)
    good = [adapters("llama", seed) for seed in range(1, 9)]
    rows = taught(good, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    catalogued = [*good[:place], huge, *good[place:]]
    for seed in range(4):  # with some it is among those whose mean the slopes are taken at
        spec = replace(make_spec("endless", catalogued, "cma", {"budget": 6, "shortlist": 2}, examples=rows, shortlist=2), seed=seed)
        result = run.compose(spec, Watcher())
        assert result.weights["acme/m6"] > 0.2 and not result.weights.get("acme/huge") and result.verdict in ("single", "mix")
        json.dumps(result.report, allow_nan=False)
        if "acme/huge" in result.report["shortlist"]["tried"]:
            assert any("acme/huge" in note for note in result.report["notes"])


def test_slopes_are_those_of_the_bare_model_where_the_mean_overflows(load, adapters, huge):
    base, encoded = load("llama"), examples.encode(load("llama"), make_examples(4), "{input} Answer:", "{output}")
    fine, _ = shortlist.readable(base, [adapters("llama", 1), huge, adapters("llama", 2)])
    ranked = shortlist.rank(base, encoded, fine, 0)
    assert all(map(math.isfinite, ranked.effects.values())) and ranked.loss < examples.OVERFLOW
    assert {0, 2} <= set(ranked.effects)


def test_a_mix_that_overflows_is_worse_than_any_other(load, make_spec, adapters):
    one, other = adapters("llama", 1), adapters("llama", 2)
    base = load("llama")
    spec = make_spec("llama", [one, other])
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    evaluator = Evaluator(spec, bank.load(base, spec.modules), encoded, Watcher())
    spoilt, fine = evaluator.measure_many("search", [[1e39, 0.0], [0.5, 0.5]])
    assert spoilt.loss == pytest.approx(examples.OVERFLOW) and not any(spoilt.exact) and fine.loss < 100
    sloped = evaluator.measure("fold", [1e39, 0.0], [0, 1], gradient=True)
    assert sloped.gradient is not None and all(map(math.isfinite, sloped.gradient))


def test_a_merge_without_examples_says_so(make_spec, adapters, tmp_path):
    module = grown(adapters("llama", 9), tmp_path / "huge", 1e22)
    spec = make_spec("llama", [module, adapters("llama", 1)], "ties", {}, examples=())
    with pytest.raises(ComposeError, match="too large") as caught:
        run.compose(spec, Watcher())
    assert caught.value.code == "export-overflow"


def test_a_base_model_that_overflows_by_itself(make_spec, adapters, monkeypatch):
    whole = examples.run
    monkeypatch.setattr(examples, "run", lambda base, batch: replace(whole(base, batch), sums=(examples.OVERFLOW,) * len(batch.rows)))
    with pytest.raises(ComposeError, match="example 1") as caught:
        run.compose(make_spec("llama", [adapters("llama", 1)]), Watcher())
    assert caught.value.code == "base-model-unsupported"


def test_what_is_finite_is_as_before(load):
    base = load("llama")
    encoded = examples.encode(base, make_examples(3), "{input} Answer:", "{output}")
    (batch,) = examples.batches(base, encoded, 4096)
    with torch.inference_mode():
        sums = examples.run(base, batch).sums
    assert all(0 < s < 1000 for s in sums)
