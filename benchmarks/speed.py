"""Measures what Medley's speed is said to be: ratios of two things done by the same machine in the same run, never seconds alone.

Usage: python -m benchmarks.speed [--only a,b,...] [--threads N] [--cache FOLDER] [--table docs/benchmarks/speed.md]
Each part runs in a process of its own. Part (a) makes an environment with the package `lorahub` in the cache folder, once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "a": "A whole LoraHub job: 20 modules, 5 examples, 40 evaluations, export",
    "b": "A search over its evaluations' bare forwards",
    "c": "16 candidates in one population over 16 one by one",
    "d": "Ranking 1,000 modules",
    "e": "Export by QR against a dense SVD",
    "f": "Peak memory over base model and modules",
}
# The reference and the last releases that it works with: peft and transformers changed under it. `datasets` and `pandas` it forgets to require.
REFERENCE = ("transformers==4.46.3", "peft==0.13.2", "numpy<2.3", "nevergrad==1.0.12", "datasets", "pandas", "accelerate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts one after the other, and print and write what they found."""
    options = _options(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for part in options.only:
        print(f"({part}) {PARTS[part]}", flush=True)
        for line in _measured(part, options):
            lines.append({"part": part, **line})
            print(f"    {line['what']}: {line['found']} (aim: {line['aim'] or 'none'})", flush=True)
    if options.table:
        options.table.parent.mkdir(parents=True, exist_ok=True)
        options.table.write_text(table(lines, options.threads), encoding="utf-8")
        print(f"Wrote {options.table}")


def table(lines: Sequence[Mapping[str, Any]], threads: int) -> str:
    """The page for docs/benchmarks."""
    rows = [f"| {line['part']} | {line['what']} | {line['found']} | {line['aim']} |" for line in lines]
    head = [
        "# Speed",
        "",
        "`python -m benchmarks.speed` measured this in one run, every ratio between two things done by the same machine. Models have random weights",
        "and real sizes: speed does not depend on the numbers. [How to read it](README.md#speed).",
        "",
        f"Python {platform.python_version()}, torch {version('torch')}, {threads} thread{'s' if threads > 1 else ''}, no GPU.",
        "",
        "| part | what | measured | aim |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help="parts, such as a,c")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / "benchmarks" / "speed", help="models, modules and the reference's environment")
    parser.add_argument("--table", type=Path, help="write the results here")
    options = parser.parse_args(arguments)
    if wrong := [part for part in options.only if part not in PARTS]:
        parser.error(f"there is no part {wrong[0]!r}; choose from {', '.join(PARTS)}")
    return options


def _measured(part: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(options.threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "LORAHUB_PYTHON": str(reference(options.cache)) if part == "a" else "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed_parts", part, str(options.cache.resolve())],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def reference(cache: Path) -> Path:
    """Return the Python of an environment with the reference implementation; made where there is none."""
    folder = (cache / "lorahub").resolve()
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        # Its list of requirements names another package than the one it imports, so it comes without.
        subprocess.run([*pip, "--no-deps", "lorahub==0.1.0"], check=True)
        subprocess.run([*pip, f"torch=={version('torch').split('+')[0]}", *REFERENCE], check=True)
        (folder / "ready").touch()
    return python


if __name__ == "__main__":
    main()
