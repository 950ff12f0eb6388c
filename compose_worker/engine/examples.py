"""Turns examples into tokens and batches, and sums the loss of a batch; knows nothing of modules."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compose_worker.engine.base_models import Base
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.spec import Example

BATCH_TOKENS = 2048  # padded tokens in one forward; bounds the memory
GRADIENT_TOKENS = 1024  # the same with a backward, which keeps every layer's activations
WASTE = 1.15  # padded tokens a batch may have over its real ones


@dataclass(frozen=True)
class Encoded:
    """One example as tokens; `row` is its number in the spec, from 0."""

    row: int
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Some examples in one forward. `where` marks the positions whose next token belongs to an answer."""

    rows: tuple[int, ...]
    inputs: dict[str, Tensor]
    where: Tensor  # (batch, length), bool
    wanted: Tensor  # (answer tokens,)
    counts: tuple[int, ...]  # answer tokens by row


@dataclass(frozen=True)
class Outcome:
    """How the model did on each row of a batch."""

    sums: tuple[float, ...]  # loss in nats, summed over the row's answer
    exact: tuple[bool, ...]  # whether greedy decoding gives the whole answer
    total: Tensor  # the sum over the batch, to go backward from


def encode(base: Base, examples: Sequence[Example], prompt: str, target: str) -> tuple[Encoded, ...]:
    """Tokenise every example: the prompt, and the answer with the end-of-sequence token if the tokenizer has one."""
    if not examples:
        raise ComposeError("examples-missing", "There are no examples. Give at least one input with its output.")
    return tuple(_encode(base, row, example, prompt, target) for row, example in enumerate(examples))


def _encode(base: Base, row: int, example: Example, prompt: str, target: str) -> Encoded:
    if not example.output.strip():
        raise ComposeError("example-empty", f"Example {row + 1} has an empty output. Write the answer wanted, or remove the example.")
    asked = base.tokenizer(prompt.replace("{input}", example.input))["input_ids"]
    answer = base.tokenizer(target.replace("{output}", example.output), add_special_tokens=False)["input_ids"]
    if base.tokenizer.eos_token_id is not None:
        answer = [*answer, base.tokenizer.eos_token_id]
    longest = max(len(asked), len(answer)) if base.is_seq2seq else len(asked) + len(answer)
    if base.context is not None and longest > base.context:
        raise ComposeError("example-too-long", f"Example {row + 1} takes {longest} tokens, and the base model reads {base.context}. Shorten it or remove it.")
    if not asked:
        asked = [_start(base)]
    return Encoded(row, tuple(asked), tuple(answer))


def batches(base: Base, encoded: Sequence[Encoded], tokens: int = BATCH_TOKENS) -> list[Batch]:
    """Group examples of like length so that little is spent on padding."""

    def length(example: Encoded) -> int:
        return len(example.prompt) + len(example.answer)

    groups: list[list[Encoded]] = []
    for example in sorted(encoded, key=lambda e: (length(e), e.row)):
        if groups:
            padded = (len(groups[-1]) + 1) * length(example)
            real = sum(length(e) for e in groups[-1]) + length(example)
            if padded <= tokens and padded <= WASTE * real:
                groups[-1].append(example)
                continue
        groups.append([example])
    make = _seq2seq_batch if base.is_seq2seq else _causal_batch
    return [make(base, group) for group in groups]


def _causal_batch(base: Base, group: Sequence[Encoded]) -> Batch:
    # The last token predicts nothing, so it is not fed. Padding stands on the right, where no real token looks.
    lines = [(*e.prompt, *e.answer)[:-1] for e in group]
    ids, mask = _pad(base, lines)
    where = torch.zeros_like(mask, dtype=torch.bool)
    for line, example in enumerate(group):
        where[line, len(example.prompt) - 1 : len(lines[line])] = True
    return _batch(base, group, {"input_ids": ids, "attention_mask": mask}, where)


def _seq2seq_batch(base: Base, group: Sequence[Encoded]) -> Batch:
    ids, mask = _pad(base, [e.prompt for e in group])
    decoder, decoder_mask = _pad(base, [(_start(base), *e.answer[:-1]) for e in group])
    return _batch(base, group, {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": decoder}, decoder_mask.bool())


def _batch(base: Base, group: Sequence[Encoded], inputs: dict[str, Tensor], where: Tensor) -> Batch:
    if bool(inputs["attention_mask"].all()):
        del inputs["attention_mask"]  # without one, attention takes its fast path
    wanted = torch.tensor([token for e in group for token in e.answer])
    device = base.device
    return Batch(
        rows=tuple(e.row for e in group),
        inputs={name: tensor.to(device) for name, tensor in inputs.items()},
        where=where.to(device),
        wanted=wanted.to(device),
        counts=tuple(len(e.answer) for e in group),
    )


def _pad(base: Base, lines: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    width = max(len(line) for line in lines)
    filler = _filler(base)
    ids = torch.tensor([[*line, *[filler] * (width - len(line))] for line in lines])
    mask = torch.tensor([[1] * len(line) + [0] * (width - len(line)) for line in lines])
    return ids, mask


def _filler(base: Base) -> int:
    tokenizer = base.tokenizer
    return next((number for number in (tokenizer.pad_token_id, tokenizer.eos_token_id) if number is not None), 0)


def _start(base: Base) -> int:
    """The token that stands before the first one: of a decoder that reads no prompt, or of an empty prompt."""
    config, tokenizer = base.model.config, base.tokenizer
    first = getattr(config, "decoder_start_token_id", None) if base.is_seq2seq else tokenizer.bos_token_id
    return next((number for number in (first, tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) if number is not None), 0)


def run(base: Base, batch: Batch) -> Outcome:
    """One forward: the loss and the exactness of every row's answer."""
    with _only(base, batch.where):
        logits = base.model(**batch.inputs, use_cache=False).logits
    logits = logits.reshape(-1, logits.shape[-1]).float()  # (answer tokens, vocabulary)
    losses = torch.nn.functional.cross_entropy(logits, batch.wanted, reduction="none")
    right = (logits.argmax(-1) == batch.wanted).tolist()
    numbers = losses.detach().double().tolist()
    sums, exact, begin = [], [], 0
    for count in batch.counts:
        sums.append(sum(numbers[begin : begin + count]))
        exact.append(all(right[begin : begin + count]))
        begin += count
    return Outcome(tuple(sums), tuple(exact), losses.sum())


@contextmanager
def _only(base: Base, where: Tensor) -> Iterator[None]:
    """Let only the marked positions through the vocabulary projection, the dearest product of a small model."""
    head: Any = base.model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda layer, args: (args[0][where].unsqueeze(0),))
    try:
        yield
    finally:
        handle.remove()
