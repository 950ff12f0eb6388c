"""Families of base models that differ from the three the other tests use: where they keep lines, how far they read, and how they write."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    BartConfig,
    BartForCausalLM,
    BartForConditionalGeneration,
    LEDConfig,
    LEDForConditionalGeneration,
    LongT5Config,
    LongT5ForConditionalGeneration,
    MptConfig,
    MptForCausalLM,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
)

from compose_worker.engine import bank, base_models, examples, run, samples
from compose_worker.engine.base_models import Base
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.evaluator import Evaluator
from compose_worker.engine.spec import Example
from tests.engine.conftest import VOCABULARY, Watcher, make_examples, save_tokenizer, write_adapter

SMALL = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
SIZES = {**SMALL, "vocab_size": len(VOCABULARY), "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
SIZES |= {"eos_token_id": None, "forced_eos_token_id": None, "tie_word_embeddings": False}  # BART would end every answer by force, or repeat itself


def made(kind):
    """A tiny model with random weights."""
    torch.manual_seed(0)
    if kind == "bart":
        return BartForConditionalGeneration(BartConfig(**SIZES, max_position_embeddings=64, decoder_start_token_id=2))
    if kind == "bart-decoder":
        return BartForCausalLM(BartConfig(**SIZES, max_position_embeddings=64, is_decoder=True, is_encoder_decoder=False, add_cross_attention=False))
    if kind == "led":
        limits = {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64, "attention_window": 8}
        return LEDForConditionalGeneration(LEDConfig(**SIZES, **limits, decoder_start_token_id=2))
    if kind == "switch":
        few = {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "num_experts": 8, "decoder_start_token_id": 0}
        return SwitchTransformersForConditionalGeneration(
            SwitchTransformersConfig(vocab_size=len(VOCABULARY), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=2, **few)
        )
    if kind == "longt5":
        blocks = {"encoder_attention_type": "transient-global", "global_block_size": 16, "decoder_start_token_id": 0}
        return LongT5ForConditionalGeneration(
            LongT5Config(vocab_size=len(VOCABULARY), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=2, **blocks)
        )
    return MptForCausalLM(MptConfig(d_model=32, n_heads=2, n_layers=2, expansion_ratio=2, max_seq_len=64, vocab_size=len(VOCABULARY)))


@pytest.fixture
def base(tmp_path):
    """Save and load a model of a family."""

    def load(kind):
        folder = tmp_path / kind
        with torch.no_grad():
            model = made(kind)
            for parameter in model.parameters():
                parameter.mul_(4)  # else random weights of a tiny model say the same whatever is asked
        model.save_pretrained(folder)
        save_tokenizer(folder, eos=None)
        return base_models.load(str(folder), "cpu", "float32")

    return load


def job(make_spec, base, tmp_path, **more):
    """A composition of two modules on the queries and values of the model."""
    names = {name.rsplit(".", 1)[-1] for name in base.layers()}
    targets = [name for name in ("q_proj", "v_proj", "Wqkv", "query", "value") if name in names]
    modules = [write_adapter(tmp_path / f"module{seed}", base.model, seed, target_modules=targets) for seed in (1, 2)]
    return make_spec("llama", modules, "linear", base_path=base.path, **more)


def plain(base: Base, prompt, count):
    """What the model writes for one prompt alone, by the plain definition."""
    ids, begin = ([examples.start(base)], 1) if base.is_seq2seq else (list(prompt), len(prompt))
    with torch.inference_mode():
        for _ in range(count):
            more = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([ids])} if base.is_seq2seq else {"input_ids": torch.tensor([ids])}
            ids.append(int(base.model(**more, use_cache=False).logits[0, -1].argmax()))
    return base.tokenizer.decode(ids[begin:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", ["bart", "bart-decoder", "mpt"])
def test_sample_answers_are_what_the_model_writes_alone(make_spec, base, tmp_path, kind):
    loaded = base(kind)
    spec, seen = job(make_spec, loaded, tmp_path, samples=8), []
    generate = samples._generate

    def watched(task, group, longest):
        seen.append((task, group, longest))
        return generate(task, group, longest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_generate", watched)
        report = run.compose(spec, Watcher()).report
    assert any(len({len(e.prompt) for e in group}) > 1 for _, group, _ in seen) is loaded.is_seq2seq  # prompts of an encoder stand side by side
    said = {line["row"]: line["base"] for line in report["samples"]["rows"]}
    encoded = {e.row: (e, longest) for _, group, longest in seen for e in group}
    assert said == {row: plain(loaded, e.prompt, longest) for row, (e, longest) in encoded.items()}
    assert len(set(said.values())) > 1


def test_lines_that_a_layer_reads_after_tokens_are_measured_one_by_one(make_spec, base, tmp_path):
    loaded = base("led")
    assert loaded.scattered and not base("bart").scattered
    spec = job(make_spec, loaded, tmp_path)
    modules = bank.load(loaded, spec.modules)
    evaluator = Evaluator(spec, modules, examples.encode(loaded, spec.examples, spec.prompt, spec.target), Watcher())
    assert not modules.takes_populations
    together = evaluator.measure_many("fold", [[1.0, 0.0], [0.0, 1.0]])
    assert [m.loss for m in together] == [evaluator.measure("search", w).loss for w in ([1.0, 0.0], [0.0, 1.0])]


@pytest.mark.parametrize("kind", ["switch", "longt5"])
def test_what_needs_more_than_a_few_tokens_to_run(base, kind):
    loaded = base(kind)
    assert loaded.is_seq2seq and not any("expert" not in name for name in loaded.scattered)


@pytest.mark.parametrize("kind", ["bart", "mpt", "led"])
def test_as_far_as_it_reads(make_spec, base, tmp_path, kind):
    loaded = base(kind)
    assert loaded.context == 64
    long = Example(" ".join(["w1"] * 80), "w2")
    with pytest.raises(ComposeError, match="Example 9 takes") as caught:
        run.compose(job(make_spec, loaded, tmp_path, examples=(*make_examples(), long)), Watcher())
    assert caught.value.code == "example-too-long"


def test_a_token_that_the_model_has_no_numbers_for(make_spec, base_paths, tmp_path, three):
    folder = tmp_path / "more-tokens"
    base_models.load(base_paths["llama"], "cpu", "float32").model.save_pretrained(folder)
    save_tokenizer(folder)
    tokenizer = base_models.load(str(folder), "cpu", "float32").tokenizer
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})  # as people do, without a row in the model's embeddings
    tokenizer.save_pretrained(folder)
    spec = make_spec("llama", three("llama"), "linear", base_path=str(folder), samples=8)
    loaded = base_models.load(str(folder), "cpu", "float32")
    assert loaded.tokenizer.pad_token_id >= len(VOCABULARY) and not loaded.knows(loaded.tokenizer.pad_token_id)
    assert run.compose(spec, Watcher()).report["samples"] is not None
    named = replace(spec, examples=(*spec.examples, Example("w1 [PAD] w2", "w1")), out_dir=str(tmp_path))
    with pytest.raises(ComposeError, match=r"Example 9 holds '\[PAD\]'") as caught:
        run.compose(named, Watcher())
    assert caught.value.code == "example-token-unknown"


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), MemoryError(), IndexError("odd")])
def test_a_result_does_not_depend_on_sample_answers(make_spec, three, taught, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(samples, "_generate", fails)
    modules = three("llama")
    result = run.compose(make_spec("endless", modules, examples=taught(modules, [0.8, 0.6, 0.0]), samples=8), Watcher())
    assert result.report["samples"] is None and "adapter_model.safetensors" in result.files
