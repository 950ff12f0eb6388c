"""Base models: kept in memory, and refused with a reason when they cannot be used."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from compose_worker.engine import base_models, fingerprint
from compose_worker.engine.errors import ComposeError
from tests.engine.conftest import VOCABULARY, save_tokenizer


def code(path, **more):
    with pytest.raises(ComposeError) as caught:
        base_models.load(str(path), **more)
    return caught.value.code


def with_config(base_paths, folder, **changes):
    shutil.copytree(base_paths["llama"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_it_stays_loaded(base_paths):
    first = base_models.load(base_paths["llama"], "cpu", "float32")
    assert base_models.load(base_paths["llama"], "cpu", "float32") is first
    assert base_models.load(base_paths["llama"], "cpu", "bfloat16") is not first
    assert not any(parameter.requires_grad for parameter in first.model.parameters())
    base_models.forget()
    assert base_models.load(base_paths["llama"], "cpu", "float32") is not first


def test_a_folder_that_holds_another_model_now_is_read_again(base_paths, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(base_paths["llama"], folder)
    first = base_models.load(str(folder), "cpu", "float32")
    tensors = load_file(folder / "model.safetensors")
    before = fingerprint.of(folder)
    save_file({name: t * 1.5 for name, t in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    second = base_models.load(str(folder), "cpu", "float32")
    assert fingerprint.of(folder) != before == fingerprint.of(base_paths["llama"])
    assert second is not first and base_models.load(str(folder), "cpu", "float32") is second
    name = next(name for name, _ in first.model.named_parameters())
    assert torch.allclose(dict(second.model.named_parameters())[name], 1.5 * dict(first.model.named_parameters())[name])


def test_a_fingerprint_sees_every_file_and_the_end_of_large_ones(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(64 * 16_384 + 1))
    seen = {fingerprint.of(tmp_path)}
    for offset in (0, 16_383, 500_000, 64 * 16_384 - 1):
        data = bytearray(64 * 16_384 + 1)
        data[offset] = 1
        (tmp_path / "model.safetensors").write_bytes(data)
        seen.add(fingerprint.of(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    seen.add(fingerprint.of(tmp_path))
    for name in ("notes.md", "LICENSE.txt", "results.json"):
        (tmp_path / name).write_text("no part of the model")
        seen.add(fingerprint.of(tmp_path))
    assert len(seen) == 6


def test_as_many_stay_as_fit(base_paths):
    base_models.forget()
    bases = {kind: base_models.load(base_paths[kind], "cpu", "float32") for kind in ("llama", "gpt2", "t5")}
    assert all(base_models.load(base_paths[kind], "cpu", "float32") is base for kind, base in bases.items())
    room = bases["t5"].bytes + bases["llama"].bytes
    base_models.load(base_paths["llama"], "cpu", "float32", keep=room)  # gpt2 is the one not used for longest but one
    assert base_models.load(base_paths["llama"], "cpu", "float32", keep=room) is bases["llama"]
    assert base_models.load(base_paths["gpt2"], "cpu", "float32", keep=1) is not bases["gpt2"]  # itself always stays
    assert base_models.load(base_paths["llama"], "cpu", "float32") is not bases["llama"]


def test_automatic_device_and_number_format(base_paths):
    base = base_models.load(base_paths["llama"])
    assert base.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert base.dtype in (torch.float32, torch.bfloat16)


def test_kinds_of_models(load):
    assert [load(kind).task_type for kind in ("llama", "gpt2", "t5")] == ["CAUSAL_LM", "CAUSAL_LM", "SEQ_2_SEQ_LM"]
    assert [load(kind).context for kind in ("llama", "gpt2", "t5")] == [64, 64, None]


def test_a_model_the_worker_does_not_have(tmp_path):
    assert code(tmp_path / "nowhere") == "base-model-unavailable"
    assert code(tmp_path) == "base-model-unavailable"


def test_damaged_files(base_paths, tmp_path):
    folder = with_config(base_paths, tmp_path / "cut")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    assert code(folder) == "base-model-unavailable"
    (folder / "model.safetensors").unlink()
    assert code(folder) == "base-model-unavailable"
    (folder / "config.json").write_text("[]")
    assert code(folder) == "base-model-unavailable"


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_weights_that_a_file_lacks_are_not_made_up(base_paths, tmp_path, kind):
    folder = tmp_path / kind
    shutil.copytree(base_paths[kind], folder)
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if name.endswith(("up_proj.weight", "wi.weight", "wi_0.weight")))
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, folder / "model.safetensors", metadata={"format": "pt"})
    assert code(folder) == "base-model-unavailable"
    save_file({f"other.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    assert code(folder) == "base-model-unavailable"


@pytest.mark.parametrize(
    ("field", "value"), [("num_attention_heads", 5), ("num_hidden_layers", 3), ("hidden_size", "many"), ("vocab_size", None), ("pad_token_id", 10**6)]
)
def test_a_config_that_its_files_do_not_follow(base_paths, tmp_path, field, value):
    assert code(with_config(base_paths, tmp_path / "odd", **{field: value})) == "base-model-unavailable"


@pytest.mark.parametrize("broken", [{"model": {"type": "Odd"}}, {"model": None}, {"pre_tokenizer": {"type": "Odd"}}])
def test_a_tokenizer_that_is_json_and_damaged(base_paths, tmp_path, broken):
    folder = with_config(base_paths, tmp_path / "odd")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **broken}))
    assert code(folder) == "base-model-unavailable"


def test_a_type_that_is_no_word(base_paths, tmp_path):
    assert code(with_config(base_paths, tmp_path / "listed", model_type=["llama"])) == "base-model-unsupported"


def test_code_in_the_folder_is_not_run(base_paths, tmp_path):
    folder = with_config(base_paths, tmp_path / "code", model_type="mine", auto_map={"AutoConfig": "mine.Mine"})
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert code(folder) == "base-model-unsupported"
    assert not (tmp_path / "ran").exists()


def test_a_model_that_writes_no_text(base_paths, tmp_path):
    assert code(with_config(base_paths, tmp_path / "vit", model_type="vit")) == "base-model-unsupported"


def test_a_quantised_model(base_paths, tmp_path):
    assert code(with_config(base_paths, tmp_path / "int4", quantization_config={"quant_method": "gptq"})) == "base-model-unsupported"


def test_a_gpu_that_is_not_there(base_paths, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert code(Path(base_paths["llama"]), device="cuda") == "device-unavailable"


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_the_faster_activation_is_the_same_function(base_paths, load, kind):
    base = load(kind)
    plain = type(base.model).from_pretrained(base_paths[kind], dtype=torch.float32).eval()
    ids = torch.tensor([[7, 8, 9, 10, 1]])
    inputs = {"input_ids": ids} if kind == "gpt2" else {"input_ids": ids, "decoder_input_ids": ids}
    with torch.inference_mode():
        assert torch.allclose(base.model(**inputs).logits, plain(**inputs).logits, rtol=1e-4, atol=1e-5)
    found = {type(layer) for layer in base.model.modules()}
    assert (torch.nn.GELU in found) is (kind == "gpt2") and base_models.NewGELUActivation not in found


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_an_encoder_with_a_head_for_the_next_word_would_see_the_answer(tmp_path, kind):
    config = AutoConfig.for_model(
        kind, vocab_size=len(VOCABULARY), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    assert code(tmp_path) == "base-model-unsupported"


def test_a_model_that_loads_but_does_not_run(base_paths, monkeypatch):
    base_models.forget()

    def fail(*args, **kwargs):
        raise RuntimeError("expected mat1 and mat2 to have the same dtype")

    monkeypatch.setattr(LlamaForCausalLM, "forward", fail)
    assert code(Path(base_paths["llama"])) == "base-model-unsupported"


def test_a_model_without_numbers_is_not_taken_for_an_encoder(base_paths, tmp_path):
    folder = with_config(base_paths, tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert base_models.load(str(folder), "cpu", "float32").model is not None  # the first measurement says what is wrong with it


def test_a_config_nested_too_deeply(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000 + "]" * 100_000)
    assert code(tmp_path) == "base-model-unavailable"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_too_little_memory_for_the_model(base_paths, monkeypatch, error):
    base_models.forget()

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(base_models.AutoModelForCausalLM, "from_pretrained", fail)
    assert code(Path(base_paths["llama"])) == "out-of-memory"
