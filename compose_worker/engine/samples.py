"""Writes sample answers to a few of the examples: the bare base model's, the best single adapter's, and those of what was found."""

import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import GenerationConfig

from compose_worker.engine import examples, forgetting, memory
from compose_worker.engine.base_models import Base
from compose_worker.engine.choice import Choice
from compose_worker.engine.examples import Encoded
from compose_worker.engine.hung import hung
from compose_worker.engine.search import Found, Task
from compose_worker.engine.spec import Spec

logger = logging.getLogger(__name__)
LONGEST = 64  # tokens of an answer
MOST = 2000  # characters of an answer that are kept
FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)  # of a model whose own code for writing text does not work
ROOM = 8  # tokens that an answer may be longer than the longest one wanted
Answering = Callable[[], AbstractContextManager[Any]]  # hangs on the base model what shall answer


def answers(spec: Spec, task: Task, found: Found, choice: Choice, enough: Callable[[], object]) -> dict[str, Any] | None:
    """Answer up to `spec.samples` examples, spread over the folds, greedily. JSON: no words of the examples, only the numbers of their rows.

    `held_out` says whether the mix that answers an example learned without it. `enough` is asked between answers; what it raises stops them.
    """
    rows = _rows(task, spec.samples)
    if not rows:
        return None
    try:
        return memory.or_none("sample answers", lambda: _answers(spec, task, found, choice, rows, enough))
    except FAULTS:  # the result is written, and does not depend on how this model writes
        logger.exception("no sample answers: %s does not write", type(task.evaluator.bank.base.model).__name__)
        return None


def _answers(spec: Spec, task: Task, found: Found, choice: Choice, rows: Sequence[int], enough: Callable[[], object]) -> dict[str, Any]:
    best, bare = task.best_single(), [0.0] * task.count
    said = {"base": _said(task, rows, _mix(task, bare), enough), "best_single": _said(task, rows, _mix(task, best.weights), enough), "composed": {}}
    for part, answering in _composed(spec, task, found, choice, rows):
        said["composed"] |= _said(task, part, answering, enough)
    alone = next(module.id for module, weight in zip(spec.modules, best.weights, strict=True) if weight)
    lines = [{"row": row, **{name: by_row[row] for name, by_row in said.items()}} for row in rows]
    return {"held_out": _is_held_out(found, choice), "best_single": alone, "rows": lines}


def _rows(task: Task, count: int) -> list[int]:
    """The first rows of each fold in turn; without folds the first rows."""
    folds = task.folds or (tuple(range(len(task.evaluator.encoded))),)
    turns = [fold[turn] for turn in range(max(map(len, folds))) for fold in folds if turn < len(fold)]
    return sorted(turns[:count])


def _is_held_out(found: Found, choice: Choice) -> bool:
    return choice.candidate != "mix" or not found.learned or bool(found.by_fold and choice.change is None and not choice.is_cut)


def _composed(spec: Spec, task: Task, found: Found, choice: Choice, rows: Sequence[int]) -> list[tuple[list[int], Answering]]:
    """What answers which rows: of a mix that learned, the weights found without a row's fold; else the adapter that was written."""
    if choice.candidate == "mix" and choice.change is None and not choice.is_cut and found.by_fold:
        parts = [([row for row in rows if row in fold], _mix(task, mix)) for fold, mix in zip(task.folds, found.by_fold, strict=True)]
        return [(part, answering) for part, answering in parts if part]
    factors = forgetting.read(spec.out_dir)
    return [(list(rows), lambda: hung(task.evaluator.bank.base, factors))]


def _mix(task: Task, weights: Any) -> Answering:
    return lambda: task.evaluator.bank.mixed(torch.tensor(weights, dtype=torch.float32))


def _said(task: Task, rows: Sequence[int], answering: Answering, enough: Callable[[], object]) -> dict[int, str]:
    found: dict[int, str] = {}
    longest = min(LONGEST, ROOM + max(task.evaluator.tokens))
    pads = _pads(task.evaluator.bank.base)
    for group in _groups([task.evaluator.encoded[row] for row in rows], task.evaluator.forward_tokens, longest, pads):
        enough()
        with answering(), torch.inference_mode():
            found |= _generate(task, group, longest)
    return found


def _pads(base: Base) -> bool:
    """Whether prompts of different lengths can stand side by side: an encoder masks what stands behind them, a decoder counts positions from the mask.

    One that is not told positions counts padding too, or reads it into its state.
    """
    return base.is_seq2seq or "position_ids" in inspect.signature(base.model.forward).parameters


def _groups(encoded: Sequence[Encoded], tokens: int, longest: int, pads: bool) -> list[list[Encoded]]:
    """Examples that are answered together: as many as fit into a forward, of one length or padded to the longest of them."""
    groups: list[list[Encoded]] = []
    for e in sorted(encoded, key=lambda e: (len(e.prompt), e.row)):
        alike = pads or (groups and len(groups[-1][0].prompt) == len(e.prompt))
        if groups and alike and (len(e.prompt) + longest) * (len(groups[-1]) + 1) <= tokens:
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
    filler = next((number for number in (base.tokenizer.pad_token_id, end) if number is not None and base.knows(number)), 0)
    # Before a decoder's prompt, so that every line goes on from its own last token; behind an encoder's, which may count positions from the first.
    padding = [[filler] * (width - len(e.prompt)) for e in group]
    lines = [[*e.prompt, *pad] if base.is_seq2seq else [*pad, *e.prompt] for e, pad in zip(group, padding, strict=True)]
    masks = [[1] * len(e.prompt) + [0] * len(pad) if base.is_seq2seq else [0] * len(pad) + [1] * len(e.prompt) for e, pad in zip(group, padding, strict=True)]
    ids, mask = torch.tensor(lines, device=base.device), torch.tensor(masks, device=base.device)
    how = GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=longest, eos_token_id=end, pad_token_id=filler)
    if base.is_seq2seq:
        how.decoder_start_token_id = examples.start(base)
    written = base.model.generate(input_ids=ids, attention_mask=mask, generation_config=how)  # type: ignore[operator]
    begin = 0 if base.is_seq2seq else width
    said = [str(base.tokenizer.decode(line[begin:], skip_special_tokens=True)) for line in written.tolist()]
    return {e.row: text.replace("\0", "").strip()[:MOST] for e, text in zip(group, said, strict=True)}  # no database keeps the character 0
