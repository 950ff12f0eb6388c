"""The algebra of mixing: what the hooked base model computes equals what peft computes with the same modules."""

import copy

import pytest
import torch
from peft import PeftModel

from compose_worker.engine import bank, base_models, examples
from compose_worker.engine.modules import factors as factors_of
from tests.engine.conftest import make_examples

VARIANTS = {
    "plain": {},
    "rslora": {"use_rslora": True, "lora_alpha": 5},
    "rank pattern": {"rank_pattern": {"layers.0.self_attn.q_proj": 2, "v_proj": 6}},
    "alpha pattern": {"alpha_pattern": {"q_proj": 3}, "rank_pattern": {"q_proj": 2}},
    "regular expression": {"alpha_pattern": {r".*\.1\..*q_proj": 1}},
    "rank 8": {"r": 8},
    "all layers": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
    "vocabulary projection": {"target_modules": ["lm_head", "q_proj"]},
}


def logits(base, count=5):
    encoded = examples.encode(base, make_examples(count), "{input} Answer:", " {output}")
    with torch.inference_mode():
        return torch.cat([base.model(**batch.inputs, use_cache=False).logits[batch.where] for batch in examples.batches(base, encoded)])


def through_peft(base, module, merge=True):
    model = PeftModel.from_pretrained(copy.deepcopy(base.model), module.path).eval()
    model = model.merge_and_unload() if merge else model
    return base_models.Base(base.path, model, base.tokenizer, base.device, base.dtype, base.is_seq2seq)


def mixed(base, modules, weights, space="exact"):
    with bank.load(base, modules).mixed(torch.tensor(weights), space):
        return logits(base)


def close(left, right, tolerance=1e-5):
    return torch.allclose(left, right, atol=tolerance * float(right.abs().max()), rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_module_with_weight_one_is_what_peft_merges(load, adapters, variant):
    base = load("llama")
    module = adapters("llama", 5, **VARIANTS[variant])
    assert close(mixed(base, [module], [1.0]), logits(through_peft(base, module)))
    assert not close(mixed(base, [module], [1.0]), logits(base), 1e-2)


def test_one_of_many_is_that_one(load, three, kind):
    base = load(kind)
    modules = three(kind)
    for index, module in enumerate(modules):
        weights = [0.0] * len(modules)
        weights[index] = 1.0
        assert close(mixed(base, modules, weights), logits(through_peft(base, module)))


def test_weights_of_zero_are_the_base_bit_for_bit(load, three, kind):
    base = load(kind)
    assert torch.equal(mixed(base, three(kind), [0.0, 0.0, 0.0]), logits(base))


def test_a_negative_weight_subtracts(load, three, kind):
    base = load(kind)
    modules = three(kind)
    plus, minus = mixed(base, modules, [1.0, 0.0, 0.0]), mixed(base, modules, [-1.0, 0.0, 0.0])
    assert not close(plus, minus, 1e-2)
    assert not close(minus, logits(base), 1e-2)


def test_order_does_not_matter(load, three, kind):
    base = load(kind)
    a, b, c = three(kind)
    # Sums in another order round differently, and how far that carries depends on the processor.
    assert close(mixed(base, [a, b, c], [0.5, -0.3, 0.9]), mixed(base, [c, a, b], [0.9, 0.5, -0.3]), 1e-4)


def test_two_halves_of_one_module_are_the_module(load, adapters):
    base = load("llama")
    module = adapters("llama", 5)
    assert close(mixed(base, [module, module], [0.5, 0.5]), mixed(base, [module], [1.0]))


def test_the_mix_is_the_sum_of_the_changes(load, three):
    base = load("llama")
    modules = three("llama")
    weights = [0.7, -0.4, 0.2]
    model = copy.deepcopy(base.model)
    for module, weight in zip(modules, weights, strict=True):
        merged = through_peft(base, module).model
        with torch.no_grad():
            for ours, theirs, plain in zip(model.parameters(), merged.parameters(), base.model.parameters(), strict=True):
                ours += weight * (theirs - plain)
    expected = logits(base_models.Base(base.path, model, base.tokenizer, base.device, base.dtype, base.is_seq2seq))
    assert close(mixed(base, modules, weights), expected)


def test_lorahub_multiplies_the_sums_of_the_factors(load, adapters):
    base = load("llama")
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    weights = [0.7, -0.4, 0.2]
    model = copy.deepcopy(base.model)
    files = [bank.load(base, [module]).adapters[0] for module in modules]
    factors = [{name: (a, b) for name, a, b in factors_of(adapter)} for adapter in files]
    with torch.no_grad():
        for name, part in files[0].parts.items():
            a = sum(w * f[name][0] for w, f in zip(weights, factors, strict=True))
            b = sum(w * f[name][1] for w, f in zip(weights, factors, strict=True))
            model.get_submodule(name).weight += part.scale * b @ a
    expected = logits(base_models.Base(base.path, model, base.tokenizer, base.device, base.dtype, base.is_seq2seq))
    assert close(mixed(base, modules, weights, "lorahub"), expected)
    assert close(mixed(base, modules, [-w for w in weights], "lorahub"), expected)  # a trait of that space


def test_lorahub_takes_part_of_a_bank(load, adapters):
    base = load("llama")
    modules = [adapters("llama", 1), adapters("llama", 9, r=8), adapters("llama", 2)]
    assert close(mixed(base, modules, [0.5, 0.0, 0.5], "lorahub"), mixed(base, [modules[0], modules[2]], [0.5, 0.5], "lorahub"))


def test_the_hooks_are_gone_afterwards(load, three):
    base = load("llama")
    before = logits(base)
    with pytest.raises(RuntimeError, match="stop"), bank.load(base, three("llama")).mixed(torch.ones(3)):
        raise RuntimeError("stop")
    assert torch.equal(logits(base), before)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in base.model.modules())
