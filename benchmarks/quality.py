"""Compares the composition methods with each other and with simple rivals on held-out rows of real tasks; goes on where it was interrupted.

Usage: python -m benchmarks.quality --base FOLDER [--tasks FOLDER] [--modules FOLDER] [--shots 5,20] [--seeds 5] ...
Without more than the base model it runs on the tasks and the starter adapters of the demo; docs/benchmarks/README.md says where more come from.
"""

import argparse
import hashlib
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import quality_report, rivals
from benchmarks.rivals import Cell, Lab
from compose_worker.engine import catalogue, fingerprint
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.modules import CONFIG, WEIGHTS, sha256
from compose_worker.engine.spec import Example, Module

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "var" / "benchmarks" / "quality.jsonl"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing from the results, then write the table and the plot."""
    options = _options(arguments)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    lines, made_with = read(options.results), _made_with(options)
    if options.minutes > 0 and (other := next((line["made_with"] for line in lines if line.get("made_with", made_with) != made_with), None)):
        different = ", ".join(name for name, value in made_with.items() if other.get(name) != value)
        raise SystemExit(f"{options.results} holds measurements made with other {different}. Name another file with --results.")
    done = {_key(line) for line in lines}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    _end_line(options.results)
    end = time.monotonic() + 60 * options.minutes
    lab = Lab(str(options.base), options.budget)
    for cell in cells(options):
        for method in options.methods:
            if (cell.task, cell.shots, cell.seed, method) in done:
                continue
            if time.monotonic() > end:
                print("Out of time; run it again to go on.")
                break
            try:
                line = {**_measure(lab, cell, method), "made_with": made_with}
            except ComposeError as error:
                raise SystemExit(f"{cell.task}, {method}: {error.message}") from error
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{cell.task} {cell.shots} shots, seed {cell.seed}, {method}: {line['accuracy']:.3f} loss {line['loss']:.3f}", flush=True)
    if options.table:
        quality_report.write(read(options.results), options.methods, options.table)
        print(f"Wrote {options.table}")


def read(path: Path) -> list[dict[str, Any]]:
    """The results so far; a last line that was cut off is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _end_line(path: Path) -> None:
    """Close a line that was cut off, so that the next one stands alone."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Every (task, shots, seed): all tasks of one seed come before the next seed, so that an early end leaves a fair picture."""
    tasks = [folder for folder in _tasks(options.tasks) if not options.only or folder.name in options.only]
    found = modules(options.modules)
    for seed in range(options.seeds):
        for shots in options.shots:
            for folder in tasks:
                train, test = (_rows(folder / f"{part}.jsonl") for part in ("train", "test"))
                if len(train) < shots or not test:
                    print(f"{folder.name} has {len(train)} rows to draw from and {len(test)} to hold out: left out with {shots} examples.")
                    continue
                chosen = random.Random(f"{folder.name}/{shots}/{seed}").sample(train, shots)
                known = tuple(module for module in found if Path(module.path).name != folder.name)  # a task's own module would give the answer away
                yield Cell(folder.name, shots, seed, known, tuple(chosen), tuple(test[: options.rows]))


def _tasks(folder: Path) -> list[Path]:
    """Every task below a folder; none where there is no such folder."""
    return sorted(test.parent for test in folder.glob("*/test.jsonl"))


def modules(folder: Path) -> tuple[Module, ...]:
    """Every adapter below a folder, by its path there."""
    configs = sorted(folder.rglob("adapter_config.json"))
    return tuple(Module(str(config.parent.relative_to(folder)), "0" * 40, str(config.parent)) for config in configs)


def _rows(path: Path) -> list[Example]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):  # other ends of lines may stand in a text
        try:
            row = json.loads(line) if line.strip() else None
            found += [] if row is None else [Example(row["input"], row["output"])]
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"Line {number} of {path} is no JSON object with input and output.") from error
    return found


def _measure(lab: Lab, cell: Cell, method: str) -> dict[str, Any]:
    begun = time.perf_counter()
    outcome = rivals.run(lab, cell, method)
    return {
        "task": cell.task,
        "shots": cell.shots,
        "seed": cell.seed,
        "method": method,
        "accuracy": sum(outcome.rows.exact) / len(outcome.rows.exact),
        "loss": sum(outcome.rows.sums) / sum(outcome.tokens),
        "exact": "".join("01"[e] for e in outcome.rows.exact),
        "sums": [round(s, 4) for s in outcome.rows.sums],
        "tokens": list(outcome.tokens),
        "spent": round(outcome.spent, 2),
        "seconds": round(time.perf_counter() - begun, 2),
        **outcome.notes,
    }


def _made_with(options: argparse.Namespace) -> dict[str, Any]:
    """What a measurement depends on beside its key."""
    known = hashlib.sha256()
    for module in modules(options.modules):
        known.update(f"{module.id} {sha256(module, WEIGHTS)} {sha256(module, CONFIG)}\n".encode())
    return {"base": fingerprint.of(options.base), "modules": known.hexdigest()[:16], "rows": options.rows, "budget": options.budget}


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    return line["task"], line["shots"], line["seed"], line["method"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [*rivals.SIMPLE, *(method.name for method in catalogue.METHODS if method.name in rivals.COMPARED)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model; `python -m demo.base_model FOLDER` fetches the demo's")
    parser.add_argument("--tasks", type=Path, default=ROOT / "demo" / "tasks", help="a folder of <task>/{train,test}.jsonl, rows {input, output}")
    parser.add_argument("--modules", type=Path, default=ROOT / "demo" / "adapters", help="a folder of adapters; one called like the task is withheld from it")
    parser.add_argument("--only", type=_words, default=[], help="tasks, with commas (default: all)")
    parser.add_argument("--shots", type=_numbers, default=[5, 20])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", type=_words, default=names, help=f"with commas; of {', '.join(names)}")
    parser.add_argument("--rows", type=int, default=200, help="held-out rows a task, at most")
    parser.add_argument("--budget", type=int, default=40, help="forward-equivalents of a search, on top of measuring base, modules and mean")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so many")
    parser.add_argument("--results", type=Path, default=RESULTS, help="one JSON line for each task, shots, seed and method")
    parser.add_argument("--table", type=Path, help="write a table (.md) and beside it a plot (.svg)")
    options = parser.parse_args(arguments)
    there = {folder.name for folder in _tasks(options.tasks)}
    wrong = [
        *([f"there is no base model in {options.base}"] if not (options.base / "config.json").exists() else []),
        *([f"there is no task in {options.tasks}"] if not there else []),
        *([f"there is no adapter in {options.modules}"] if not modules(options.modules) else []),
        *(f"there is no task {name!r}" for name in options.only if name not in there),
        *(f"there is no method {name!r}; choose from {', '.join(names)}" for name in options.methods if name not in names),
        *(f"--{name} is at least 1" for name in ("seeds", "rows", "budget") if getattr(options, name) < 1),
        *(["--shots are at least 1"] if not options.shots or min(options.shots) < 1 else []),
        *(["--table is a file that ends with .md"] if options.table and options.table.suffix != ".md" else []),
    ]
    if wrong:
        parser.error(wrong[0])
    return options


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError("whole numbers, with commas") from error


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


if __name__ == "__main__":
    main()
