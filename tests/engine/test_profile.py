"""Profiles of weights: sizes and singular values against the dense product, and a fingerprint that only the update itself decides."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from compose_worker.engine import profile
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.spec import Module

DEMO = Path(__file__).resolve().parents[2] / "demo" / "adapters"
NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "model.layers.11.self_attn.q_proj")
SHAPES = {"q_proj": (24, 32), "up_proj": (48, 32)}  # outputs, inputs
RANK = 4


@pytest.fixture(scope="session")
def write(tmp_path_factory):
    """Write factors `{name: (A, B)}` as an adapter."""

    def make(factors, **config):
        folder = tmp_path_factory.mktemp("adapter")
        ranks = {name: a.shape[0] for name, (a, _) in factors.items()}
        given = {"peft_type": "LORA", "r": max(ranks.values()), "lora_alpha": 8, "rank_pattern": ranks, **config}
        (folder / "adapter_config.json").write_text(json.dumps(given))
        sides = [(name, side, tensor) for name, pair in factors.items() for side, tensor in zip("AB", pair, strict=True)]
        tensors = {f"base_model.model.{name}.lora_{side}.weight": tensor.contiguous().clone() for name, side, tensor in sides}
        save_file(tensors, folder / "adapter_model.safetensors")
        return Module("acme/one", "0" * 40, str(folder))

    return make


def drawn(seed, rank=RANK):
    random = torch.Generator().manual_seed(seed)
    shapes = {name: SHAPES[name.rpartition(".")[2]] for name in NAMES}
    return {name: (torch.randn(rank, i, generator=random), torch.randn(o, rank, generator=random)) for name, (o, i) in shapes.items()}


def fingerprint(module):
    return np.array(profile.measure(module).fingerprint)


def test_it_works(write):
    factors = drawn(0)
    found = profile.measure(write(factors, use_rslora=True))
    assert [(m.name, m.layer, m.target) for m in found.matrices] == [(NAMES[1], 0, "up_proj"), (NAMES[0], 0, "q_proj"), (NAMES[2], 11, "q_proj")]
    for matrix in found.matrices:
        a, b = factors[matrix.name]
        dense = (b @ a).double() * 8 / RANK**0.5
        values = torch.linalg.svdvals(dense)[:RANK]
        shares = values**2 / (values**2).sum()
        assert matrix.norm == pytest.approx(float(dense.norm()), rel=1e-6)
        assert matrix.values == pytest.approx(values.tolist(), rel=1e-3)
        assert matrix.effective_rank == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-6)
    energy = sum(matrix.norm**2 for matrix in found.matrices) / 3
    assert sum(v**2 for v in found.values) == pytest.approx(energy, rel=1e-3) and len(found.values) == RANK
    assert np.linalg.norm(found.fingerprint) == pytest.approx(1) and len(found.fingerprint) == profile.PROBES


QUICK = settings(max_examples=12, deadline=None)


@QUICK
@given(seed=st.integers(0, 99), size=st.floats(0.01, 100), alpha=st.integers(1, 64), pad=st.integers(0, 5), half=st.booleans(), turn=st.integers(0, 99))
def test_the_same_update_written_otherwise_has_the_same_fingerprint(write, seed, size, alpha, pad, half, turn):
    random = torch.Generator().manual_seed(turn)
    other = {}
    for name, (a, b) in drawn(seed).items():
        mix = torch.eye(RANK) + 0.3 * torch.randn(RANK, RANK, generator=random)  # B R, R^-1 A
        a, b = torch.linalg.solve(mix, a) * size, b @ mix / size  # and A against B
        a, b = torch.nn.functional.pad(a, (0, 0, 0, pad)), torch.nn.functional.pad(b, (0, pad))
        other[name] = (a.half(), b.half()) if half and 0.1 < size < 10 else (a, b)
    before, after = fingerprint(write(drawn(seed))), fingerprint(write(other, lora_alpha=alpha))
    assert before @ after > (0.9999 if half else 0.999999)


@QUICK
@given(seed=st.integers(0, 99), amount=st.floats(0.1, 0.9))
def test_the_cosine_is_that_of_the_updates(write, seed, amount):
    one, two = drawn(seed), drawn(seed + 100)
    both = {name: (torch.cat([one[name][0], two[name][0]]), torch.cat([one[name][1] * (1 - amount), two[name][1] * amount], 1)) for name in one}

    def flat(factors):
        return torch.cat([(b @ a).flatten() for a, b in factors.values()])

    true = float(torch.cosine_similarity(flat(one), flat(both), dim=0))
    assert fingerprint(write(one)) @ fingerprint(write(both)) == pytest.approx(true, abs=4.5 * (1 - true**2) / profile.PROBES**0.5 + 0.01)


def test_each_matrix_has_signs_of_its_own(write):
    """The same numbers in another layer are another update."""
    a, b = torch.randn(RANK, 32), torch.randn(24, RANK)
    first, last = (fingerprint(write({name: (a, b)})) for name in (NAMES[0], NAMES[2]))
    assert abs(first @ last) < 0.25


def test_starter_adapters_are_far_apart_and_their_roundings_near(write, tmp_path):
    found = {path.parent.name: fingerprint(Module("a/b", "", str(path.parent))) for path in sorted(DEMO.glob("*/*/adapter_config.json"))}
    names = list(found)
    cosines = {(one, two): found[one] @ found[two] for place, one in enumerate(names) for two in names[:place]}
    assert len(cosines) == 55 and max(cosines.values()) < 0.3
    path = DEMO / "arith-lab" / "two-digit-addition"
    (tmp_path / "adapter_config.json").write_bytes((path / "adapter_config.json").read_bytes())
    tensors = load_file(path / "adapter_model.safetensors")
    save_file({name: tensor.float().to(torch.float8_e4m3fn) for name, tensor in tensors.items()}, tmp_path / "adapter_model.safetensors")
    assert fingerprint(Module("a/b", "", str(tmp_path))) @ found[path.name] > 0.99


def test_places(write):
    sides = torch.ones(2, 32), torch.ones(24, 2)
    names = ["encoder.block.3.layer.0.SelfAttention.q", "decoder.block.3.layer.0.SelfAttention.q", "decoder.block.3.layer.1.EncDecAttention.q", "lm_head"]
    places = {m.name: (m.layer, m.target) for m in profile.measure(write(dict.fromkeys(names, sides))).matrices}
    assert places[names[3]] == (None, "lm_head")
    assert places[names[0]] == (3, "encoder.block.layer.*.SelfAttention.q") and places[names[1]] != places[names[0]] != places[names[2]]
    experts = [f"model.layers.1.mlp.experts.{n}.up_proj" for n in (0, 7)]
    assert {(m.layer, m.target) for m in profile.measure(write(dict.fromkeys(experts, sides))).matrices} == {(1, "up_proj")}


def test_an_update_that_is_zero_has_no_fingerprint(write):
    found = profile.measure(write({name: (a, b * 0) for name, (a, b) in drawn(0).items()}))
    assert found.fingerprint == () and found.values == () and {(m.norm, m.effective_rank) for m in found.matrices} == {(0.0, 0.0)}


def test_what_is_no_plain_lora_is_refused(write, tmp_path):
    whole = write(drawn(0), use_dora=True)
    huge = write({name: (a.double() * 1e200, b.double() * 1e200) for name, (a, b) in drawn(0).items()})
    for module, code in ((whole, "module-unsupported"), (huge, "module-not-finite"), (replace(whole, path=str(tmp_path)), "module-unreadable")):
        with pytest.raises(ComposeError) as caught:
            profile.measure(module)
        assert caught.value.code == code
