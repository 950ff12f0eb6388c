"""`make demo`: base model, starter catalogue, a composition of a new task, what it is worth, and the site left running.

Settings from the environment: PORT (8000), MEDLEY_DATA (var/), MEDLEY_BASE_SOURCE (pip or hub).
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # started as a file: make the project importable instead of this folder

from compose_worker.engine import catalogue  # noqa: E402
from demo import base_model, report, starters  # noqa: E402
from demo.accounts import LOGIN, Account, Accounts  # noqa: E402
from demo.client import Client  # noqa: E402
from demo.jobs import Job, Jobs  # noqa: E402
from demo.server import Site, manage  # noqa: E402
from demo.terminal import DemoError, Terminal  # noqa: E402

TASKS = ROOT / "demo" / "tasks"
DEFAULT_TASK = "arithmetic__3_digit_addition"
HELD_OUT = 100  # rows of test.jsonl that are measured
ANSWERS = 6  # rows that are shown with the adapter's own words
STEPS = 5


@dataclass(frozen=True)
class Options:
    """What the command line and the environment say."""

    task: str
    examples: int
    seed: int
    exit: bool
    port: int
    data: Path
    source: str

    @property
    def base_models(self) -> Path:
        return Path(os.environ.get("MEDLEY_BASE_MODELS") or self.data / "base-models").resolve()


def read_options(arguments: list[str]) -> Options:
    tasks = sorted(path.parent.name for path in TASKS.glob("*/train.jsonl"))
    low, high = catalogue.MIN_EXAMPLES, catalogue.MAX_EXAMPLES
    parser = argparse.ArgumentParser(prog="make demo", description="Runs Medley's demo.", epilog="Example: make demo ARGS='--exit --seed 1'")
    parser.add_argument("--exit", action="store_true", help="stop the site at the end; exit status 0 only if every step worked")
    parser.add_argument("--task", choices=tasks, default=DEFAULT_TASK, metavar="TASK", help=f"one of: {', '.join(tasks)}")
    parser.add_argument("--examples", type=int, default=20, help=f"how many examples the composition gets, {low} to {high}")
    parser.add_argument("--seed", type=int, default=0, help="draws the examples and seeds the method")
    given = parser.parse_args(arguments)
    if not low <= given.examples <= high:
        parser.error(f"--examples must be {low} to {high}")
    if not 0 <= given.seed < 2**32:
        parser.error("--seed must be 0 to 4294967295")
    port, source = os.environ.get("PORT") or "8000", os.environ.get("MEDLEY_BASE_SOURCE") or "pip"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        parser.error(f"PORT must be 1 to 65535, not {port!r}")
    if source not in base_model.SOURCES:
        parser.error(f"MEDLEY_BASE_SOURCE must be one of: {', '.join(base_model.SOURCES)}")
    data = Path(os.environ.get("MEDLEY_DATA") or ROOT / "var").resolve()
    return Options(given.task, given.examples, given.seed, given.exit, int(port), data, source)


def read_rows(task: str, part: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (TASKS / task / f"{part}.jsonl").read_text().splitlines()]


def draw_examples(options: Options) -> list[dict[str, str]]:
    rows = read_rows(options.task, "train")
    if len(rows) < options.examples:
        raise DemoError(f"The task {options.task} has {len(rows)} examples only. Choose at most so many with --examples.")
    return random.Random(options.seed).sample(rows, options.examples)  # noqa: S311  not a secret


@dataclass(frozen=True)
class Catalogue:
    """The site with its accounts and the starter adapters in it."""

    login: Account
    client: Client  # of the login
    starters: list[starters.Starter]
    heads: dict[str, str]  # adapter id -> revision


def open_catalogue(options: Options, site: Site, terminal: Terminal) -> Catalogue:
    found = starters.starters()
    migrated = manage("migrate", "--noinput", data=options.data)
    if migrated.returncode:
        raise DemoError(f"The database could not be set up:\n{migrated.stderr.strip()[-2000:]}")
    accounts = Accounts(options.data)
    names = [*sorted({starter.owner for starter in found}), LOGIN]
    users = {name: accounts.ensure_user(name) for name in names}
    terminal.line(f"Demo accounts: {', '.join(names)}.")
    site.start()
    terminal.line(f"Site and worker run at {site.url} (log: {site.log}).")
    clients = {name: accounts.client(name, site.url) for name in names}
    heads = starters.upload(clients, found, terminal)
    return Catalogue(users[LOGIN], clients[LOGIN], found, heads)


def compose(options: Options, examples: list[dict[str, str]], shelf: Catalogue, site: Site, terminal: Terminal) -> dict[str, Job]:
    """Submit both compositions, wait for both, and return them by candidate name."""
    jobs = Jobs(options.data, shelf.client)
    alike = starters.one_shape(shelf.starters)
    everything = sorted(shelf.heads)
    others = [row["id"] for row in shelf.client.adapters(base_model=base_model.BASE_MODEL) if row["id"] not in shelf.heads]
    plans: dict[str, tuple[str, str, Any]] = {
        # with other adapters in the catalogue "auto" would try those too, and the comparison would be another one on every run
        "composed": (catalogue.DEFAULT_METHOD, "", everything if others else "auto"),
        "lorahub": ("lorahub", "-lorahub", [starter.id for starter in alike]),
    }
    terminal.line(f"Task {options.task}: {len(examples)} examples, seed {options.seed}. No starter adapter was trained on it.")
    submitted: dict[str, Job] = {}
    for candidate, (method, suffix, modules) in plans.items():
        question = {"task": options.task, "seed": options.seed, "examples": examples, "method": method, "heads": shelf.heads}
        request = {
            "base_model": base_model.BASE_MODEL,
            "modules": modules,
            "examples": examples,
            "method": method,
            "settings": {},
            "seed": options.seed,
            "name": options.task.replace("__", "-").replace("_", "-") + suffix,
            "private": False,
            "description": f"BIG-bench {options.task}, {len(examples)} examples drawn with seed {options.seed}. Made by the demo.",
        }
        submitted[candidate], new = jobs.submit(question, request)
        job = submitted[candidate]
        found = f"{len(job['modules'])} adapters{' that Medley found' if modules == 'auto' else ''}"
        terminal.line(f"{'Submitted' if new else 'Composed before, reused'}: method {method}, {found}. {job['url']}")
    for candidate, job in submitted.items():
        terminal.line(f"Method {plans[candidate][0]}:")
        submitted[candidate] = jobs.watch(job, terminal, site.check)
        terminal.line(submitted[candidate].get("summary") or "Done.")
    return submitted


def fetch_results(options: Options, jobs: dict[str, Job], client: Client, terminal: Terminal) -> dict[str, str]:
    """Download what the jobs published; return folders by candidate."""
    folders: dict[str, str] = {}
    for candidate, job in jobs.items():
        result = job["result"]
        if result is None:
            terminal.line(f"The composition {job['id']} published nothing.")
            continue
        folder = options.data / "demo" / result["adapter"].partition("/")[2]
        shutil.rmtree(folder, ignore_errors=True)
        client.download(result["adapter"], result["revision"], folder)
        terminal.line(f"Downloaded {result['adapter']}, checksums are right: {folder}")
        folders[candidate] = str(folder)
    return folders


def measure(base: Path, examples: list[dict[str, str]], held_out: list[dict[str, str]], shelf: Catalogue, folders: dict[str, str]) -> dict[str, Any]:
    """Measure in a process of its own, so that torch's memory is given back."""
    question = {
        "base": str(base),
        "examples": examples,
        "held_out": held_out,
        "singles": {starter.id: str(starter.path) for starter in shelf.starters},
        "results": folders,
        "answers": ANSWERS,
    }
    with tempfile.TemporaryDirectory() as name:
        asked, answered = Path(name) / "question.json", Path(name) / "answer.json"
        asked.write_text(json.dumps(question))
        # waiting threads that spin make a busy machine several times slower
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, "-m", "demo.measure", str(asked), str(answered)]
        said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  fixed words
        if said.returncode:
            raise DemoError(f"The measurement failed (exit status {said.returncode}):\n{said.stderr.strip()[-2000:]}")
        return json.loads(answered.read_text())


