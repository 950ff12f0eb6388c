"""Turns the measurements of the transfer benchmark into a page."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Self

Turn = dict[str, float]  # seconds of each row
SENTENCES = {"upload": "upload by Xet", "upload-open-file": "upload by LFS", "download": "download"}
# Row, what it is compared with, what it is called, and what it should reach.
UPLOADS = [
    ("bare", "bare", "read + sha256 + write", ""),
    ("bare, durable", "bare", "the same, until it is on the disk (fsync)", ""),
    ("xet sink", "bare", "`upload_file` by Xet to a server that keeps nothing", ""),
    ("xet", "bare", "**`upload_file` by Xet to Medley**", "0.5"),
    ("lfs sink", "bare", "`upload_file` of an open file, by LFS, to a server that keeps nothing", ""),
    ("lfs", "bare", "**`upload_file` of an open file, by LFS, to Medley**", "0.5"),
]
DOWNLOADS = [
    ("plain get", "plain get", "plain GET from `python -m http.server`", ""),
    ("get", "plain get", "**plain GET from Medley**", "0.9"),
    ("hf sink", "plain get", "`hf_hub_download` from a server that only sends the file", ""),
    ("hf", "plain get", "`hf_hub_download` from Medley", ""),
]
REQUESTS = [
    ("empty", "empty", "HEAD of an empty view", ""),
    ("head", "empty", "**HEAD of a file (resolve)**", "0.5"),
    ("head, token", "empty", "HEAD of a file with an access token", ""),
]


@dataclass(frozen=True)
class Machine:
    """What was measured on."""

    cores: int
    gigabytes: int
    load: float

    @classmethod
    def now(cls) -> Self:
        """Look at this one, before anything starts."""
        memory = int(Path("/proc/meminfo").read_text().split()[1])
        return cls(os.cpu_count() or 1, round(memory / 1e6), os.getloadavg()[0])

    def __str__(self) -> str:
        names = ("Django", "gunicorn", "huggingface-hub", "hf-xet")
        packages = ", ".join(f"{name} {version(name)}" for name in names)
        return (
            f"{self.cores} cores, {self.gigabytes} GB of memory, Linux, Python {platform.python_version()}, {packages}. Load before the run: {self.load:.1f}."
        )


def line(turn: Turn) -> str:
    """Return one turn in short."""
    return "  ".join(f"{name} {1 / taken:.0f}/s" if name.startswith(("empty", "head")) else f"{name} {taken:.2f}" for name, taken in turn.items())


def write(turns: list[Turn], memory: dict[int, dict[str, float]], machine: Machine, size: int) -> str:
    """Return the page."""
    by_xet, by_lfs = _ratio(turns, "xet", "xet sink"), _ratio(turns, "lfs", "lfs sink")
    busy = "" if machine.load < machine.cores / 4 else "\n**The machine was busy with other things: read the ratios, not the seconds.**\n"
    return f"""# Transfer

`python -m benchmarks.transfer --megabytes {size // 1_000_000} --turns {len(turns)}` wrote this page. {machine}
{busy}
One file of {size / 1e6:.0f} MB (bfloat16 weights), client and server on one machine, over the loopback, with one disk. All rows are measured in turn,
{len(turns)} times. Seconds and ratios are medians; a ratio compares two rows of one turn: 1.0 is as fast, 0.5 takes twice as long. The hub runs as
`manage.py run` starts it: gunicorn, one process, eight threads.

## Upload

{_table(UPLOADS, turns)}

The server that keeps nothing shows the work of the client: by Xet it cuts the file into chunks, hashes each chunk and the file, and tries to compress; by LFS
it hashes the file before it sends anything. With this client no server can be faster on this machine. Medley takes {by_xet:.2f} times as long as that
server by Xet, and {by_lfs:.2f} times by LFS.

## Download

{_table(DOWNLOADS, turns)}

`hf_hub_download` takes {_ratio(turns, "hf", "hf sink"):.2f} times as long from Medley as from a server that does no more than sending the file.

## Requests

{_requests(turns)}

Eight connections that are kept open, one request at a time on each.

## Memory

The most memory that the server's process held, in MB:

| | {" | ".join(f"{size // 1_000_000} MB file" for size in memory)} |
|---|{"---:|" * len(memory)}
{_memory(memory)}
"""


def _table(rows: list[tuple[str, str, str, str]], turns: list[Turn]) -> str:
    lines = ["| | seconds | ratio | aim |", "|---|---:|---:|---:|"]
    return "\n".join(
        lines + [f"| {title} | {median(turn[row] for turn in turns):.2f} | {_ratio(turns, base, row):.2f} | {aim} |" for row, base, title, aim in rows]
    )


def _requests(turns: list[Turn]) -> str:
    lines = ["| | requests/s | ratio | aim |", "|---|---:|---:|---:|"]
    return "\n".join(
        lines + [f"| {title} | {median(1 / turn[row] for turn in turns):.0f} | {_ratio(turns, base, row):.2f} | {aim} |" for row, base, title, aim in REQUESTS]
    )


def _memory(memory: dict[int, dict[str, float]]) -> str:
    return "\n".join(f"| {title} | {' | '.join(f'{found[kind]:.0f}' for found in memory.values())} |" for kind, title in SENTENCES.items())


def _ratio(turns: list[Turn], first: str, second: str) -> float:
    """Return how many times as long the first row takes as the second."""
    return median(turn[first] / turn[second] for turn in turns)
