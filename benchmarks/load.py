"""Two hundred people on a hub for five minutes, with everything in its production place: python -m benchmarks.load [--users 200 --minutes 5].

PostgreSQL, Valkey, gunicorn behind nginx, a worker and the clock run on this machine, and so do the people (locust). Ends with 1 if anything failed.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks import load_job, load_report
from benchmarks.load_site import ROOT, Site
from benchmarks.transfer_report import Machine
from tests import make

REPORT = ROOT / "docs" / "benchmarks" / "load.md"
Rows = list[dict[str, str]]
TURNS = 3  # in which downloads are counted, the two servers in turn


@dataclass
class Found:
    """What was measured."""

    rows: Rows = field(default_factory=list)  # by kind of request, as locust writes them; the last is all of them
    failures: Rows = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)  # megabytes by process, in the order of time
    jobs: dict[str, int] = field(default_factory=dict)  # during the load, by how they ended
    faults: list[str] = field(default_factory=list)  # lines of the logs
    adapters: tuple[int, int] = (0, 0)  # before, after
    downloads: list[tuple[float, float]] = field(default_factory=list)  # a second: the hub, plain nginx
    worker: float = 0.0  # jobs an hour of one worker when nobody else is there
    engine: float = 0.0  # jobs an hour of the engine alone

    @property
    def ok(self) -> bool:
        """Whether nothing failed: no request, no job, no line in a log."""
        return not (self.failures or self.faults or set(self.jobs) - {"succeeded"})


def main() -> int:
    """Start, load, measure, print, and write the report."""
    options = _options()
    machine, found = Machine.now(), Found()
    with tempfile.TemporaryDirectory(prefix="medley-load-") as name, Site(Path(name), max(options.users, 20), options.adapters) as site:
        _until_measured(site)
        _warm(site)
        before = _count(site, "hub_adapter")
        with _watching(site, options.minutes * 2, found.memory):
            found.rows, found.failures = crowd(site.url, site.folder, options.users, options.minutes)
        _until_over(site, options.patience)
        found.jobs = {str(status): number for status, number in site.ask("SELECT status, count(*) FROM hub_composition GROUP BY status")}
        found.adapters = (before, _count(site, "hub_adapter"))
        found.downloads = [_downloads(site, options.seconds) for _ in range(TURNS)]
        found.worker, found.engine = _worker(site, options.jobs, options.patience), _engine(site, options.jobs)
        found.faults = site.faults()
    text = load_report.write(found, options, machine)
    print(text)
    if options.report:
        REPORT.write_text(text)
    return 0 if found.ok else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200, help="people at once")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--adapters", type=int, default=300, help="that are there before")
    parser.add_argument("--seconds", type=float, default=5, help="how long downloads are counted, three times each")
    parser.add_argument("--jobs", type=int, default=40, help="compositions by which worker and engine are compared")
    parser.add_argument("--patience", type=float, default=900, help="seconds that what is queued may take at the end")
    parser.add_argument("--no-report", dest="report", action="store_false", help=f"do not write {REPORT.relative_to(ROOT)}")
    return parser.parse_args()


def crowd(url: str, folder: Path, users: int, minutes: float) -> tuple[Rows, Rows]:
    """Let the people of `folder` loose on a hub; return what was measured by kind of request, the sum of all last, and what failed."""
    table = folder / "locust"
    command = [sys.executable, "-m", "locust", "--locustfile", "benchmarks/load_users.py", "--headless", "--host", url, "--users", str(users)]
    command += ["--spawn-rate", str(max(1, users // 20)), "--run-time", f"{max(1, round(minutes * 60))}s", "--stop-timeout", "120", "--csv", str(table)]
    command += ["--exit-code-on-error", "0", "--only-summary", "--loglevel", "WARNING"]
    environment = {**os.environ, "LOAD_PEOPLE": str(folder / "people.json"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return _read(f"{table}_stats.csv"), _read(f"{table}_failures.csv")


def _read(path: str) -> Rows:
    with Path(path).open() as rows:
        return list(csv.DictReader(rows))


@contextmanager
def _watching(site: Site, every: float, out: list[dict[str, float]]) -> Iterator[None]:
    """Look at the memory now and then, and at the end."""
    ended = threading.Event()

    def watch() -> None:
        out.append(site.megabytes())
        while not ended.wait(max(1.0, every)):
            out.append(site.megabytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _until_measured(site: Site) -> None:
    """The profiles of the first adapters are no part of what is measured."""
    _wait(lambda: not site.ask("SELECT 1 FROM hub_profile WHERE status IN ('waiting', 'running') LIMIT 1"), 600, site)


def _warm(site: Site) -> None:
    """Let every process of the site load what it loads once."""
    one = site.people()["adapters"][0]["id"]
    with httpx.Client(base_url=site.url, timeout=120) as client:
        for _ in range(10):
            for path in ("/", "/adapters", f"/{one}", "/api/v1/adapters", "/api/models", f"/{one}/resolve/main/adapter_model.safetensors"):
                client.get(path, headers={"Connection": "close"}).raise_for_status()


def _until_over(site: Site, patience: float) -> None:
    _wait(lambda: not site.ask("SELECT 1 FROM hub_composition WHERE status IN ('queued', 'running') LIMIT 1"), patience, site)


def _wait(condition: Any, seconds: float, site: Site) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not within {seconds:.0f} s. The worker says: {site.log('worker')}")
        time.sleep(0.25)


def _count(site: Site, table: str) -> int:
    return int(site.ask(f"SELECT count(*) FROM {table}")[0][0])


def _downloads(site: Site, seconds: float) -> tuple[float, float]:
    """Return how many downloads a second the hub and the plain nginx answer, of the same bytes."""
    one = site.people()["adapters"][0]
    path = next(site.data.glob(f"blobs/**/{one['sha256']}")).relative_to(site.data / "blobs")
    urls = (f"{site.url}/{one['id']}/resolve/main/adapter_model.safetensors", f"{site.plain_url}/{path}")
    return tuple(_run("benchmarks.load_downloads", url, str(seconds)) for url in urls)  # type: ignore[return-value]


def _worker(site: Site, jobs: int, patience: float) -> float:
    """Return the jobs an hour of one worker, from the first that begins to the last that ends."""
    people = site.people()
    names = [row["id"] for row in people["adapters"]]
    last = site.ask("SELECT coalesce(max(id), 0) FROM hub_composition")[0][0]
    with httpx.Client(base_url=site.url, timeout=60, headers={"Authorization": f"Bearer {people['tokens'][0]}"}) as client:
        for number in range(jobs + 1):
            modules = [names[(number + place) % len(names)] for place in (0, 1)]
            body = {"base_model": make.BASE, "modules": modules, "examples": load_job.EXAMPLES, "name": f"alone-{number}", "seed": number}
            client.post("/api/v1/compositions", json=body | {"method": load_job.METHOD, "settings": load_job.SETTINGS}).raise_for_status()
    _until_over(site, patience)
    ended = site.ask(f"SELECT finished_at FROM hub_composition WHERE id > {last} AND status = 'succeeded' ORDER BY finished_at")
    if len(ended) != jobs + 1:
        raise RuntimeError(f"{jobs + 1 - len(ended)} compositions did not succeed: {site.log('worker')}")
    return jobs / float((ended[-1][0] - ended[0][0]).total_seconds()) * 3600


def _engine(site: Site, jobs: int) -> float:
    """Return the jobs an hour of the engine alone, on folders with the same files."""
    modules = site.folder / "modules"
    for number in range(12):
        (modules / str(number)).mkdir(parents=True)
        for path, data in make.adapter(seed=number).items():
            (modules / str(number) / path).write_bytes(data)
    base = site.data / "base-models" / make.BASE.replace("/", "--")
    return 3600 / _run("benchmarks.load_engine", str(base), str(modules), str(jobs))


def _run(module: str, *arguments: str) -> float:
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
