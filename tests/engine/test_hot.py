"""Modules stay in memory between jobs: the second one reads no weights, under a byte limit, and never another file's numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compose_worker.engine import bank, hot, modules


@pytest.fixture(autouse=True)
def cold():
    hot.forget()
    yield
    hot.forget()


def hashed(module):
    return replace(module, weights_sha256=modules.sha256(module, modules.WEIGHTS), config_sha256=modules.sha256(module, modules.CONFIG))


def moved(module, folder):
    """The same module where its files are no more, as a later job of another folder finds them deleted."""
    assert not Path(folder).exists()
    return replace(module, path=str(folder))


def same(left, right):
    for name, stack in left.stacks.items():
        assert torch.equal(stack.a, right.stacks[name].a) and torch.equal(stack.b, right.stacks[name].b)
        assert torch.equal(stack.spread, right.stacks[name].spread)


def test_the_second_job_reads_no_file(load, three, tmp_path):
    base, chosen = load("llama"), [hashed(m) for m in three("llama")]
    first = bank.load(base, chosen)
    again = bank.load(base, [moved(m, tmp_path / "gone") for m in chosen[::-1]])
    same(again, bank.load(base, chosen[::-1]))
    assert [a.parts for a in again.adapters] == [a.parts for a in first.adapters[::-1]]
    assert [a.module.path for a in again.adapters] == [str(tmp_path / "gone")] * 3


def test_without_hashes_nothing_is_kept(load, three):
    bank.load(load("llama"), three("llama"))
    assert not hot._held


def test_another_config_or_base_is_another_module(load, adapters, tmp_path):
    one = hashed(adapters("llama", 1))
    bank.load(load("llama"), [one])
    with pytest.raises(Exception, match="missing"):
        bank.load(load("llama"), [replace(moved(one, tmp_path / "gone"), config_sha256="0" * 64)])
    with pytest.raises(Exception, match="missing"):
        bank.load(load("endless"), [moved(one, tmp_path / "gone")])


def test_the_oldest_go_at_the_limit(load, adapters):
    base = load("llama")
    chosen = [hashed(adapters("llama", seed)) for seed in (1, 2, 3)]
    bank.load(base, chosen[:1])
    size = next(iter(hot._held.values())).bytes
    assert size == 4 * (4 * (32 + 32) + 4 * (32 + 16)) * 2
    bank.load(base, chosen[1:2], keep=2 * size)
    bank.load(base, chosen[:1], keep=2 * size)  # used again, so the second is the older one
    bank.load(base, chosen[2:], keep=2 * size)
    assert [key[3] for key in hot._held] == [chosen[0].weights_sha256, chosen[2].weights_sha256]
    bank.load(base, chosen[1:2], keep=size - 1)
    assert not hot._held
