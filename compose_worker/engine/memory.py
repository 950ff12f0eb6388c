"""Goes on with half as much at a time where the device runs out of memory, and says so clearly where one example is too much."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from compose_worker.engine.errors import ComposeError
from compose_worker.engine.examples import Batch

logger = logging.getLogger(__name__)

Made = TypeVar("Made")


def fitting(tokens: int, batches: Callable[[int], Sequence[Batch]], run: Callable[[Sequence[Batch]], Made], device: torch.device) -> tuple[Made, int]:
    """What `run` makes of the batches of so many tokens, or of as many as fit; and how many those are."""
    while True:
        made = batches(tokens)
        try:
            return run(made), tokens
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
        if all(len(batch.rows) == 1 for batch in made):
            longest = max(made, key=lambda batch: batch.inputs["input_ids"].shape[1]).rows[0]
            raise ComposeError(
                "out-of-memory", f"The worker's memory is too small for one example at a time. Shorten example {longest + 1}, or use fewer adapters."
            )
        tokens = max(1, tokens // 2)
        logger.warning("out of memory: going on with %s tokens in a forward", tokens)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _is_out_of_memory(error: BaseException) -> bool:
    # The allocator for the CPU has no error of its own.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
