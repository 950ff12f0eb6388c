"""First-order effects: equal to the gradient that hanging the modules gives, and a ranking that leaves bad modules out."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import FalconConfig, FalconForCausalLM

from compose_worker.engine import bank, base_models, catalogue, examples, modules, run, shortlist
from compose_worker.engine.errors import ComposeError
from tests.engine.conftest import VOCABULARY, Stopped, Watcher, edit_config, make_examples, save_tokenizer, write_adapter
from tests.engine.test_evaluator import failing
from tests.engine.test_resume import through_json


def encode(base, rows):
    return examples.encode(base, rows, "{input} Answer:", " {output}")


def gradient(base, modules, encoded, weights):
    """The slope of the mean loss by each weight, found by hanging all modules."""
    leaf = torch.tensor(weights, requires_grad=True)
    held = bank.load(base, modules)
    with held.mixed(leaf, "exact", range(len(modules))):
        for batch in examples.batches(base, encoded):
            with torch.enable_grad():
                examples.run(base, batch).total.backward(retain_graph=True)
    return (leaf.grad / sum(len(e.answer) for e in encoded)).tolist()


@pytest.mark.parametrize("tokens", [1, 60, 4096])
def test_the_effects_are_the_gradient_at_the_mean_of_the_anchor(load, three, kind, tokens):
    base = load(kind)
    encoded = encode(base, make_examples(9))
    fine, refused = shortlist.readable(base, three(kind))
    ranked = shortlist.rank(base, encoded, fine, 0, tokens)
    expected = gradient(base, three(kind), encoded, [1 / 3] * 3)
    assert refused == ranked.refused == {}
    assert [ranked.effects[i] for i in range(3)] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert list(ranked.effects.values()) == sorted(ranked.effects.values())
    assert not any(layer._forward_hooks for layer in base.model.modules())


@pytest.mark.parametrize("new", [False, True])
def test_a_model_that_adds_to_what_a_layer_gave_it_in_place(tmp_path, new):
    torch.manual_seed(1)
    config = FalconConfig(
        vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2, new_decoder_architecture=new,
        parallel_attn=True, bos_token_id=None, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = FalconForCausalLM(config)
    model.save_pretrained(tmp_path / "base")
    save_tokenizer(tmp_path / "base")
    base = base_models.load(str(tmp_path / "base"), "cpu", "float32")
    chosen = [write_adapter(tmp_path / f"m{seed}", model, seed, target_modules=["query_key_value", "dense", "dense_4h_to_h"]) for seed in (1, 2, 3)]
    chosen.append(write_adapter(tmp_path / "m4", model, 4, target_modules=["dense_4h_to_h"]))
    encoded = encode(base, make_examples(6))
    ranked = shortlist.rank(base, encoded, shortlist.readable(base, chosen)[0], 0)
    assert [ranked.effects[i] for i in range(4)] == pytest.approx(gradient(base, chosen, encoded, [1 / 4] * 4), rel=1e-3, abs=1e-5)


def test_at_the_bare_base_model(load, three, kind, monkeypatch):
    monkeypatch.setattr(shortlist, "ANCHOR", 0)
    base = load(kind)
    encoded = encode(base, make_examples(9))
    fine, _ = shortlist.readable(base, three(kind))
    ranked = shortlist.rank(base, encoded, fine, 0)
    assert [ranked.effects[i] for i in range(3)] == pytest.approx(gradient(base, three(kind), encoded, [0.0] * 3), rel=1e-3, abs=1e-5)


def test_thin_and_dense_slopes_agree(load, adapters):
    base = load("llama")
    layer = base.layers()["model.layers.0.self_attn.q_proj"]
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 32, generator=generator), torch.randn(5, 32, generator=generator)
    parts = [(torch.randn(9, 32, generator=generator), torch.randn(9, 32, generator=generator)) for _ in range(4)]
    slope, thin = shortlist._Slope(layer), shortlist._Slope(layer)
    for d, x in parts:
        slope.add(d, x)
    thin._size = 10**9
    for d, x in parts:
        thin.add(d, x)
    slope.close()
    thin.close()
    whole = sum(d.t() @ x for d, x in parts)
    assert slope._dense is not None and thin._dense is None
    expected = torch.stack([b[r] @ whole @ a[r] for r in range(5)])
    assert torch.allclose(slope.effects(a, b), expected, rtol=1e-4, atol=1e-3)
    assert torch.allclose(thin.effects(a, b), expected, rtol=1e-4, atol=1e-3)


def test_the_module_that_answers_comes_first(load, adapters, taught):
    modules = [adapters("llama", seed) for seed in range(1, 21)]
    weights = [0.0] * 20
    weights[13] = 1.0
    base = load("endless")
    encoded = encode(base, taught(modules, weights, 16))
    ranked = shortlist.rank(base, encoded, shortlist.readable(base, modules)[0], 0)
    assert 13 in list(ranked.effects)[:4]


def test_the_order_of_a_catalogue_does_not_matter_to_an_effect(load, adapters, monkeypatch):
    monkeypatch.setattr(shortlist, "ANCHOR", 0)
    base = load("llama")
    modules = [adapters("llama", seed, **({"r": 8} if seed % 3 == 0 else {})) for seed in range(1, 8)]
    encoded = encode(base, make_examples(5))
    there = shortlist.rank(base, encoded, shortlist.readable(base, modules)[0], 0).effects
    monkeypatch.setattr(shortlist, "TOGETHER", 2)
    back = shortlist.rank(base, encoded, shortlist.readable(base, modules[::-1])[0], 0).effects
    assert [back[6 - index] for index in range(7)] == pytest.approx([there[index] for index in range(7)], rel=1e-5)


def test_modules_that_cannot_be_composed_are_left_out_with_a_reason(load, adapters, tmp_path):
    base = load("llama")
    good = [adapters("llama", seed) for seed in (1, 2)]
    dora = replace(edit_config(adapters("llama", 3), tmp_path / "dora", use_dora=True), id="acme/dora")
    spoilt = replace(edit_config(adapters("llama", 4), tmp_path / "nan"), id="acme/nan")
    tensors = load_file(Path(spoilt.path) / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, Path(spoilt.path) / "adapter_model.safetensors")
    gone = replace(copy.copy(good[0]), id="acme/gone", path=str(tmp_path / "gone"))
    fine, refused = shortlist.readable(base, [good[0], dora, spoilt, gone, good[1], adapters("gpt2", 5)])
    ranked = shortlist.rank(base, encode(base, make_examples(4)), fine, 0)
    assert set(ranked.effects) == {0, 4}
    assert set(refused) == {1, 3, 5} and set(ranked.refused) == {2}
    assert "DoRA" in refused[1] and "missing" in refused[3] and "does not fit" in refused[5] and "not finite" in ranked.refused[2]


@pytest.fixture
def auto(make_spec, adapters, taught, monkeypatch):
    """A job that found eight modules by itself, of which four may be tried and two take part; it solves a task of the sixth."""
    modules = [adapters("llama", seed) for seed in range(1, 9)]
    rows = taught(modules, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    monkeypatch.setattr(catalogue, "TRIED", 4)

    def make(extra=(), **changes):
        return make_spec("endless", [*modules, *extra], "cma", {"budget": 6, "shortlist": 2}, examples=rows, shortlist=2, **changes)

    return make


def test_a_catalogue_is_narrowed_before_anything_is_measured(auto):
    watcher = Watcher()
    result = run.compose(auto(), watcher)
    first, *others = watcher.evaluations
    kept = first.detail["kept"]
    assert first.phase == "shortlist" and len(kept) == 4 and "acme/m6" in kept
    assert {len(e.weights) for e in others} == {4} and set(result.weights) == set(kept)
    assert len([e for e in others if e.phase == "single"]) == len([e for e in others if e.phase == "strength"]) == 4
    assert len(watcher.evaluations) <= watcher.total
    assert result.report["shortlist"] == {"looked_at": 8, "tried": kept, "effects": first.detail["effects"], "left_out": {}, "copies": {}}
    assert result.weights["acme/m6"] > 0.2


def test_resuming_keeps_the_same_modules_without_looking_again(auto, monkeypatch):
    watcher = Watcher()
    whole = run.compose(auto(), watcher)
    history = through_json(watcher.evaluations)
    monkeypatch.setattr(shortlist, "rank", None)  # would fail if it were asked
    for done in (1, 6, len(history)):
        resumed = Watcher()
        assert run.compose(auto(history=history[:done]), resumed).weights == whole.weights
        assert through_json(resumed.evaluations) == history[done:]


def test_stopping_at_the_shortlist(auto):
    with pytest.raises(Stopped):
        run.compose(auto(), Watcher(stop_after=0))


@pytest.mark.parametrize("tried", [4, 50])
def test_bad_modules_are_left_out_and_named(auto, adapters, tmp_path, monkeypatch, tried):
    monkeypatch.setattr(catalogue, "TRIED", tried)
    dora = replace(edit_config(adapters("llama", 3), tmp_path / "dora", use_dora=True), id="acme/dora")
    spoilt = replace(edit_config(adapters("llama", 4), tmp_path / "nan"), id="acme/nan")
    tensors = load_file(Path(spoilt.path) / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = float("inf")
    save_file(tensors, Path(spoilt.path) / "adapter_model.safetensors")
    result = run.compose(auto([dora, spoilt]), Watcher())
    assert set(result.report["shortlist"]["left_out"]) == {"acme/dora", "acme/nan"}
    assert not {"acme/dora", "acme/nan"} & set(result.weights)
    assert any(note.startswith("Left out") and "acme/dora, acme/nan" in note for note in result.report["notes"])
    assert len(result.weights) == min(tried, 8)


@pytest.mark.parametrize("tried", [4, 50])
def test_copies_do_not_take_the_places_of_others(auto, adapters, tmp_path, monkeypatch, tried):
    monkeypatch.setattr(catalogue, "TRIED", tried)
    original = adapters("llama", 6)
    copies = [replace(original, id=f"acme/copy{number}", weights_sha256=modules.sha256(original, modules.WEIGHTS) if number else "") for number in range(3)]
    louder = replace(edit_config(original, tmp_path / "louder", lora_alpha=9), id="acme/louder")
    result = run.compose(auto([*copies, louder]), Watcher())
    assert result.report["shortlist"]["copies"] == {copy.id: "acme/m6" for copy in copies}
    assert not {copy.id for copy in copies} & set(result.report["singles"])
    assert "acme/louder" in result.report["singles"] or tried == 4
    assert any("Left out as copies of another adapter: acme/copy0, acme/copy1, acme/copy2. acme/copy0 has" in note for note in result.report["notes"])


def test_a_copy_takes_the_place_of_an_original_that_is_gone(auto, adapters):
    copied = replace(adapters("llama", 6), id="acme/copy")
    whole = Watcher()
    run.compose(auto([copied]), whole)
    assert "acme/m6" in whole.evaluations[0].detail["kept"] and whole.evaluations[0].detail["copies"] == {"acme/copy": "acme/m6"}
    for done in (1, 9, len(whole.evaluations)):
        resumed, fresh = Watcher(), Watcher()
        spec = auto([copied], history=through_json(whole.evaluations)[:done])
        left = tuple(module for module in spec.modules if module.id != "acme/m6")  # it was deleted meanwhile
        result = run.compose(replace(spec, modules=left), resumed)
        expected = run.compose(replace(auto([copied]), modules=left), fresh)
        assert result.weights == expected.weights and "acme/copy" in result.weights
        assert [e.step for e in resumed.evaluations] == [e.step + done for e in fresh.evaluations]


def test_out_of_memory_halves_the_forwards_of_the_slopes(load, adapters, monkeypatch):
    base = load("llama")
    fine, _ = shortlist.readable(base, [adapters("llama", seed) for seed in range(1, 6)])
    encoded = encode(base, make_examples(8))
    expected = shortlist.rank(base, encoded, fine, 0)
    failing(monkeypatch, 40, torch.OutOfMemoryError("CUDA out of memory."))
    found = shortlist.rank(base, encoded, fine, 0)
    assert list(found.effects) == list(expected.effects)
    assert list(found.effects.values()) == pytest.approx(list(expected.effects.values()), rel=1e-3, abs=1e-5)
    assert not any(layer._forward_hooks for layer in base.model.modules())


def test_nothing_but_bad_modules(make_spec, adapters, tmp_path):
    dora = edit_config(adapters("llama", 3), tmp_path / "dora", use_dora=True)
    with pytest.raises(ComposeError, match="DoRA") as caught:
        run.compose(make_spec("llama", [dora], shortlist=2), Watcher())
    assert caught.value.code == "modules-missing"


def test_a_named_bad_module_still_fails_the_job(make_spec, adapters, tmp_path):
    dora = edit_config(adapters("llama", 3), tmp_path / "dora", use_dora=True)
    with pytest.raises(ComposeError, match="DoRA"):
        run.compose(make_spec("llama", [adapters("llama", 1), dora]), Watcher())
