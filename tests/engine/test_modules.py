"""Modules that cannot be mixed are refused, each with its reason and a stable code."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compose_worker.engine import bank, modules
from compose_worker.engine.errors import ComposeError
from tests.engine.conftest import edit_config


def refused(base, module):
    with pytest.raises(ComposeError) as caught:
        bank.load(base, [module])
    assert module.id in caught.value.message
    return caught.value


def edit_tensors(module, folder, change):
    copied = edit_config(module, folder)
    tensors = load_file(Path(module.path) / modules.WEIGHTS)
    change(tensors)
    save_file(tensors, Path(folder) / modules.WEIGHTS)
    return copied


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"peft_type": "VERA"}, "VERA"),
        ({"peft_type": None}, "NONE"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "embeddings"),
        ({"layer_replication": [[0, 1]]}, "replicated"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"rank_pattern": {"(a+)+$": 4}}, "too complicated"),
        ({"rank_pattern": {"a" * 300: 4}}, "too complicated"),
        ({"rank_pattern": {".?.?.?.?Z": 4}}, "too complicated"),
        ({"rank_pattern": {"[": 4}}, "not a regular expression"),
        ({"rank_pattern": ["q_proj"]}, "not a table"),
    ],
)
def test_what_the_algebra_does_not_cover(load, adapters, tmp_path, changes, reason):
    error = refused(load("llama"), edit_config(adapters("llama", 5), tmp_path / "m", **changes))
    assert error.code == "module-unsupported" and reason in error.message


@pytest.mark.parametrize(
    "key", ["base_model.model.model.embed_tokens.lora_embedding_A", "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "x.bias"]
)
def test_tensors_that_are_no_lora_factors(load, adapters, tmp_path, key):
    module = edit_tensors(adapters("llama", 5), tmp_path / "m", lambda tensors: tensors.update({key: torch.ones(4, 4)}))
    assert refused(load("llama"), module).code == "module-unsupported"


def test_a_copy_of_an_output_layer_is_named(load, adapters, tmp_path):
    key = "base_model.model.lm_head.base_layer.weight"
    error = refused(load("llama"), edit_tensors(adapters("llama", 5), tmp_path / "m", lambda tensors: tensors.update({key: torch.ones(4, 4)})))
    assert error.code == "module-unsupported" and key in error.message and "save_embedding_layers=False" in error.message


def test_no_tensors_at_all(load, adapters, tmp_path):
    assert refused(load("llama"), edit_tensors(adapters("llama", 5), tmp_path / "m", dict.clear)).code == "module-unsupported"


@pytest.mark.parametrize(
    "changes", [{"r": 5}, {"r": 0}, {"lora_alpha": "much"}, {"lora_alpha": True}, {"alpha_pattern": {"q_proj": None}}, {"rank_pattern": {"v_proj": 2}}]
)
def test_a_config_that_does_not_match_the_tensors(load, adapters, tmp_path, changes):
    assert refused(load("llama"), edit_config(adapters("llama", 5), tmp_path / "m", **changes)).code == "module-mismatch"


def test_a_module_of_another_base(load, adapters):
    assert refused(load("llama"), adapters("gpt2", 5)).code == "module-mismatch"


def test_shapes_of_another_base(load, adapters, tmp_path):
    def widen(tensors):
        for key in [k for k in tensors if "lora_A" in k]:
            tensors[key] = torch.ones(4, 64)

    assert refused(load("llama"), edit_tensors(adapters("llama", 5), tmp_path / "m", widen)).code == "module-mismatch"


def test_half_a_pair(load, adapters, tmp_path):
    module = edit_tensors(adapters("llama", 5), tmp_path / "m", lambda tensors: tensors.pop(next(k for k in tensors if "lora_B" in k)))
    assert refused(load("llama"), module).code == "module-mismatch"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(load, adapters, tmp_path, value):
    def spoil(tensors):
        next(iter(tensors.values()))[0, 0] = value

    assert refused(load("llama"), edit_tensors(adapters("llama", 5), tmp_path / "m", spoil)).code == "module-not-finite"


def test_files_that_do_not_open(load, adapters, tmp_path):
    base = load("llama")
    for name, content in (("adapter_model.safetensors", b"\x08\0\0\0\0\0\0\0{}"), ("adapter_config.json", b"{"), ("adapter_config.json", b"[]")):
        module = edit_config(adapters("llama", 5), tmp_path / "m")
        (tmp_path / "m" / name).write_bytes(content)
        assert refused(base, module).code == "module-unreadable"
        (tmp_path / "m" / name).unlink()
        assert refused(base, module).code == "module-unreadable"


def test_whole_number_formats_of_a_config_are_fine(load, adapters, tmp_path):
    module = edit_config(adapters("llama", 5), tmp_path / "m", rank_pattern=None, alpha_pattern={}, lora_alpha=8.0)
    assert bank.load(load("llama"), [module]).adapters[0].parts["model.layers.0.self_attn.q_proj"] == modules.Part(4, 2.0)


@pytest.mark.parametrize("changes", [{"r": 10**400}, {"lora_alpha": 1e300}, {"lora_alpha": float("nan")}, {"alpha_pattern": {"q_proj": -1e9}}])
def test_numbers_that_no_adapter_has(load, adapters, tmp_path, changes):
    assert refused(load("llama"), edit_config(adapters("llama", 5), tmp_path / "m", **changes)).code == "module-mismatch"


def test_a_config_nested_too_deeply(load, adapters, tmp_path):
    module = edit_config(adapters("llama", 5), tmp_path / "m")
    (tmp_path / "m" / modules.CONFIG).write_text("[" * 100_000 + "]" * 100_000)
    assert refused(load("llama"), module).code == "module-unreadable"


def test_no_memory_to_map_a_file_is_not_its_fault(adapters, load, monkeypatch):
    def fail(*args, **more):
        raise RuntimeError("unable to mmap 9 bytes from file: Cannot allocate memory (12)")

    monkeypatch.setattr(torch, "from_file", fail)
    with pytest.raises(RuntimeError, match="mmap"):
        modules.read(adapters("llama", 1), load("llama").layers())
