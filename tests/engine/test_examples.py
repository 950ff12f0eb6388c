"""Tokens, batches and the loss: independent of batch size and padding, and honest about what does not fit."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from compose_worker.engine import base_models, examples
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.spec import Example
from tests.engine.conftest import WORDS, make_examples, save_tokenizer

PROMPT, TARGET = "{input} Answer:", " {output}"


def outcomes(base, encoded, tokens):
    found = {}
    for batch in examples.batches(base, encoded, tokens):
        outcome = examples.run(base, batch)
        found.update(zip(batch.rows, zip(outcome.sums, outcome.exact, strict=True), strict=True))
    return [found[e.row] for e in encoded]


def test_the_loss_does_not_depend_on_batches_and_padding(load, kind):
    base = load(kind)
    encoded = examples.encode(base, make_examples(12), PROMPT, TARGET)
    alone = outcomes(base, encoded, 1)
    for tokens in (30, 80, 4096):
        for ours, theirs in zip(outcomes(base, encoded, tokens), alone, strict=True):
            assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
            assert ours[1] == theirs[1]


def test_padding_changes_nothing_even_when_there_is_much_of_it(load, kind, monkeypatch):
    base = load(kind)
    encoded = examples.encode(base, make_examples(12), PROMPT, TARGET)
    alone = outcomes(base, encoded, 1)
    monkeypatch.setattr(examples, "FORWARD_COST", 1e9)
    assert len(examples.batches(base, encoded)) == 1
    assert [s for s, _ in outcomes(base, encoded, 4096)] == pytest.approx([s for s, _ in alone], rel=1e-5)


@pytest.mark.parametrize(
    ("device", "wanted", "backward", "tokens"),
    [("cpu", 0, False, 512), ("cpu", 0, True, 256), ("cuda", 0, False, 2048), ("cuda", 0, True, 1024), ("cuda", 77, False, 77), ("cpu", 1, True, 1)],
)
def test_a_forward_takes_as_many_tokens_as_wanted_or_as_suit_the_device(load, device, wanted, backward, tokens):
    assert examples.room(replace(load("llama"), device=torch.device(device)), wanted, backward) == tokens


def test_the_loss_is_the_one_transformers_computes(load):
    base = load("llama")
    for example in examples.encode(base, make_examples(4), PROMPT, TARGET):
        ids = torch.tensor([[*example.prompt, *example.answer]])
        labels = torch.tensor([[-100] * len(example.prompt) + list(example.answer)])
        expected = float(base.model(input_ids=ids, labels=labels).loss) * len(example.answer)
        (found,) = outcomes(base, [example], 1)
        assert found[0] == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_an_encoder_decoder_is_the_one_transformers_computes(load):
    base = load("t5")
    for example in examples.encode(base, make_examples(4), PROMPT, TARGET):
        expected = float(base.model(input_ids=torch.tensor([example.prompt]), labels=torch.tensor([example.answer])).loss) * len(example.answer)
        (found,) = outcomes(base, [example], 1)
        assert found[0] == pytest.approx(expected, rel=1e-5)


def greedy(base, asked, count):
    answer = []
    for _ in range(count):
        if base.is_seq2seq:
            inputs = {"input_ids": torch.tensor([asked]), "decoder_input_ids": torch.tensor([[0, *answer]])}
        else:
            inputs = {"input_ids": torch.tensor([[*asked, *answer]])}
        answer.append(int(base.model(**inputs, use_cache=False).logits[0, -1].argmax()))
    return tuple(answer)


def test_exact_means_that_greedy_decoding_gives_the_answer(load, kind):
    base = load(kind)
    for encoded in examples.encode(base, make_examples(6), PROMPT, TARGET):
        answer = greedy(base, encoded.prompt, 3)
        right = examples.Encoded(0, encoded.prompt, answer)
        wrong = examples.Encoded(1, encoded.prompt, (*answer[:2], (answer[2] + 1) % 40))
        assert [exact for _, exact in outcomes(base, [right, wrong], 4096)] == [True, False]


def test_only_answer_positions_reach_the_vocabulary(load, kind):
    base = load(kind)
    seen = []
    handle = base.model.get_output_embeddings().register_forward_hook(lambda layer, args, output: seen.append(output.shape[:-1].numel()))
    try:
        encoded = examples.encode(base, make_examples(5), PROMPT, TARGET)
        outcomes(base, encoded, 4096)
    finally:
        handle.remove()
    assert sum(seen) == sum(len(e.answer) for e in encoded)


def test_the_answer_ends_with_the_end_token(load, kind):
    base = load(kind)
    (encoded,) = examples.encode(base, [Example("w1 w2", "w3")], PROMPT, TARGET)
    words = {token: base.tokenizer.convert_tokens_to_ids(token) for token in ("w1", "w2", "w3", "Answer", ":", "</s>")}
    assert encoded.answer == (words["w3"], words["</s>"])
    asked = tuple(words[token] for token in ("w1", "w2", "Answer", ":"))
    assert encoded.prompt == ((*asked, words["</s>"]) if kind == "t5" else asked)


def test_braces_in_an_example_are_plain_text(load):
    (encoded,) = examples.encode(load("llama"), [Example("{output} {0} w1", "w2 {input}")], PROMPT, TARGET)
    assert len(encoded.prompt) > 3


@pytest.mark.parametrize(("eos", "pad"), [(None, None), ("</s>", None), (None, "<pad>")])
def test_a_tokenizer_without_pad_or_end(base_paths, tmp_path, eos, pad):
    reference = base_models.load(base_paths["llama"], "cpu", "float32")
    save_tokenizer(tmp_path, eos, pad)
    tokenizer = base_models.AutoTokenizer.from_pretrained(tmp_path)
    base = base_models.Base("", reference.model, tokenizer, reference.device, reference.dtype, False)
    encoded = examples.encode(base, make_examples(6), PROMPT, TARGET)
    assert all((e.answer[-1] == 1) == (eos is not None) for e in encoded)
    assert [s for s, _ in outcomes(base, encoded, 4096)] == pytest.approx([s for s, _ in outcomes(base, encoded, 1)], rel=1e-5)


@pytest.mark.parametrize("output", ["", " ", "\n\t"])
def test_an_empty_output_is_named_by_its_row(load, output):
    with pytest.raises(ComposeError, match="Example 3") as caught:
        examples.encode(load("llama"), [*make_examples(2), Example("w1", output)], PROMPT, TARGET)
    assert caught.value.code == "example-empty"


@pytest.mark.parametrize(("kind", "length"), [("llama", 61), ("gpt2", 61)])
def test_an_example_longer_than_the_context_is_named_by_its_row(load, kind, length):
    fits = Example(" ".join(WORDS[:1] * (length - 1)), "w1")
    long = Example(" ".join(WORDS[:1] * length), "w1")
    examples.encode(load(kind), [fits], PROMPT, TARGET)
    with pytest.raises(ComposeError, match="Example 2") as caught:
        examples.encode(load(kind), [fits, long], PROMPT, TARGET)
    assert caught.value.code == "example-too-long"


def test_no_examples(load):
    with pytest.raises(ComposeError) as caught:
        examples.encode(load("llama"), [], PROMPT, TARGET)
    assert caught.value.code == "examples-missing"


def test_an_empty_input_is_allowed(load, kind):
    base = load(kind)
    encoded = examples.encode(base, [Example("", "w1")], "{input}", TARGET)
    assert len(encoded[0].prompt) == 1
    assert outcomes(base, encoded, 1)[0][0] > 0


def test_an_output_that_the_tokenizer_takes_for_nothing_is_named_by_its_row(load, monkeypatch):
    base = load("endless")
    whole = type(base.tokenizer).__call__
    monkeypatch.setattr(type(base.tokenizer), "__call__", lambda self, text, **more: {"input_ids": []} if text == "\u200b" else whole(self, text, **more))
    with pytest.raises(ComposeError, match="Example 2") as caught:
        examples.encode(base, [Example("w1", "w2"), Example("w1", "\u200b")], "{input}", "{output}")
    assert caught.value.code == "example-empty"


@pytest.mark.parametrize("example", [Example("w1 \ud800", "w2"), Example("w1", "\udfff")])
def test_half_a_character_is_named_by_its_row(load, example):
    with pytest.raises(ComposeError, match="Example 1") as caught:
        examples.encode(load("llama"), [example], PROMPT, TARGET)
    assert caught.value.code == "example-not-text"


def test_a_tokenizer_that_ends_every_text_ends_no_prompt(load, tmp_path):
    base = load("llama")
    plain = examples.encode(base, [Example("w1 w2", "w3")], PROMPT, TARGET)
    save_tokenizer(tmp_path, appends_eos=True)
    ending = replace(base, tokenizer=AutoTokenizer.from_pretrained(tmp_path))
    assert ending.tokenizer("w1")["input_ids"][-1] == base.tokenizer.eos_token_id
    assert examples.encode(ending, [Example("w1 w2", "w3")], PROMPT, TARGET) == plain
    assert examples.encode(ending, [Example("", "w3")], "{input}", TARGET)[0].prompt == (examples.start(ending),)


def test_an_answer_begins_as_it_does_behind_the_prompt(load):
    """Tokenizers of the kind that Llama 2 has put a mark before every text; behind a prompt it would be a second space."""
    base = load("llama")
    words = ["<unk>", "</s>", *"\u2581w12Answer:\nyes", "\u2581\u2581"]
    marking = Tokenizer(models.BPE({word: i for i, word in enumerate(dict.fromkeys(words))}, [("\u2581", "\u2581")], unk_token="<unk>"))
    marking.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=marking, unk_token="<unk>", eos_token="</s>")
    (encoded,) = examples.encode(replace(base, tokenizer=tokenizer), [Example("w1 w2", "yes")], PROMPT, TARGET)
    assert tokenizer.convert_ids_to_tokens(encoded.answer) == ["\u2581", "y", "e", "s", "</s>"]
    assert [*encoded.prompt, *encoded.answer[:-1]] == tokenizer("w1 w2 Answer: yes")["input_ids"]


def test_an_end_that_prompt_and_target_say_stays(load):
    base = load("llama")
    (encoded,) = examples.encode(base, [Example("w1 w2", "w3")], "{input} </s>", " {output} </s>")
    assert base.tokenizer.convert_ids_to_tokens(encoded.prompt) == ["w1", "w2", "</s>"]
    assert base.tokenizer.convert_ids_to_tokens(encoded.answer) == ["w3", "</s>", "</s>"]
