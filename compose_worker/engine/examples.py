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

FORWARD_TOKENS = 2048  # padded tokens in one forward; bounds the memory
ON_A_CPU = 512  # there more at a time are no faster, and take four times the memory
BACKWARD = 2  # a forward with a backward keeps every layer's activations, and so takes this part of the tokens
FORWARD_COST = 160  # what a forward costs before its first token, in tokens: reading and unpacking the weights
ANSWER_SHARE = 4  # at most one position in so many goes through the vocabulary projection at a time
NAMED = 3  # doubts of a kind that a report names
OVERFLOW = 1e6  # nats that a token counts whose prediction is no finite number: more than any other, and a number that can be compared and kept
SLICE = 16  # positions whose loss is taken at a time: numbers for the whole vocabulary, in float32


@dataclass(frozen=True)
class Encoded:
    """One example as tokens; `row` is its number in the spec, from 0."""

    row: int
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Lines of tokens in one forward: a candidate's answer to an example each. `where` marks the positions whose next token belongs to an answer."""

    rows: tuple[int, ...]  # by line: the example
    owners: tuple[int, ...]  # by line: the candidate
    inputs: dict[str, Tensor]
    where: Tensor  # (batch, length), bool
    wanted: Tensor  # (answer tokens,)
    counts: tuple[int, ...]  # answer tokens by row


@dataclass(frozen=True)
class Outcome:
    """How the model did on each line of a batch."""

    sums: tuple[float, ...]  # loss in nats, summed over the line's answer
    exact: tuple[bool, ...]  # whether greedy decoding gives the whole answer
    total: Tensor  # the sum over the batch, to go backward from


def doubts(examples: Sequence[Example]) -> list[str]:
    """Say which examples contradict each other, and which are there more than once; rows are counted from 1."""
    asked: dict[str, dict[str, list[int]]] = {}
    for number, example in enumerate(examples, 1):
        asked.setdefault(example.input.strip(), {}).setdefault(example.output.strip(), []).append(number)
    torn = [sorted(row for rows in answers.values() for row in rows) for answers in asked.values() if len(answers) > 1]
    repeated = [rows for answers in asked.values() for rows in answers.values() if len(rows) > 1]
    found = [f"{_rows(rows)} ask the same and want different answers, of which no model can give all." for rows in torn[:NAMED]]
    found += [f"{_rows(rows)} are the same, which counts {len(rows)} times." for rows in repeated[:NAMED]]
    return found


def _rows(numbers: Sequence[int]) -> str:
    shown = [str(number) for number in numbers]
    return f"Examples {', '.join(shown[:-1])} and {shown[-1]}"


def encode(base: Base, examples: Sequence[Example], prompt: str, target: str) -> tuple[Encoded, ...]:
    """Tokenise every example: the prompt, and the answer with the end-of-sequence token if the tokenizer has one."""
    if not examples:
        raise ComposeError("examples-missing", "There are no examples. Give at least one input with its output.")
    return tuple(_encode(base, row, example, prompt, target) for row, example in enumerate(examples))


def _encode(base: Base, row: int, example: Example, prompt: str, target: str) -> Encoded:
    try:
        f"{example.input}{example.output}".encode()
    except UnicodeEncodeError as error:
        raise ComposeError("example-not-text", f"Example {row + 1} holds half of a character (a lone surrogate). Write the character whole.") from error
    if not example.output.strip():
        raise ComposeError("example-empty", f"Example {row + 1} has an empty output. Write the answer wanted, or remove the example.")
    asked, answer = _tokens(base, prompt.replace("{input}", example.input), target.replace("{output}", example.output))
    if not answer:
        raise ComposeError(
            "example-empty", f"Example {row + 1} has an output that is nothing to the base model's tokenizer. Write the answer wanted, or remove the example."
        )
    if base.tokenizer.eos_token_id is not None:
        answer = [*answer, base.tokenizer.eos_token_id]
    if (strange := next((token for token in (*asked, *answer) if not base.knows(token)), None)) is not None:
        said = base.tokenizer.convert_ids_to_tokens(strange)
        raise ComposeError("example-token-unknown", f"Example {row + 1} holds {str(said)[:40]!r}, a token that the base model has no numbers for. Remove it.")
    longest = max(len(asked), len(answer)) if base.is_seq2seq else len(asked) + len(answer)
    if base.context is not None and longest > base.context:
        raise ComposeError("example-too-long", f"Example {row + 1} takes {longest} tokens, and the base model reads {base.context}. Shorten it or remove it.")
    if not asked:
        asked = [start(base)]
    return Encoded(row, tuple(asked), tuple(answer))


