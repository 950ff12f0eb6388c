"""Writes sample answers to a few of the examples: the bare base model's, the best single adapter's, and those of what was found."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import GenerationConfig

from compose_worker.engine import examples, forgetting
from compose_worker.engine.choice import Choice
from compose_worker.engine.examples import Encoded
from compose_worker.engine.hung import hung
from compose_worker.engine.search import Found, Task
from compose_worker.engine.spec import Spec

logger = logging.getLogger(__name__)
LONGEST = 64  # tokens of an answer
ROOM = 8  # tokens that an answer may be longer than the longest one wanted
Answering = Callable[[], AbstractContextManager[Any]]  # hangs on the base model what shall answer


def answers(spec: Spec, task: Task, found: Found, choice: Choice, enough: Callable[[], object]) -> dict[str, Any] | None:
    """Answer up to `spec.samples` examples, spread over the folds, greedily. JSON: no words of the examples, only the numbers of their rows.

    `held_out` says whether the mix that answers an example learned without it. `enough` is asked between answers; what it raises stops them.
    """
    rows = _rows(task, spec.samples)
    if not rows:
        return None
    best = task.best_single()
    held_out = _is_held_out(found, choice)
    try:
        said = {"base": _said(task, rows, nullcontext, enough), "best_single": _said(task, rows, _mix(task, best.weights), enough), "composed": {}}
        for part, answering in _composed(spec, task, found, choice, rows):
            said["composed"] |= _said(task, part, answering, enough)
    except torch.OutOfMemoryError:
        logger.warning("no sample answers: the device's memory is too small for them")
        return None
    alone = next(module.id for module, weight in zip(spec.modules, best.weights, strict=True) if weight)
    return {"held_out": held_out, "best_single": alone, "rows": [{"row": row, **{name: by_row[row] for name, by_row in said.items()}} for row in rows]}


def _rows(task: Task, count: int) -> list[int]:
    """The first rows of each fold in turn; without folds the first rows."""
    folds = task.folds or (tuple(range(len(task.evaluator.encoded))),)
    turns = [fold[turn] for turn in range(max(map(len, folds))) for fold in folds if turn < len(fold)]
    return sorted(turns[:count])


def _is_held_out(found: Found, choice: Choice) -> bool:
    return choice.candidate != "mix" or not found.learned or bool(found.by_fold and choice.change is None)


def _composed(spec: Spec, task: Task, found: Found, choice: Choice, rows: Sequence[int]) -> list[tuple[list[int], Answering]]:
    """What answers which rows: of a mix that learned, the weights found without a row's fold; else the adapter that was written."""
    if choice.candidate == "mix" and choice.change is None and found.by_fold:
        parts = [([row for row in rows if row in fold], _mix(task, mix)) for fold, mix in zip(task.folds, found.by_fold, strict=True)]
        return [(part, answering) for part, answering in parts if part]
    factors = forgetting.read(spec.out_dir)
    return [(list(rows), lambda: hung(task.evaluator.bank.base, factors))]


def _mix(task: Task, weights: Any) -> Answering:
    return lambda: task.evaluator.bank.mixed(torch.tensor(weights, dtype=torch.float32))


def _said(task: Task, rows: Sequence[int], answering: Answering, enough: Callable[[], object]) -> dict[int, str]:
    found: dict[int, str] = {}
    longest = min(LONGEST, ROOM + max(task.evaluator.tokens))
    for group in _groups([task.evaluator.encoded[row] for row in rows], task.evaluator.forward_tokens, longest):
        enough()
        with answering(), torch.inference_mode():
            found |= _generate(task, group, longest)
    return found


def _groups(encoded: Sequence[Encoded], tokens: int, longest: int) -> list[list[Encoded]]:
    """Examples that are answered together: as many as fit into a forward, padded to the longest of them."""
    groups: list[list[Encoded]] = []
    for e in sorted(encoded, key=lambda e: (len(e.prompt), e.row)):
        if groups and (len(e.prompt) + longest) * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(e)
        else:
            groups.append([e])
    return groups


def _generate(task: Task, group: Sequence[Encoded], longest: int) -> dict[int, str]:
    base = task.evaluator.bank.base
    width = max(len(e.prompt) for e in group)
    if base.context is not None and not base.is_seq2seq:
        longest = max(1, min(longest, base.context - width))
    end = base.tokenizer.eos_token_id
    filler = next((number for number in (base.tokenizer.pad_token_id, end) if number is not None), 0)
    # Padding stands on the left, so that every line goes on from its own last token.
    ids = torch.tensor([[*[filler] * (width - len(e.prompt)), *e.prompt] for e in group], device=base.device)
    mask = torch.tensor([[0] * (width - len(e.prompt)) + [1] * len(e.prompt) for e in group], device=base.device)
    how = GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=longest, eos_token_id=end, pad_token_id=filler)
    if base.is_seq2seq:
        how.decoder_start_token_id = examples.start(base)
    written = base.model.generate(input_ids=ids, attention_mask=mask, generation_config=how)  # type: ignore[operator]
    begin = 0 if base.is_seq2seq else width
    return {e.row: str(base.tokenizer.decode(line[begin:], skip_special_tokens=True)).strip() for e, line in zip(group, written.tolist(), strict=True)}
