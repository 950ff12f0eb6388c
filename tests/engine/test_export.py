"""The published file: peft loads it and it is the mix, up to what the rank cuts off, byte for byte the same each time."""

import copy
import hashlib
import json
import re
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from compose_worker.engine import bank, examples, export, modules, use
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.layout import Layout
from tests.engine.conftest import edit_config, make_examples
from tests.engine.test_bank import close, logits, mixed, through_peft

WEIGHTS = [0.7, -0.4, 0.2]


def write(base, chosen, weights, folder, space="exact", grams=None, **options):
    folder.mkdir(exist_ok=True)
    adapters = bank.load(base, chosen).adapters
    changes = (export.exact if space == "exact" else export.lorahub)(adapters, weights)
    chosen_options = export.Options(**{"max_rank": 64, "dtype": "float32", **options})
    return export.export(changes, Layout.of(base, "acme/tiny"), chosen_options, str(folder), grams)


def as_module(folder):
    return modules.Module("acme/out", "0" * 40, str(folder))


@pytest.mark.parametrize("merge", [True, False])
def test_peft_loads_it_and_gives_the_same_answers(load, three, kind, tmp_path, merge):
    base = load(kind)
    chosen = three(kind)
    done = write(base, chosen, WEIGHTS, tmp_path / "out")
    assert done.files == ("adapter_config.json", "adapter_model.safetensors")
    assert close(logits(through_peft(base, as_module(tmp_path / "out"), merge)), mixed(base, chosen, WEIGHTS))
    assert done.energy_kept == pytest.approx(1.0)


def test_peft_misses_and_invents_no_tensor(load, three, kind, tmp_path, recwarn):
    base = load(kind)
    write(base, three(kind), WEIGHTS, tmp_path / "out")
    model = PeftModel.from_pretrained(copy.deepcopy(base.model), tmp_path / "out")
    assert not [str(w.message) for w in recwarn if "missing" in str(w.message).lower() or "unexpected" in str(w.message).lower()]
    ours = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {name.replace(".default", "") for name, _ in model.named_parameters() if "lora_" in name} == set(ours)


def test_the_result_is_a_module_again(load, three, kind, tmp_path):
    base = load(kind)
    chosen = three(kind)
    write(base, chosen, WEIGHTS, tmp_path / "out")
    assert close(mixed(base, [as_module(tmp_path / "out")], [1.0]), mixed(base, chosen, WEIGHTS))


def test_lorahub_is_written_as_it_was_measured(load, adapters, tmp_path):
    base = load("llama")
    chosen = [adapters("llama", seed) for seed in (1, 2, 3)]
    done = write(base, chosen, WEIGHTS, tmp_path / "out", space="lorahub")
    assert done.rank == 4
    assert close(logits(through_peft(base, as_module(tmp_path / "out"))), mixed(base, chosen, WEIGHTS, "lorahub"))


def test_the_error_is_the_energy_cut_off(load, three, tmp_path):
    base = load("llama")
    chosen = three("llama")
    whole = write(base, chosen, WEIGHTS, tmp_path / "whole")
    cut = write(base, chosen, WEIGHTS, tmp_path / "cut", max_rank=3)
    assert (whole.rank, cut.rank) == (14, 3)
    lost = total = 0.0
    ours, theirs = load_file(tmp_path / "cut" / modules.WEIGHTS), load_file(tmp_path / "whole" / modules.WEIGHTS)
    for key in theirs:
        if "lora_A" in key:
            other = key.replace("lora_A", "lora_B")
            full, part = theirs[other].double() @ theirs[key].double(), ours[other].double() @ ours[key].double()
            best = torch.linalg.svdvals(full)[3:].square().sum()
            assert float((full - part).square().sum()) == pytest.approx(float(best), rel=1e-3, abs=1e-9)
            lost += float(best)
            total += float(full.square().sum())
    assert cut.energy_kept == pytest.approx(1 - lost / total, abs=1e-6)


