"""Modules that are far too large beside the others, by a wrong alpha for example: they hide nothing and lead nowhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compose_worker.engine import bank, run, shortlist, sizes
from tests.engine.conftest import Watcher, grown
from tests.engine.test_methods import PLANTED, held_out
from tests.engine.test_shortlist import encode


@pytest.fixture
def four(adapters):
    return [adapters("llama", seed) for seed in (1, 2, 3, 4)]


def test_the_size_is_that_of_the_change_where_directions_stand_at_right_angles():
    a, _ = torch.linalg.qr(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)))
    b = torch.randn(5, 9, generator=torch.Generator().manual_seed(1))
    assert float(sizes.squared(a.t(), b).sum()) == pytest.approx(float((b.t() @ a.t()).square().sum()), rel=1e-5)


def test_sizes_of_modules_by_layer(load, three):
    base = load("llama")
    modules = three("llama")
    held = bank.load(base, modules)
    found = held.sizes()
    assert found.shape == (len(held.stacks), 3)
    for row, (name, stack) in zip(found, held.stacks.items(), strict=True):
        for index, adapter in enumerate(held.adapters):
            assert bool(row[index] > 0) is (name in adapter.parts)
        change = stack.b.t() @ torch.diag(stack.spread[0]) @ stack.a
        assert row[0] == pytest.approx(float(change.square().mean().sqrt()), rel=0.5)  # trained or drawn, directions are nearly at right angles


def test_what_is_too_large_is_said_by_the_modules_that_help():
    there = np.array([[1.0, 1.5, 80.0], [2.0, 0.0, 3.0], [0.0, 0.0, 40.0]])
    assert sizes.excess(there, [0, 1]).tolist() == [[1.0, 1.0, 80 / 3], [1.0, 1.0, 1.0], [1.0, 1.0, 10.0]]
    assert sizes.excess(there, [2]).tolist() == np.ones((3, 3)).tolist()
    assert sizes.excess(np.zeros((2, 2)), [0]).tolist() == np.ones((2, 2)).tolist()  # untrained ones have no size


def test_where_none_helps_alone_the_larger_half_says_what_is_ordinary():
    there = np.array([[1.0, 1.2, 0.9, 0.001, 0.0, 60.0]])
    assert sizes.excess(there, []).tolist() == [[1.0, 1.0, 1.0, 1.0, 1.0, 15.0]]
    assert sizes.excess(np.zeros((1, 2)), []).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("method", ["medley", "cma"])
def test_a_mix_is_found_beside_modules_that_are_far_too_large(make_spec, taught, base_paths, four, tmp_path, method):
    rows, new = taught(four, PLANTED, 48), taught(four, PLANTED, 60, seed=9)
    large = [grown(module, tmp_path / f"large{index}", 8.0) for index, module in enumerate(four[:2])]

    def loss(modules):
        result = run.compose(make_spec("endless", modules, method, {"budget": 60}, examples=rows), Watcher())
        assert result.verdict == "mix"
        return held_out(base_paths, modules, [result.weights[module.id] for module in modules], new).loss

    alone = held_out(base_paths, four, [1.0, 0.0, 0.0, 0.0], new).loss
    assert loss([*four, *large]) < loss(four) + 0.2 * (alone - loss(four))


@pytest.mark.parametrize("size", [0.0, 0.0075])
@pytest.mark.parametrize("method", ["medley", "cma"])
def test_an_untrained_module_says_nothing_of_the_others(make_spec, adapters, taught, method, size):
    """No module helps alone, and their mix does; the untrained one has the lowest loss of all."""
    three = [adapters("llama", seed) for seed in (1, 2, 3)]
    idle = replace(adapters("llama", 11, size=size), id="acme/idle")
    rows = taught(three, [-1.0, -1.0, 0.7], 24)

    def found(modules):
        return run.compose(make_spec("endless", modules, method, {"budget": 60}, examples=rows), Watcher())

    without, beside = found(three), found([*three, idle])
    assert min(row["loss"] for row in without.report["singles"].values()) > without.report["candidates"]["base"]
    assert without.verdict == beside.verdict == "mix"
    assert beside.scores["composed"].loss < without.scores["composed"].loss + 0.15


def test_modules_that_are_far_too_large_do_not_come_first(load, adapters, taught, tmp_path):
    good = [adapters("llama", seed) for seed in range(1, 21)]
    large = [grown(adapters("llama", seed), tmp_path / f"large{seed}", 8.0) for seed in range(21, 31)]
    base = load("endless")
    encoded = encode(base, taught(good, [float(index == 13) for index in range(20)], 16))
    for seed in range(3):  # with most of them some are drawn for the mean at which the slopes are taken
        ranked = shortlist.rank(base, encoded, shortlist.readable(base, [*good, *large])[0], seed)
        assert 13 in list(ranked.effects)[:6]
