"""What an adapter does to other text: nothing where it is nothing, and what peft's model does where it is something."""

import copy

import pytest
import torch
from peft import PeftModel

from compose_worker.engine import forgetting, run
from tests.engine.conftest import Watcher
from tests.engine.test_bank import logits
from tests.engine.test_export import write


def test_an_adapter_without_effect_forgets_nothing(load, three, kind, tmp_path):
    base = load(kind)
    module = three(kind)[0]
    write(base, [module, module], [0.5, -0.5], tmp_path / "out")
    found = forgetting.measure(base, str(tmp_path / "out"))
    assert found["change"] == pytest.approx(0.0, abs=1e-6) and found["kl"] == pytest.approx(0.0, abs=1e-6) and found["tokens"] > 100


def test_it_is_what_peft_shows(load, three, kind, tmp_path):
    base = load(kind)
    write(base, three(kind), [0.7, -0.4, 0.2], tmp_path / "out", profile="peft", mean_rank=4, dtype="bfloat16")
    found = forgetting.measure(base, str(tmp_path / "out"))
    other = PeftModel.from_pretrained(copy.deepcopy(base.model), tmp_path / "out").eval()
    kl = loss = bare = 0.0
    count = 0
    with torch.inference_mode():
        for ids in forgetting._paragraphs(base):
            tokens = torch.tensor([ids])
            half = len(ids) // 2
            given = {"input_ids": tokens[:, :half], "decoder_input_ids": tokens[:, half:]} if base.is_seq2seq else {"input_ids": tokens}
            wanted = tokens[0, half + 1 :] if base.is_seq2seq else tokens[0, 1:]
            before, after = (torch.log_softmax(m(**given).logits[0, :-1].float(), -1) for m in (base.model, other))
            kl += float(torch.nn.functional.kl_div(after, before, log_target=True, reduction="sum"))
            loss += float(torch.nn.functional.nll_loss(after, wanted, reduction="sum"))
            bare += float(torch.nn.functional.nll_loss(before, wanted, reduction="sum"))
            count += len(wanted)
    assert found["tokens"] == count and found["kl"] == pytest.approx(kl / count, rel=1e-2) and found["kl"] > 0.01
    assert (found["base_loss"], found["loss"]) == (pytest.approx(bare / count, rel=1e-4), pytest.approx(loss / count, rel=1e-3))
    assert found["change"] == pytest.approx((loss - bare) / count, abs=1e-2)


def test_the_base_is_as_before(load, three, tmp_path):
    base = load("llama")
    before = logits(base)
    write(base, three("llama"), [1.0, 0.0, 0.0], tmp_path / "out")
    forgetting.measure(base, str(tmp_path / "out"))
    assert torch.equal(logits(base), before)


def test_the_sentence():
    said = forgetting.sentence({"base_loss": 3.4, "loss": 3.55, "change": 0.15, "kl": 0.02, "tokens": 400})
    assert said == (
        "On ordinary text the model's loss rises from 3.400 to 3.550 with this adapter, and its predictions move by 0.020 nats a token "
        "(KL divergence from the base model, 400 tokens)."
    )
    assert "falls" in forgetting.sentence({"base_loss": 3.4, "loss": 3.3, "change": -0.1, "kl": 0.02, "tokens": 400})


def test_the_text_is_a_few_hundred_words_of_several_kinds():
    text = forgetting.TEXT.read_text()
    assert 300 < len(text.split()) < 600 and text.isascii() and "def average" in text


def test_without_memory_for_a_paragraph_it_is_not_told(load, three, tmp_path, monkeypatch):
    base = load("llama")
    monkeypatch.setattr(forgetting, "read", lambda folder: {})

    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(forgetting, "_predictions", fail)
    assert forgetting.measure(base, str(tmp_path)) is None


def test_a_tokenizer_that_knows_none_of_the_words(load, tmp_path, monkeypatch):
    monkeypatch.setattr(forgetting, "read", lambda folder: {})
    monkeypatch.setattr(forgetting, "_paragraphs", lambda base: [])
    assert forgetting.measure(load("llama"), str(tmp_path)) is None


def test_that_it_could_not_be_measured_is_said(make_spec, three, taught, monkeypatch):
    chosen = three("llama")
    monkeypatch.setattr(forgetting, "_paragraphs", lambda base: [])
    result = run.compose(make_spec("endless", chosen, "linear", examples=taught(chosen, [0.8, 0.6, 0.0])), Watcher())
    assert result.report["forgetting"] is None and any("ordinary text is not known" in note for note in result.report["notes"])