def tell_scores(options: Options, found: dict[str, Any], jobs: dict[str, Job], shelf: Catalogue, terminal: Terminal) -> None:
    scores, best = found["scores"], found["best_single"]
    labels = {
        "base": "Base model",
        "best_single": f"Best single adapter, {best}",
        "uniform": f"Uniform mix of all {len(shelf.starters)}",
        "lorahub": f"LoraHub as published, the {len(starters.one_shape(shelf.starters))} of one shape",
        "composed": "Composed by Medley",
    }
    terminal.line(f"{options.task}, seed {options.seed}, {scores['base']['n']} held-out rows.")
    terminal.line("Accuracy: the share of rows whose whole answer is the greedy one. Loss: nats a token of the answer.")
    terminal.line("The best single adapter is the one with the lowest loss on the examples. Methods and settings were chosen on other tasks.\n")
    terminal.line(report.score_table(scores, labels) + "\n")
    terminal.line(report.verdict(scores, best) + "\n")
    terminal.line(report.weight_table(jobs["composed"]["weights"]))


def tell_answers(found: dict[str, Any], held_out: list[dict[str, str]], jobs: dict[str, Job], site: Site, terminal: Terminal) -> None:
    if not found["answers"]:
        terminal.line("There is no composed adapter to ask.")
        return
    terminal.line(f"The first {len(found['answers'])} held-out rows:")
    for row, answer in zip(held_out, found["answers"], strict=False):
        mark = "right" if answer == row["output"].strip() else f"expected {row['output'].strip()!r}"
        terminal.line(f"  {row['input']!r} -> {answer!r} ({mark})")
    terminal.line(f"The adapter's page: {site.url}/{jobs['composed']['result']['adapter']}")


