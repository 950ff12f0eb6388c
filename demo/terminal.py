"""What the demo says in the terminal: numbered steps, one line that updates itself, a table; and its one kind of error."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO


class DemoError(Exception):
    """A step did not work; the message says what is wrong and how to mend it."""


class Terminal:
    """Writes steps and progress; on a pipe the updating line becomes a plain line now and then."""

    def __init__(self, steps: int, out: TextIO | None = None, every: float = 5.0) -> None:
        self.out = out or sys.stdout
        self.steps = steps
        self.every = every  # seconds between two plain progress lines
        self._step = 0
        self._shown = ""  # what stands in the updating line
        self._last = 0.0

    def step(self, title: str) -> None:
        self._step += 1
        self.line(f"\n[{self._step}/{self.steps}] {title}")

    def line(self, text: str = "") -> None:
        self.end_progress()
        print(text, file=self.out, flush=True)

    def progress(self, text: str) -> None:
        """Show `text` in place of the last progress."""
        if self.out.isatty():
            print("\r" + text.ljust(len(self._shown)), end="", file=self.out, flush=True)
            self._shown = text
        elif text != self._shown and time.monotonic() - self._last >= self.every:
            print(text, file=self.out, flush=True)
            self._shown, self._last = text, time.monotonic()

    def end_progress(self) -> None:
        if self._shown and self.out.isatty():
            print(file=self.out, flush=True)
        self._shown = ""


def bar(done: int, total: int, width: int = 24) -> str:
    """A progress bar, such as `[######------] 6/12`."""
    filled = width * min(done, total) // total if total > 0 else 0
    return f"[{'#' * filled}{'-' * (width - filled)}] {done}/{total}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the first one left, the others right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True)))

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *(line(row) for row in rows)])