def _tokens(base: Base, prompt: str, target: str) -> tuple[list[int], list[int]]:
    """The tokens of prompt and answer, the answer's as they are behind the prompt: by itself, text may begin with a mark of its own."""
    asked = list(base.tokenizer(prompt)["input_ids"])
    answer = list(base.tokenizer(target, add_special_tokens=False)["input_ids"])
    if base.is_seq2seq or not answer:
        return asked, answer
    whole = list(base.tokenizer(prompt + target)["input_ids"])
    end = base.tokenizer.eos_token_id
    # Some tokenizers end every text, and nobody answers behind the end; one that the prompt itself says stays.
    if whole[-1:] == [end] and _ends(asked, end) > _ends(base.tokenizer(prompt, add_special_tokens=False)["input_ids"], end):
        asked, whole = asked[:-1], whole[:-1]
    if len(whole) > len(asked) and whole[: len(asked)] == asked:
        return asked, whole[len(asked) :]
    return asked, answer


def _ends(tokens: Sequence[int], end: int | None) -> int:
    """How many end tokens stand last."""
    return next((place for place, token in enumerate(reversed(tokens)) if token != end), len(tokens))


def room(base: Base, wanted: int = 0, backward: bool = False) -> int:
    """Padded tokens in one forward: as many as wanted, or (0) as suit the device; fewer where a backward follows."""
    tokens = wanted or (ON_A_CPU if base.device.type == "cpu" else FORWARD_TOKENS)
    return max(1, tokens // BACKWARD) if backward else tokens


def batches(base: Base, encoded: Sequence[Encoded], tokens: int = 0, owners: Sequence[Sequence[int]] | None = None) -> list[Batch]:
    """Spread examples over forwards of at most so many tokens (0: as suit the device).

    `owners` names the candidates that answer each example (default: one, for all).
    """
    tokens = room(base, tokens)
    whose = owners if owners is not None else [(0,)] * len(encoded)
    copies = max(1, sum(map(len, whose)) // max(1, len(encoded)))
    make = _seq2seq_batch if base.is_seq2seq else _causal_batch
    made = []
    for group in _groups([_width(base, e) for e in encoded], tokens, FORWARD_COST / copies):
        lines = sorted((owner, index) for index in group for owner in whose[index])
        width = max(_width(base, encoded[index]) for index in group)
        answers = sum(len(encoded[index].answer) for _, index in lines)
        parts = max(-(-len(lines) * width // tokens), -(-answers * ANSWER_SHARE // tokens))
        made += [make(base, [encoded[i] for _, i in part], tuple(owner for owner, _ in part)) for part in _even(lines, parts)]
    return made


def _width(base: Base, example: Encoded) -> int:
    """Tokens the example takes in a forward; the last token of a decoder's answer predicts nothing, so it is not fed."""
    return max(1, len(example.prompt) + len(example.answer) - (not base.is_seq2seq))


def _groups(widths: Sequence[int], tokens: int, cost: float) -> list[list[int]]:
    """Part the examples, ordered by width, so that padded tokens plus `cost` for each group are fewest."""
    order = sorted(range(len(widths)), key=lambda index: (widths[index], index))
    best: list[tuple[float, int]] = [(0.0, 0)]  # by number of examples placed: the cost, and where the last group begins
    for end in range(1, len(order) + 1):
        width = widths[order[end - 1]]
        starts = [start for start in range(end) if (end - start) * width <= tokens or start == end - 1]
        best.append(min((best[start][0] + (end - start) * width + cost, start) for start in starts))
    groups = []
    end = len(order)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups[::-1]


def _even(items: list[tuple[int, int]], parts: int) -> list[list[tuple[int, int]]]:
    parts = max(1, min(parts, len(items)))
    return [items[len(items) * i // parts : len(items) * (i + 1) // parts] for i in range(parts)]


def _causal_batch(base: Base, group: Sequence[Encoded], owners: tuple[int, ...]) -> Batch:
    # Padding stands on the right, where no real token looks: no mask is needed, and attention takes its fast path.
    lines = [(*e.prompt, *e.answer)[:-1] for e in group]
    ids, mask = _pad(lines, lines[0][0])
    where = torch.zeros_like(mask, dtype=torch.bool)
    for line, example in enumerate(group):
        where[line, len(example.prompt) - 1 : len(lines[line])] = True
    return _batch(base, group, owners, {"input_ids": ids}, where)


def _seq2seq_batch(base: Base, group: Sequence[Encoded], owners: tuple[int, ...]) -> Batch:
    ids, mask = _pad([e.prompt for e in group], start(base))
    decoder, decoder_mask = _pad([(start(base), *e.answer[:-1]) for e in group], start(base))
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": decoder}
    return _batch(base, group, owners, inputs, decoder_mask.bool())


def _batch(base: Base, group: Sequence[Encoded], owners: tuple[int, ...], inputs: dict[str, Tensor], where: Tensor) -> Batch:
    if "attention_mask" in inputs and bool(inputs["attention_mask"].all()):
        del inputs["attention_mask"]  # without one, attention takes its fast path
    wanted = torch.tensor([token for e in group for token in e.answer])
    device = base.device
    return Batch(
        rows=tuple(e.row for e in group),
        owners=owners,
        inputs={name: tensor.to(device) for name, tensor in inputs.items()},
        where=where.to(device),
        wanted=wanted.to(device),
        counts=tuple(len(e.answer) for e in group),
    )


def _pad(lines: Sequence[Sequence[int]], filler: int) -> tuple[Tensor, Tensor]:
    width = max(len(line) for line in lines)
    ids = torch.tensor([[*line, *[filler] * (width - len(line))] for line in lines])
    mask = torch.tensor([[1] * len(line) + [0] * (width - len(line)) for line in lines])
    return ids, mask


def start(base: Base) -> int:
    """The token that stands before the first one: of a decoder that reads no prompt, or of an empty prompt."""
    config, tokenizer = base.model.config, base.tokenizer
    first = getattr(config, "decoder_start_token_id", None) if base.is_seq2seq else tokenizer.bos_token_id
    known = (first, tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((number for number in known if number is not None and base.knows(number)), 0)


def run(base: Base, batch: Batch) -> Outcome:
    """One forward: the loss and the exactness of every line's answer."""
    with _only(base, batch.where):
        logits = base.model(**batch.inputs, use_cache=False).logits
    logits = logits.reshape(-1, logits.shape[-1])  # (answer tokens, vocabulary)
    losses = _CrossEntropy.apply(logits, batch.wanted)
    found = losses.detach()
    right = (torch.cat([part.argmax(-1) for part in logits.detach().split(SLICE)]) == batch.wanted) & torch.isfinite(found)
    numbers, hits = torch.nan_to_num(found, OVERFLOW, OVERFLOW, OVERFLOW).clamp_max(OVERFLOW).tolist(), right.tolist()
    sums, exact, begin = [], [], 0
    for count in batch.counts:
        sums.append(sum(numbers[begin : begin + count]))
        exact.append(all(hits[begin : begin + count]))
        begin += count
    return Outcome(tuple(sums), tuple(exact), losses.sum())


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy in float32 of half-precision logits, a few positions at a time: never the whole vocabulary for all of them."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, wanted: Tensor) -> Tensor:
        ctx.save_for_backward(logits, wanted)
        pairs = zip(logits.split(SLICE), wanted.split(SLICE), strict=True)
        return torch.cat([torch.nn.functional.cross_entropy(part.float(), tokens, reduction="none") for part, tokens in pairs])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        logits, wanted = ctx.saved_tensors
        found = torch.empty_like(logits)
        for begin in range(0, len(logits), SLICE):
            part = logits[begin : begin + SLICE].float().softmax(-1)
            part[torch.arange(len(part), device=part.device), wanted[begin : begin + SLICE]] -= 1
            found[begin : begin + SLICE] = part * slopes[0][begin : begin + SLICE, None]
        return found, None


@contextmanager
def _only(base: Base, where: Tensor) -> Iterator[None]:
    """Let only the marked positions through the vocabulary projection, the dearest product of a small model."""
    head: Any = base.model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda layer, args: (args[0][where].unsqueeze(0),))
    try:
        yield
    finally:
        handle.remove()
