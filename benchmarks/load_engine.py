"""The engine alone on the jobs of the load benchmark: python -m benchmarks.load_engine BASE MODULES COUNT prints the seconds of a job, after a first one."""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import load_job
from compose_worker.engine import catalogue, run, spec
from tests import make


class Nobody:
    """Watches, and does nothing."""

    def planned(self, total: int) -> None:
        """Take the number of evaluations."""

    def stage(self, name: str, sentence: str) -> None:
        """Take what begins."""

    def evaluated(self, evaluation: spec.Evaluation) -> None:
        """Take a measurement."""

    def improved(self, weights: object, loss: float) -> None:
        """Take the best."""

    def enough(self) -> bool:
        """Go on."""
        return False


def seconds(base: Path, modules: Path, count: int) -> float:
    """Compose so many times, and return the seconds of one."""
    folders = sorted(modules.iterdir())
    start = 0.0
    for number in range(count + 1):
        if number == 1:
            start = time.perf_counter()
        chosen = [folders[(number + place) % len(folders)] for place in (0, 1)]
        with tempfile.TemporaryDirectory() as out:
            run.compose(_spec(base, chosen, out, number), Nobody())
    return (time.perf_counter() - start) / count


def _spec(base: Path, chosen: list[Path], out: str, seed: int) -> spec.Spec:
    return spec.Spec(
        base_model=make.BASE,
        base_path=str(base),
        modules=tuple(spec.Module(id=f"load/{folder.name}", revision="0" * 40, path=str(folder)) for folder in chosen),
        examples=tuple(spec.Example(row["input"], row["output"]) for row in load_job.EXAMPLES),
        method=load_job.METHOD,
        settings=catalogue.check(load_job.METHOD, load_job.SETTINGS),
        seed=seed,
        name=f"load/mix-{seed}",
        out_dir=out,
        samples=8,
        device="cpu",
        dtype="float32",
    )


if __name__ == "__main__":
    print(seconds(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
