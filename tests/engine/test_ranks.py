"""Sharing ranks out: within the limits, and never worse than the same for all."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from compose_worker.engine import bank, examples, export, merge, modules, ranks, run, use
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.layout import Layout
from tests.engine.conftest import Watcher, make_examples
from tests.engine.test_bank import close, logits, mixed, through_peft
from tests.engine.test_export import WEIGHTS, as_module, write

SPECTRA = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.floats(0, 100), min_size=1, max_size=6).map(lambda v: sorted(v, reverse=True)), min_size=1)


def tensors(spectra):
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in spectra.items()}


@settings(max_examples=60, deadline=None)
@given(spectra=SPECTRA, cap=st.integers(1, 8), mean=st.integers(0, 5), room=st.integers(0, 2000), uniform=st.booleans())
def test_limits_hold(spectra, cap, mean, room, uniform):
    costs = {name: 10 * (place + 1) for place, name in enumerate(spectra)}
    heads = {name: 7 * (place + 1) for place, name in enumerate(spectra)}
    budget = ranks.Budget(cap, mean, room, uniform)
    try:
        given_ranks = ranks.share(tensors(spectra), costs, heads, budget)
    except ComposeError as error:
        assert room and room < sum(costs.values()) + sum(heads.values()) and error.code == "setting-out-of-range"
        return
    assert given_ranks and all(1 <= rank <= cap for rank in given_ranks.values())
    assert not room or sum(heads[name] + costs[name] * rank for name, rank in given_ranks.items()) <= room
    assert not mean or sum(given_ranks.values()) <= max(1, mean * len(spectra))
    assert not uniform or (set(given_ranks) == set(spectra) and len(set(given_ranks.values())) == 1)


@settings(max_examples=60, deadline=None)
@given(spectra=SPECTRA, mean=st.integers(1, 5))
def test_a_shared_budget_keeps_at_least_as_much_as_the_same_for_all(spectra, mean):
    found = tensors(spectra)
    costs = dict.fromkeys(spectra, 10)
    assume(any(values[0] > 0 for values in spectra.values()))

    def kept(uniform):
        chosen = ranks.share(found, costs, dict.fromkeys(costs, 0), ranks.Budget(64, mean, 0, uniform))
        return sum(float((found[name][:rank] ** 2).sum()) for name, rank in chosen.items())

    assert kept(False) >= kept(True) - 1e-9


@pytest.mark.parametrize("options", [{"mean_rank": 3}, {"max_bytes": 9_000}, {"max_rank": 5, "mean_rank": 2}, {"max_bytes": 14_000, "max_rank": 6}])
@pytest.mark.parametrize("profile", ["peft", "serving"])
def test_what_is_lost_is_the_singular_energy_cut_off(load, three, tmp_path, profile, options):
    base = load("llama")
    whole, cut = (
        write(base, three("llama"), WEIGHTS, tmp_path / "whole"),
        write(base, three("llama"), WEIGHTS, tmp_path / "cut", profile=profile, **options),
    )
    assert whole.energy_kept == pytest.approx(1.0, abs=1e-9)
    assert "max_bytes" not in options or cut.bytes <= options["max_bytes"]
    full, part = (load_file(tmp_path / name / modules.WEIGHTS) for name in ("whole", "cut"))
    lost = total = 0.0
    for name in whole.ranks:
        key_a, key_b = modules.keys(name)
        before = full[key_b].double() @ full[key_a].double()
        after = part[key_b].double() @ part[key_a].double() if key_a in part else torch.zeros_like(before)
        lost += float((before - after).square().sum())
        total += float(before.square().sum())
        assert float((before - after).square().sum()) == pytest.approx(float(torch.linalg.svdvals(before)[cut.ranks.get(name, 0) :].square().sum()), abs=1e-6)
    assert 0.01 < 1 - cut.energy_kept == pytest.approx(lost / total, abs=1e-6)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])
def test_peft_reads_ranks_that_differ(load, three, tmp_path, kind):
    base = load(kind)
    done = write(base, three(kind), WEIGHTS, tmp_path / "out", profile="peft", mean_rank=3)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert len(set(done.ranks.values())) > 1 and config["rank_pattern"] == config["alpha_pattern"] != {}
    ours = as_module(tmp_path / "out")
    assert close(logits(through_peft(base, ours)), mixed(base, [ours], [1.0]))
    assert not close(logits(through_peft(base, ours)), logits(base), 1e-2)
    assert {bank.load(base, [ours]).adapters[0].parts[name].scale for name in done.ranks} == {1.0}


def test_the_serving_profile_has_one_rank_and_no_patterns(load, three, tmp_path):
    done = write(load("llama"), three("llama"), WEIGHTS, tmp_path / "out", profile="serving", mean_rank=3)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert set(done.ranks.values()) == {3} and (config["r"], config["lora_alpha"]) == (3, 3)
    assert (config["rank_pattern"], config["alpha_pattern"], config["use_rslora"]) == ({}, {}, False)


def test_without_the_model_servers_get_last_parts_and_peft_whole_names(three, tmp_path):
    adapters = merge.read(three("llama"))
    layout = Layout.from_adapters(adapters, "acme/tiny")
    changes = export.exact(adapters, WEIGHTS)
    for profile, expected in (("serving", ["down_proj", "k_proj", "o_proj", "q_proj", "v_proj"]), ("peft", sorted(changes))):
        export.export(changes, layout, export.Options(profile=profile), str(tmp_path))
        assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == expected
    assert layout.task_type == "CAUSAL_LM"


def test_gpt2_says_its_weights_lie_the_other_way_round(load, three):
    adapters = merge.read(three("gpt2"))
    assert Layout.of(load("gpt2"), "acme/tiny").config(dict.fromkeys(adapters[0].parts, 4), "serving")["fan_in_fan_out"] is True
    assert Layout.of(load("llama"), "acme/tiny").config({"model.layers.0.self_attn.q_proj": 4}, "serving")["fan_in_fan_out"] is False


def test_a_file_that_is_too_small_for_anything(load, three, tmp_path):
    with pytest.raises(ComposeError) as caught:
        write(load("llama"), three("llama"), WEIGHTS, tmp_path / "out", max_bytes=10)
    assert caught.value.code == "setting-out-of-range" and "larger file" in caught.value.message


def test_numbers_too_large_for_the_format(load, three, tmp_path):
    with pytest.raises(ComposeError) as caught:
        write(load("llama"), three("llama"), [1e12, 0.0, 0.0], tmp_path / "out", dtype="float16")
    assert caught.value.code == "export-overflow"


@pytest.mark.parametrize("profile", ["peft", "serving"])
def test_there_is_one_zero_and_the_threads_do_not_matter(load, three, tmp_path, profile):
    base, before = load("llama"), torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            write(base, three("llama"), WEIGHTS, tmp_path / str(threads), profile=profile, mean_rank=4, dtype="bfloat16")
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one, four = ((tmp_path / name / modules.WEIGHTS).read_bytes() for name in ("1", "4"))
    assert one == four
    assert not any(bool((torch.signbit(t) & (t == 0)).any()) for t in load_file(tmp_path / "1" / modules.WEIGHTS).values())


def test_minus_zero_becomes_zero():
    stored = export._stored(torch.tensor([[-0.0, -1e-30, 2.0]]), torch.float16)
    assert not torch.signbit(stored).any() and stored.tolist() == [[0.0, 0.0, 2.0]]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_cutting_by_use_changes_the_outputs_on_the_examples_less(load, three, tmp_path, kind):
    base = load(kind)
    encoded = examples.encode(base, make_examples(6), "{input} Answer:", " {output}")
    changes = export.exact(bank.load(base, three(kind)).adapters, WEIGHTS)
    grams = use.grams(base, encoded, {name: change.a for name, change in changes.items()})
    seen = {name: [] for name in changes}
    layers = base.layers()
    handles = [
        layers[name].register_forward_hook(lambda layer, args, out, name=name: seen[name].append(args[0].reshape(-1, args[0].shape[-1]))) for name in changes
    ]
    with torch.inference_mode():
        for row in encoded:  # one by one: no padding
            examples.run(base, examples.batches(base, [row])[0])
    for handle in handles:
        handle.remove()
    better = 0
    for name, change in changes.items():
        inputs = torch.cat(seen[name]).double()
        moments = inputs.t() @ inputs / len(inputs)
        ridge = use.RIDGE * float(moments.trace()) / moments.shape[0] * torch.eye(moments.shape[0])
        expected = change.a.double() @ (moments + ridge) @ change.a.double().t()
        assert torch.allclose(grams[name], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())), name
        whole = change.b @ change.a
        errors = []
        for gram in (None, grams[name]):
            thin = export.compress(change.b, change.a, gram)
            cut = whole - (thin.left[:, :2] * thin.values[:2]) @ thin.right[:2]
            errors.append(float((cut @ (moments + ridge) @ cut.t()).trace()))
            if gram is not None:
                assert errors[-1] == pytest.approx(float((thin.values[2:] ** 2).sum()), rel=1e-2, abs=1e-12)
        assert errors[1] <= errors[0] * (1 + 1e-6) + 1e-12
        better += errors[1] < 0.99 * errors[0] and errors[0] > 1e-12
    assert better > len(changes) / 3


def test_nothing_is_cut_by_use_when_everything_fits(load, three, tmp_path):
    base = load("llama")
    changes = export.exact(bank.load(base, three("llama")).adapters, WEIGHTS)
    grams = use.grams(base, examples.encode(base, make_examples(3), "{input} Answer:", " {output}"), {name: c.a for name, c in changes.items()})
    done = write(base, three("llama"), WEIGHTS, tmp_path / "out", grams=grams)
    assert done.energy_kept == pytest.approx(1.0, abs=1e-6)
    assert close(logits(through_peft(base, as_module(tmp_path / "out"))), mixed(base, three("llama"), WEIGHTS))


def test_without_memory_to_weigh_by_use_it_is_cut_by_size(make_spec, adapters, taught, monkeypatch):
    chosen = [adapters("llama", seed) for seed in (1, 2)]
    rows = taught(chosen, [1.0, 0.0], 6)
    by_size, by_use = (make_spec("endless", chosen, "select", {"max_rank": 2, "by_use": asked}, examples=rows) for asked in (False, True))
    run.compose(by_size, Watcher())

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(use, "grams", fails)
    result = run.compose(by_use, Watcher())
    assert any("cut by size" in note for note in result.report["notes"]) and not result.report["needs_examples"]
    ours, theirs = (Path(spec.out_dir, "adapter_model.safetensors").read_bytes() for spec in (by_size, by_use))
    assert ours == theirs
