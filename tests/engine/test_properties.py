"""What holds for every mix, whatever the modules: drawn at random, and compared with peft itself."""

import copy
import tempfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel

from compose_worker.engine import bank, base_models, examples
from tests.engine.conftest import make_examples, write_adapter
from tests.engine.test_bank import close, logits

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
PLACES = [*LAYERS[:-1], "0.self_attn.q_proj", "layers.1.mlp.down_proj", r".*\.0\..*_proj"]


def pattern(numbers):
    """Sorted as peft saves it: where two places mean one layer the first counts, and a file's order is not the order it was asked for in."""
    return st.dictionaries(st.sampled_from(PLACES), numbers, max_size=3).map(lambda drawn: dict(sorted(drawn.items())))


configs = st.fixed_dictionaries(
    {
        "r": st.integers(1, 9),
        "lora_alpha": st.integers(1, 20),
        "use_rslora": st.booleans(),
        "target_modules": st.lists(st.sampled_from(LAYERS), min_size=1, max_size=5, unique=True),
        "rank_pattern": pattern(st.integers(1, 9)),
        "alpha_pattern": pattern(st.integers(1, 20)),
    }
)


def made(base, folder, drawn):
    """Modules with these configs, as peft itself saves them."""
    return [write_adapter(f"{folder}/m{number}", base.model, number, **config) for number, config in enumerate(drawn)]


def mixed(base, modules, weights):
    with bank.load(base, modules).mixed(torch.tensor(weights)):
        return logits(base, 3)


def through_peft(base, module):
    model = PeftModel.from_pretrained(copy.deepcopy(base.model), module.path).eval().merge_and_unload()
    return logits(base_models.Base(base.path, model, base.tokenizer, base.device, base.dtype, base.is_seq2seq), 3)


@QUICK
@given(drawn=st.lists(configs, min_size=1, max_size=3), which=st.integers(0, 2))
def test_one_of_many_is_what_peft_makes_of_it(load, drawn, which):
    base = load("llama")
    which %= len(drawn)
    with tempfile.TemporaryDirectory() as folder:
        modules = made(base, folder, drawn)
        weights = [float(index == which) for index in range(len(modules))]
        alone = mixed(base, modules, weights)
        assert close(alone, through_peft(base, modules[which]))
        assert not close(alone, mixed(base, modules, [-w for w in weights]), 1e-3)
        assert torch.equal(mixed(base, modules, [0.0] * len(modules)), logits(base, 3))


@QUICK
@given(st.lists(configs, min_size=3, max_size=3), st.lists(st.floats(-1.5, 1.5, width=32), min_size=3, max_size=3), st.permutations(range(3)))
def test_any_order_of_modules_gives_the_same(load, drawn, weights, order):
    base = load("llama")
    with tempfile.TemporaryDirectory() as folder:
        modules = made(base, folder, drawn)
        there = mixed(base, modules, weights)
        assert close(mixed(base, [modules[place] for place in order], [weights[place] for place in order]), there)


@QUICK
@given(
    lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 6)), min_size=1, max_size=12),
    tokens=st.sampled_from([1, 40, 90, 300, 4096]),
    cost=st.sampled_from([0, 30, 160, 10**6]),
)
@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_every_example_is_in_one_forward_and_its_loss_does_not_depend_on_which(load, kind, lengths, tokens, cost):
    base = load(kind)
    asked = [tuple(5 + (row + place) % 40 for place in range(length)) for row, (length, _) in enumerate(lengths)]
    encoded = [examples.Encoded(row, asked[row], tuple(range(5, 5 + length))) for row, (_, length) in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "FORWARD_COST", cost)
        batches = examples.batches(base, encoded, tokens)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(encoded)))
    assert all(batch.where.numel() <= tokens or len(batch.rows) == 1 for batch in batches)
    found = {}
    with torch.inference_mode():
        for batch in batches:
            found.update(zip(batch.rows, examples.run(base, batch).sums, strict=True))
        for e in encoded:
            assert found[e.row] == pytest.approx(examples.run(base, examples.batches(base, [e])[0]).sums[0], rel=1e-4)


def test_identical_and_contradictory_examples_are_measured_as_they_are(load):
    base = load("llama")
    (one,) = make_examples(1)
    other = make_examples(2)[1]
    rows = [one, one, type(one)(one.input, other.output)]
    encoded = examples.encode(base, rows, "{input} Answer:", " {output}")
    with torch.inference_mode():
        found = {}
        for batch in examples.batches(base, encoded):
            outcome = examples.run(base, batch)
            found.update(zip(batch.rows, outcome.sums, strict=True))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[2] != pytest.approx(found[0], rel=1e-3)
    assert examples.doubts(rows) == [
        "Examples 1, 2 and 3 ask the same and want different answers, of which no model can give all.",
        "Examples 1 and 2 are the same, which counts 2 times.",
    ]
    assert examples.doubts([one, other]) == []