def demo(options: Options, site: Site, terminal: Terminal) -> Account:
    """All steps in order; every one raises when it does not work."""
    site.check_port()
    examples, held_out = draw_examples(options), read_rows(options.task, "test")[:HELD_OUT]
    terminal.step("Base model")
    base = base_model.ensure(options.base_models, options.source, terminal)
    terminal.step("Site, worker and starter catalogue")
    shelf = open_catalogue(options, site, terminal)
    terminal.step("Compose an adapter for a new task")
    jobs = compose(options, examples, shelf, site, terminal)
    terminal.step("Measure on examples that nothing has learnt from")
    folders = fetch_results(options, jobs, shelf.client, terminal)
    found = measure(base, examples, held_out, shelf, folders)
    tell_scores(options, found, jobs, shelf, terminal)
    terminal.step("Load the downloaded adapter with peft and ask it")
    tell_answers(found, held_out, jobs, site, terminal)
    return shelf.login


def stay(site: Site, account: Account, terminal: Terminal) -> int:
    """Tell where the site is, and wait for Ctrl-C or SIGTERM."""
    password = account.password or "the one you set (`manage.py changepassword demo` sets a new one)"
    try:
        terminal.line(f"\nMedley runs at {site.url}")
        terminal.line(f"Log in as {account.name}, password: {password}")
        terminal.line("Ctrl-C stops it; `make run` starts it again.")
        site.wait()
    except (KeyboardInterrupt, SystemExit):
        return 0
    terminal.line(f"The site stopped by itself; its log: {site.log}")
    return 1


def main(arguments: list[str]) -> int:
    options = read_options(arguments)
    terminal = Terminal(STEPS)
    site = Site(options.data, options.port, options.base_models)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    began = time.monotonic()
    try:
        account = demo(options, site, terminal)
        terminal.line(f"\nEvery step worked; it took {time.monotonic() - began:.0f} seconds.")
        return 0 if options.exit else stay(site, account, terminal)
    except DemoError as error:
        terminal.line(f"\nThe demo stopped: {error}")
        return 1
    except KeyboardInterrupt:
        terminal.line("\nStopped.")
        return 130
    finally:
        site.stop()


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
