"""The parts of the speed benchmark; `python -m benchmarks.speed_parts PART CACHE` runs one and prints its findings as JSON."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import shapes
from compose_worker.engine import bank as banks
from compose_worker.engine import base_models, catalogue, examples, export, hot, run, shortlist
from compose_worker.engine.base_models import Base
from compose_worker.engine.evaluator import Evaluator
from compose_worker.engine.spec import PROMPT, Evaluation, Example, Module, Spec

REPEATS = 3
Line = dict[str, Any]


def line(what: str, found: str, aim: str = "") -> Line:
    """One finding."""
    return {"what": what, "found": found, "aim": aim}


class Silent:
    """An observer that says nothing."""

    def planned(self, total: int) -> None:
        """Nothing."""

    def stage(self, name: str, sentence: str) -> None:
        """Nothing."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Nothing."""

    def improved(self, weights: Mapping[str, float], loss: float) -> None:
        """Nothing."""

    def enough(self) -> bool:
        """The search goes on."""
        return False


def timed(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Seconds that the work takes: the median, after one that does not count."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return sorted(found)[len(found) // 2]


def rows(count: int, words: int, spread: int = 0) -> tuple[Example, ...]:
    """Examples of known length: so many words, each longer than the one before by `spread`, and two words to answer."""
    made = []
    for row in range(count):
        asked = " ".join(f"w{(37 * row + 11 * place) % 900}" for place in range(words + spread * row))
        made.append(Example(asked, f"w{row} w{row + 3}"))
    return tuple(made)


def spec_of(base: Path, folders: list[Path], chosen: tuple[Example, ...], method: str, out: str = "", dtype: str = "auto", **settings: Any) -> Spec:
    """A job."""
    modules = tuple(Module(f"acme/{f.name}", f"{n:040x}", str(f), f"w{n}", f"c{n}") for n, f in enumerate(folders))
    return Spec("acme/base", str(base), modules, chosen, method, catalogue.check(method, settings), 0, "acme/mix", out, dtype=dtype)


def evaluator(base: Base, spec: Spec) -> Evaluator:
    """What a search measures with."""
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    return Evaluator(spec, banks.load(base, spec.modules), encoded, Silent())


def formats(path: Path) -> tuple[str, ...]:
    """The number formats that this machine multiplies fast: without instructions for bfloat16 it is emulated, and jobs do not choose it."""
    fast = str(base_models.load(str(path), "auto", "auto").dtype).removeprefix("torch.")
    base_models.forget()
    return tuple(dict.fromkeys(("float32", fast)))


def part_a(cache: Path) -> list[Line]:
    """Our job and the reference's, from the call to the files, with everything imported; the reference knows float32 alone."""
    base = shapes.t5(cache / "t5")
    folders = shapes.modules(cache / "t5-modules", base, 20, 16, ("q", "v"))
    chosen = rows(5, 30, 10)
    theirs = _reference(base, folders, chosen)
    lines = []
    for number in formats(base):
        cold, warm = _our_job(base, folders, chosen, number), _our_job(base, folders, chosen, number)
        lines += [
            line(f"reference / ours in {number}, first job", f"{theirs / cold.total:.1f} times ({theirs:.1f} s / {cold.total:.1f} s)", "5 times"),
            line(f"reference / ours in {number}, base model and modules resident", f"{theirs / warm.total:.1f} times ({theirs:.1f} s / {warm.total:.1f} s)"),
            line(
                f"reference / ours in {number}, first job without the stage that measures base, modules and mean, which the reference does not do",
                f"{theirs / (cold.total - cold.compared):.1f} times ({theirs:.1f} s / {cold.total - cold.compared:.1f} s)",
            ),
        ]
        base_models.forget()
        hot.forget()
    return lines


def _reference(base: Path, folders: list[Path], chosen: tuple[Example, ...]) -> float:
    with tempfile.TemporaryDirectory() as out:
        job = {
            "modules": [str(f) for f in folders], "base": str(base), "evaluations": 40, "out": out,
            "inputs": [PROMPT.replace("{input}", e.input) for e in chosen], "outputs": [e.output for e in chosen],
        }  # fmt: skip
        script = Path(__file__).with_name("lorahub_reference.py")
        told = subprocess.run(
            [os.environ["LORAHUB_PYTHON"], str(script)], input=json.dumps(job), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
    found = json.loads(told.stdout.splitlines()[-1])
    return float(found["compose"] + found["save"])


class Stages(Silent):
    """An observer that notes when each stage begins."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}

    def stage(self, name: str, sentence: str) -> None:
        """Look at the clock."""
        self.begun[name] = time.perf_counter()


@dataclass(frozen=True)
class Job:
    """Seconds of a job, and of its measurements of base, modules and mean."""

    total: float
    compared: float


def _our_job(base: Path, folders: list[Path], chosen: tuple[Example, ...], dtype: str) -> Job:
    with tempfile.TemporaryDirectory() as out:
        spec = replace(spec_of(base, folders, chosen, "lorahub", out, dtype, budget=40), explain=False)  # the reference explains nothing either
        stages = Stages()
        begun = time.perf_counter()
        run.compose(spec, stages)
        return Job(time.perf_counter() - begun, stages.begun["search"] - stages.begun["modules"])


def part_b(cache: Path) -> list[Line]:
    """Forty evaluations over forty forwards of the bare model on the same tokens: examples of one length, so that the bare model pads nothing either."""
    path = shapes.llama(cache / "llama")
    folders = shapes.modules(cache / "llama-modules", path, 20, 8, ("q_proj", "v_proj"))
    base = base_models.load(str(path))
    lines = []
    for words in (20, 60):
        spec = spec_of(path, folders, rows(8, words), "cma", budget=40)
        one = evaluator(base, spec)
        (batch,) = examples.batches(base, one.encoded)
        with torch.inference_mode():
            bare = timed(lambda batch=batch: base.model(**batch.inputs, use_cache=False).logits)
            lean = timed(lambda batch=batch: examples.run(base, batch))
        weights = (torch.rand(40, 20, generator=torch.Generator().manual_seed(0)) - 0.5).tolist()
        alone = timed(lambda one=one, weights=weights: [one.measure("search", w) for w in weights[:4]], 1) / 4
        many = timed(lambda one=one, weights=weights: one.measure_many("search", weights), 1) / 40
        shape = f"8 examples of {words + 4} tokens, 20 modules"
        lines += [
            line(f"{shape}: one at a time / bare forward", f"{alone / bare:.2f}", "below 1.10"),
            line(f"{shape}: one at a time / bare forward that also projects answers alone", f"{alone / lean:.2f}"),
            line(f"{shape}: candidates together / bare forward", f"{many / bare:.2f}", "below 1.10"),
        ]
    return [*lines, *_mixed_lengths(base, path, folders)]


def _mixed_lengths(base: Base, path: Path, folders: list[Path]) -> list[Line]:
    one = evaluator(base, spec_of(path, folders, rows(8, 10, 8), "cma", budget=40))
    each = [examples.batches(base, [e])[0] for e in one.encoded]
    with torch.inference_mode():
        bare = timed(lambda: [base.model(**batch.inputs, use_cache=False).logits for batch in each])
    alone = timed(lambda: one.measure("search", [0.3] * 20))
    gradient = timed(lambda: one.measure("search", [0.3] * 20, gradient=True))
    return [
        line("8 examples of 14 to 70 tokens: one at a time / bare forwards of each example, unpadded", f"{alone / bare:.2f}", "below 1.10"),
        line("the same with the gradient for every weight / evaluation without", f"{gradient / alone:.2f}"),
    ]


def part_c(cache: Path) -> list[Line]:
    """Sixteen modules alone: sixteen measurements against one population."""
    path = shapes.llama(cache / "llama")
    folders = shapes.modules(cache / "llama-modules", path, 20, 8, ("q_proj", "v_proj"))
    lines = []
    for dtype in formats(path):
        base = base_models.load(str(path), "auto", dtype)
        for words in (10, 40):
            one = evaluator(base, spec_of(path, folders, rows(5, words), "cma"))
            weights = [[float(i == j) for i in range(20)] for j in range(16)]
            pairs = zip(one.measure_many("search", weights), [one.measure("search", w) for w in weights], strict=True)
            off = max(abs(together.loss / alone.loss - 1) for together, alone in pairs)
            apart = timed(lambda one=one, weights=weights: [one.measure("search", w) for w in weights], 1)
            many = timed(lambda one=one, weights=weights: one.measure_many("search", weights), 1)
            what = f"5 examples of {words + 4} tokens, {dtype}: population / one by one"
            lines.append(line(what, f"{many / apart:.2f} (losses differ by {off:.0e} at most)", "below 1"))
    return lines


def part_d(cache: Path) -> list[Line]:
    """The ranking of catalogues of 100 and 1,000 modules, each in a process of its own, and 60 evaluations."""
    path = shapes.llama(cache / "llama")
    shapes.modules(cache / "catalogue", path, 1000, 8, ("q_proj", "v_proj"))
    found = {count: _ranking(cache, count) for count in (100, 1000)}
    few, many = found[100], found[1000]
    return [
        line("1,000 modules / 60 evaluations of 8 examples of 64 tokens", f"{many['ranked'] / many['evaluations']:.2f} ({many['ranked']:.1f} s)", "below 1"),
        line("peak memory for 1,000 modules / for 100", f"{many['peak'] / few['peak']:.2f} ({many['peak'] / 1e6:.0f} MB)", "flat"),
    ]


def _ranking(cache: Path, count: int) -> dict[str, float]:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed_parts", f"d{count}", str(cache)], stdout=subprocess.PIPE, text=True, check=True
    )  # fmt: skip
    return dict(json.loads(told.stdout.splitlines()[-1]))


def rank(cache: Path, count: int) -> dict[str, float]:
    """Seconds and peak memory of one ranking, and the seconds of 60 evaluations."""
    path = cache / "llama"
    base = base_models.load(str(path))
    folders = [cache / "catalogue" / f"m{number:04d}" for number in range(count)]
    spec = spec_of(path, folders[:8], rows(8, 60), "cma")
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    modules = [Module(f.name, "", str(f)) for f in folders]
    with highest() as memory:
        begun = time.perf_counter()
        fine, _ = shortlist.readable(base, modules)
        shortlist.rank(base, encoded, fine, 0)
        ranked = time.perf_counter() - begun
    one = evaluator(base, spec)
    return {"ranked": ranked, "peak": memory["peak"], "evaluations": 60 * timed(lambda: one.measure("search", [0.3] * 8))}


def part_e(cache: Path) -> list[Line]:
    """One layer of width 1,024 with the factors of 20 modules of rank 8."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(160, 1024, generator=generator, dtype=torch.float64), torch.randn(1024, 160, generator=generator, dtype=torch.float64)
    with export.one_thread():  # as a job exports, so that bytes do not depend on the machine's processors
        ours = timed(lambda: export.compress(b, a), 9)
        dense = timed(lambda: torch.linalg.svd(b @ a, full_matrices=False), 3)
    thin = export.compress(b, a)
    u, values, v = torch.linalg.svd(b @ a, full_matrices=False)
    left, right = u[:, :16] * values[:16] @ v[:16], thin.left[:, :16] * thin.values[:16] @ thin.right[:16]
    off = float((left - right).norm() / left.norm())
    return [line("dense SVD / QR and the SVD of the core", f"{dense / ours:.0f} times (best rank-16 parts differ by {off:.0e})", "above 20 times")]


def part_f(cache: Path) -> list[Line]:
    """Memory of the process beyond what the libraries take, over what base model and modules must take."""
    path = shapes.llama(cache / "llama")
    shapes.modules(cache / "llama-modules", path, 20, 8, ("q_proj", "v_proj"))
    found = []
    for kind, aim in (("forward", "below 1.3"), ("gradient", "")):
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed_parts", f"f-{kind}", str(cache)], stdout=subprocess.PIPE, text=True, check=True
        )  # fmt: skip
        numbers = json.loads(told.stdout.splitlines()[-1])
        words = "a search in populations" if kind == "forward" else "gradients for every weight"
        found.append(line(f"loading and {words}, 8 examples of 64 tokens", f"{numbers['peak'] / numbers['needed']:.2f} ({numbers['peak'] / 1e6:.0f} MB)", aim))
    return found


def peak(cache: Path, kind: str) -> dict[str, float]:
    """Peak memory of loading and of a few measurements. Weights that stay in the pages of their file are counted as if they were the process's own."""
    path = cache / "llama"
    folders = [cache / "llama-modules" / f"m{number:04d}" for number in range(20)]
    before = _own()
    with watched() as memory:
        base = base_models.load(str(path))
        mapped = max(0.0, base.bytes - (_own() - before))
        one = evaluator(base, spec_of(path, folders, rows(8, 60), "cma"))
        weights = (torch.rand(8, 20, generator=torch.Generator().manual_seed(0)) - 0.5).tolist()
        one.measure_many("search", weights, gradient=kind == "gradient")
    modules = sum(stack.a.nbytes + stack.b.nbytes for stack in one.bank.stacks.values())
    return {"peak": memory["peak"] + mapped, "needed": float(base.bytes + modules)}


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Watch the memory that this process has of its own (not the pages of files it has mapped): the peak over what it had before."""
    before, seen, over = _own(), {"peak": 0.0}, threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            seen["peak"] = max(seen["peak"], _own() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextmanager
def highest() -> Iterator[dict[str, float]]:
    """Have the system keep the highest memory over what there was before, mapped files included."""
    Path("/proc/self/clear_refs").write_text("5")
    before, seen = _status("VmRSS"), {"peak": 0.0}
    yield seen
    seen["peak"] = _status("VmHWM") - before


def _own() -> float:
    return _status("RssAnon")


def _status(name: str) -> float:
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(f"{name}:"):
            return float(text.split()[1]) * 1024
    raise RuntimeError("this system does not say how much memory a process has")


def main() -> None:
    """Run the part named first on the command line, in the folder named second."""
    part, cache = sys.argv[1], Path(sys.argv[2])
    found: Any
    if part.startswith("d") and part[1:]:
        found = rank(cache, int(part[1:]))
    elif part.startswith("f-"):
        found = peak(cache, part[2:])
    else:
        found = {"a": part_a, "b": part_b, "c": part_c, "d": part_d, "e": part_e, "f": part_f}[part](cache)
    if part == "d":
        shutil.rmtree(cache / "catalogue", ignore_errors=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
