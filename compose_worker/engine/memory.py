"""Goes on with half as much at a time where the device runs out of memory, and says so clearly where one example is too much."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch

from compose_worker.engine.errors import ComposeError

if TYPE_CHECKING:  # examples know base models, which know this file
    from compose_worker.engine.examples import Batch

logger = logging.getLogger(__name__)

# The allocator for the CPU, C++ and the libraries of a GPU have no error of their own.
SAID = ("can't allocate memory", "annot allocate memory", "not enough memory", "bad_alloc", "bad allocation", "_ALLOC_FAILED", "out of memory")

Made = TypeVar("Made")


def fitting(tokens: int, batches: Callable[[int], Sequence["Batch"]], run: Callable[[Sequence["Batch"]], Made], device: torch.device) -> tuple[Made, int]:
    """What `run` makes of the batches of so many tokens, or of as many as fit; and how many those are."""
    while True:
        made = batches(tokens)
        try:
            return run(made), tokens
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
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


@contextmanager
def enough_for(what: str) -> Iterator[None]:
    """Say clearly that there is no memory for what is loaded or measured here."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ComposeError("out-of-memory", f"The worker's memory is too small for {what}. Ask the operator for more, or use less.") from error


def or_none(what: str, run: Callable[[], Made]) -> Made | None:
    """What `run` makes, or None where there is no memory for it and a result can do without."""
    try:
        return run()
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("out of memory: %s left out", what, exc_info=True)
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in SAID)
