"""Measures what an adapter does to text that it was not made for: the change of the base model's loss, and how far its predictions move."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from compose_worker.engine import examples, memory, modules
from compose_worker.engine.base_models import Base
from compose_worker.engine.hung import Factors, hung

TEXT = Path(__file__).with_name("neutral.txt")  # our own words, under this project's licence
LONGEST = 128  # tokens of one paragraph that are read; bounds the memory


def measure(base: Base, folder: str) -> dict[str, Any] | None:
    """Read the finished adapter in `folder` back and compare the base model with and without it on the neutral text.

    The bare model is asked anew each time: that costs a few hundred tokens, and keeping its predictions would cost a vocabulary for each.
    None where that cannot be told: the tokenizer takes the text for nothing, or the device has no memory for a paragraph.
    """
    return memory.or_none("the change on ordinary text", lambda: _measured(base, folder))


def _measured(base: Base, folder: str) -> dict[str, Any] | None:
    factors = read(folder)
    loss = {"base": 0.0, "adapter": 0.0}
    moved, count = 0.0, 0
    for ids in _paragraphs(base):
        before, wanted = _predictions(base, ids, {})
        after, _ = _predictions(base, ids, factors)
        loss["base"] -= float(before.gather(1, wanted[:, None]).sum())
        loss["adapter"] -= float(after.gather(1, wanted[:, None]).sum())
        moved += float((before.exp() * (before - after)).sum())
        count += len(wanted)
    if not count:
        return None
    base_loss, own = loss["base"] / count, loss["adapter"] / count
    return {"base_loss": base_loss, "loss": own, "change": own - base_loss, "kl": max(0.0, moved / count), "tokens": count}


def sentence(found: Mapping[str, Any]) -> str:
    """The finding in words."""
    direction = "rises" if found["change"] > 0 else "falls"
    return (
        f"On ordinary text the model's loss {direction} from {found['base_loss']:.3f} to {found['loss']:.3f} with this adapter, and its predictions move by "
        f"{found['kl']:.3f} nats a token (KL divergence from the base model, {found['tokens']} tokens)."
    )


def read(folder: str) -> Factors:
    """Return the change that a file of ours makes, as factors by layer."""
    # The file was written by `export`: alpha is the rank of every layer, so the factors are the whole change.
    with safe_open(Path(folder) / modules.WEIGHTS, framework="pt") as file:
        names = sorted({key.removeprefix(modules.PREFIX).rsplit(".lora_", 1)[0] for key in file.keys()})  # noqa: SIM118  not a dict
        return {name: (file.get_tensor(modules.keys(name)[1]).float(), file.get_tensor(modules.keys(name)[0]).float()) for name in names}


def _paragraphs(base: Base) -> list[list[int]]:
    longest = min(LONGEST, base.context or LONGEST)
    pieces = [base.tokenizer(piece, add_special_tokens=False)["input_ids"][:longest] for piece in TEXT.read_text(encoding="utf-8").split("\n\n")]
    return [ids for ids in pieces if len(ids) >= 4]


def _predictions(base: Base, ids: Sequence[int], factors: Factors) -> tuple[Tensor, Tensor]:
    """Log-probabilities (tokens, vocabulary) of each next token, and which came. An encoder-decoder reads the first half and writes the second."""
    tokens = torch.tensor([list(ids)], device=base.device)
    if base.is_seq2seq:
        half = len(ids) // 2
        inputs = {"input_ids": tokens[:, :half], "decoder_input_ids": tokens[:, half:-1]}
        wanted = tokens[0, half + 1 :]
    else:
        inputs, wanted = {"input_ids": tokens[:, :-1]}, tokens[0, 1:]
    with hung(base, factors), torch.inference_mode():
        logits = base.model(**inputs, use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), dim=-1).nan_to_num(-examples.OVERFLOW, neginf=-examples.OVERFLOW), wanted