def test_svd_of_the_factors_equals_the_dense_one():
    generator = torch.Generator().manual_seed(0)
    for outputs, inputs, rank in ((7, 9, 3), (5, 4, 8), (6, 6, 6), (1, 3, 2)):
        b, a = torch.randn(outputs, rank, generator=generator), torch.randn(rank, inputs, generator=generator)
        thin = export.compress(b, a)
        assert torch.allclose(thin.left @ torch.diag(thin.values) @ thin.right, (b @ a).double(), atol=1e-5)
        assert torch.allclose(thin.values, torch.linalg.svdvals((b @ a).double())[: len(thin.values)], atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_same_mix_gives_the_same_bytes(load, three, tmp_path, dtype):
    base = load("llama")
    for name in ("one", "two"):
        write(base, three("llama"), WEIGHTS, tmp_path / name, dtype=dtype)
    one, two = ({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert {str(t.dtype) for t in load_file(tmp_path / "one" / modules.WEIGHTS).values()} == {f"torch.{dtype}"}


def test_modules_of_weight_zero_leave_no_trace(load, three, tmp_path):
    base = load("llama")
    first, second, third = three("llama")
    write(base, [first, second, third], [0.7, 0.0, 0.2], tmp_path / "one")
    write(base, [first, third], [0.7, 0.2], tmp_path / "two")
    assert (tmp_path / "one" / modules.WEIGHTS).read_bytes() == (tmp_path / "two" / modules.WEIGHTS).read_bytes()


def test_layers_of_smaller_rank_are_padded(load, adapters, tmp_path):
    base = load("llama")
    chosen = [adapters("llama", 5, rank_pattern={"q_proj": 2, "v_proj": 6})]
    done = write(base, chosen, [1.0], tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert done.rank == config["r"] == config["lora_alpha"] == 6
    assert config["rank_pattern"] == {} and config["use_rslora"] is False
    assert {t.shape[0] if "lora_A" in k else t.shape[1] for k, t in load_file(tmp_path / "out" / modules.WEIGHTS).items()} == {6}
    assert close(logits(through_peft(base, as_module(tmp_path / "out"))), mixed(base, chosen, [1.0]))


def test_a_mix_that_cancels_out_is_the_base(load, adapters, tmp_path):
    base = load("llama")
    module = adapters("llama", 5)
    done = write(base, [module, module], [0.5, -0.5], tmp_path / "out")
    assert done.rank == 1 and done.energy_kept == 1.0
    assert close(logits(through_peft(base, as_module(tmp_path / "out"))), logits(base))


def test_target_modules_name_only_the_layers_changed(load, adapters, tmp_path):
    base = load("llama")
    every = adapters("llama", 5)
    some = adapters("llama", 6, layers_to_transform=[1])
    write(base, [every], [1.0], tmp_path / "every")
    write(base, [some], [1.0], tmp_path / "some")
    targets = [json.loads((tmp_path / name / "adapter_config.json").read_text())["target_modules"] for name in ("every", "some")]
    assert targets == [["q_proj", "v_proj"], ["model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]]
    assert close(logits(through_peft(base, as_module(tmp_path / "some"))), mixed(base, [some], [1.0]))


@pytest.mark.parametrize("layers", [None, ("model.blocks.0.adapter_list.0", "model.q_proj")])
def test_places_in_a_list_are_no_names_of_their_own(layers):
    names = {"model.blocks.0.adapter_list.0": 2, "model.q_proj": 2}
    assert Layout("a/base", "CAUSAL_LM", layers, frozenset()).config(names, "serving")["target_modules"] == list(names)


def test_lorahub_refuses_modules_that_differ(load, three):
    with pytest.raises(ComposeError) as caught:
        bank.check_alike(bank.load(load("llama"), three("llama")).adapters)
    assert caught.value.code == "modules-differ" and "medley" in caught.value.message


def test_a_single_adapter_comes_out_as_it_was(load, adapters, tmp_path):
    base = load("llama")
    one = adapters("llama", 1)
    write(base, [one], [1.0], tmp_path / "out")
    theirs = load_file(f"{one.path}/adapter_model.safetensors")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["lora_alpha"] == config["r"]
    scale = bank.load(base, [one]).adapters[0].parts
    for name, ours in load_file(tmp_path / "out" / "adapter_model.safetensors").items():
        layer = name.removeprefix("base_model.model.").rsplit(".lora_", 1)[0]
        assert torch.equal(ours, theirs[name] if "lora_A" in name else theirs[name] * scale[layer].scale)


def rescaled(module, folder, times):
    """A copy whose A is `times` as large and whose B so much smaller: the same change."""
    copied = replace(edit_config(module, folder), id=f"acme/{folder.name}")
    tensors = load_file(f"{module.path}/adapter_model.safetensors")
    factors = {name: tensor * times if ".lora_A." in name else tensor / times for name, tensor in tensors.items()}
    save_file(factors, folder / "adapter_model.safetensors")
    return copied


@pytest.mark.parametrize("times", [1e3, 1e5, 1e7])
@pytest.mark.parametrize("by_use", [False, True])
def test_how_a_module_is_scaled_between_its_factors_does_not_matter(load, three, tmp_path, times, by_use):
    base, plain = load("llama"), three("llama")
    chosen = [rescaled(plain[0], tmp_path / "up", times), rescaled(plain[1], tmp_path / "down", 1 / times), plain[2]]
    changes = export.exact(bank.load(base, chosen).adapters, WEIGHTS)
    encoded = examples.encode(base, make_examples(), "{input}", "{output}")
    grams = use.grams(base, encoded, {name: change.a for name, change in changes.items()}) if by_use else None
    done = write(base, chosen, WEIGHTS, tmp_path / "out", grams=grams)
    assert done.energy_kept == pytest.approx(1.0)
    assert close(mixed(base, [as_module(tmp_path / "out")], [1.0]), mixed(base, plain, WEIGHTS))


@pytest.mark.parametrize("profile", ["peft", "serving"])
def test_a_file_may_be_as_small_as_it_says(load, three, tmp_path, profile):
    base, chosen = load("llama"), three("llama")
    with pytest.raises(ComposeError) as caught:
        write(base, chosen, WEIGHTS, tmp_path / "out", profile=profile, max_bytes=100)
    needed = int(re.search(r"([\d,]+) bytes", caught.value.message)[1].replace(",", ""))
    done = write(base, chosen, WEIGHTS, tmp_path / "out", profile=profile, max_bytes=needed)
    assert needed * 0.8 < done.bytes <= needed and done.rank == 1
    assert len(done.ranks) == (1 if profile == "peft" else done.changed)


def test_bytes_for_layers_that_are_left_out_go_to_the_others(load, three, tmp_path):
    base, chosen = load("llama"), three("llama")
    for most in range(1_000, 9_000, 500):
        done = write(base, chosen, WEIGHTS, tmp_path / "out", profile="peft", max_bytes=most)
        assert most - 700 < done.bytes <= most  # 700: a direction of the widest layer with the layer's names


def test_the_mean_rank_counts_layers_that_are_left_out(load, three, tmp_path):
    done = write(load("llama"), three("llama"), WEIGHTS, tmp_path / "out", profile="peft", mean_rank=1)
    assert len(done.ranks) < done.changed
    assert done.as_json(export.Options())["mean_rank"] <= 1


@pytest.mark.parametrize("name", ["\u65e5" * 60, 'say "so"', "\u00e9" * 40, "a" * 200])
@pytest.mark.parametrize("profile", ["peft", "serving"])
def test_long_and_foreign_names_keep_to_the_bytes(tmp_path, name, profile):
    generator = torch.Generator().manual_seed(0)
    changes = {f"{name}.{n}": export.Change(torch.randn(6, 4, generator=generator), torch.randn(4, 9, generator=generator)) for n in range(4)}
    layout = Layout("acme/tiny", None, None, frozenset())
    whole = export.export(changes, layout, export.Options(profile=profile, dtype="float32"), str(tmp_path)).bytes
    for most in range(whole - 400, whole + 60, 20):
        try:
            done = export.export(changes, layout, export.Options(profile=profile, dtype="float32", max_bytes=most), str(tmp_path))
        except ComposeError:
            assert most < whole
        else:
            assert done.bytes <= most and (most < whole + 40 or done.bytes == whole)


def test_of_layers_only_those_that_change_are_written(tmp_path):
    changes = {"m.big": export.Change(torch.ones(400, 1), torch.ones(1, 400)), "m.small": export.Change(torch.zeros(2, 1), torch.zeros(1, 2))}
    with pytest.raises(ComposeError) as caught:
        export.export(changes, Layout("acme/tiny", None, None, frozenset()), export.Options(profile="peft", max_bytes=900), str(tmp_path))
    assert caught.value.code == "setting-out-of-range" and "one layer" in caught.value.message
