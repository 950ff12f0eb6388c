"""A worker that has the hub's address and a worker token and nothing else: no database, no broker, no settings."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from hub.management.commands.run import SITE
from tests import tiny
from tests.worker.stack import ROOT, Stack, wait

LONG = 400  # seconds; a busy machine is slow
OVER = ("succeeded", "failed", "cancelled")
SET_UP = """
from django.core.management import call_command as call
call("migrate", verbosity=0)
call("host_base_model", {source!r}, "--as", "tiny/llama")
call("create_user", "owner", "--email", "owner@example.org", "--password", "correct horse battery")
call("create_token", "owner", "--name", "test", "--scope", "write")
call("create_worker_token", "gpu-club", "--bases", "tiny/*")
"""


class Site(Stack):
    """A Medley without clock, whose workers are started by hand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.started: list[subprocess.Popen[bytes]] = []

    def end(self) -> None:
        """Leave nothing running, whatever a test left."""
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    def start(self) -> None:
        """Start the site alone."""
        said = self.manage("shell", "-v0", "-c", SET_UP.format(source=str(self.folder / "source"))).splitlines()
        self.token, self.worker_token = said[-2:]
        self.process = self._spawn([*SITE, "--bind", f"127.0.0.1:{self.port}"], self.environment)
        wait(self._answers, LONG, self.log)

    def remote_worker(self) -> "subprocess.Popen[bytes]":
        """Start a worker elsewhere: of the environment it has what it says here."""
        cache = self.folder / "elsewhere"
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(cache), "WORKER_CACHE": str(cache), "WORKER_TOKEN": self.worker_token}
        return self._spawn([sys.executable, "-m", "compose_worker", "--remote", self.url], {**environment, "COMPOSE_DTYPE": "float32", "OMP_NUM_THREADS": "1"})

    def local_worker(self) -> "subprocess.Popen[bytes]":
        """Start a worker beside the database."""
        return self._spawn([sys.executable, "-m", "compose_worker", "--loglevel=WARNING"], self.environment)

    def log(self) -> str:
        """What the processes wrote."""
        return (self.folder / "log").read_text()[-6000:]

    def _spawn(self, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            self.started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True))
        return self.started[-1]


def end(process: "subprocess.Popen[bytes]", number: int) -> int:
    """End a process, and return its exit status."""
    process.send_signal(number)
    return process.wait(LONG)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a hosted base model and four adapters, and no worker."""
    folder = tmp_path_factory.mktemp("site")
    tiny.llama(folder / "source")
    site = Site(folder)
    try:
        site.start()
        for number in range(4):
            site.upload(f"module-{number}", seed=number, rank=(4, 8)[number % 2])
        yield site
    finally:
        site.end()


def submit(site: Site, name: str) -> int:
    """A job that may run anywhere, and takes long enough to be disturbed."""
    modules = [f"owner/module-{number}" for number in range(4)]
    return site.compose(name, method="cma", settings={"budget": 600}, modules=modules, anywhere=True)


def weights_of(site: Site, name: str) -> str:
    """The sha256 of a result's weights."""
    return hashlib.sha256(httpx.get(f"{site.url}/api/v1/adapters/owner/{name}/files/adapter_model.safetensors").content).hexdigest()


def test_a_job_goes_through_three_workers_and_ends_with_the_same_bits(site: Site) -> None:
    """One elsewhere is killed, one beside the database goes on and is killed, another one elsewhere ends it: as if nothing had happened."""
    remote = site.remote_worker()
    quiet = site.until(submit(site, "quiet"), lambda job: job["status"] in OVER, LONG)
    assert quiet["status"] == "succeeded", (quiet["error"], site.log())
    assert quiet["report"]["worker"] == "gpu-club" and any("Started on gpu-club/" in line["sentence"] for line in quiet["log"])
    recipe = httpx.get(f"{site.url}/api/v1/adapters/owner/quiet/files/recipe.json").json()
    assert recipe["worker"] == "gpu-club" and recipe["result"]["weights_sha256"] == weights_of(site, "quiet")

    number = submit(site, "moved")
    first = site.until(number, lambda job: job["progress"]["done"] > 20, LONG)
    assert end(remote, signal.SIGKILL) == -signal.SIGKILL
    local = site.local_worker()
    site.until(number, lambda job: any("Taken over by" in line["sentence"] for line in job["log"]), LONG)
    second = site.until(number, lambda job: job["progress"]["done"] > first["progress"]["done"] + 40, LONG)
    assert end(local, signal.SIGKILL) == -signal.SIGKILL
    remote = site.remote_worker()
    moved = site.until(number, lambda job: job["status"] in OVER, LONG)
    assert moved["status"] == "succeeded", (moved["error"], site.log())
    taken = [line["sentence"] for line in moved["log"] if "Taken over by" in line["sentence"]]
    assert len(taken) == 2 and "gpu-club/" not in taken[0] and "gpu-club/" in taken[1]
    assert [row["step"] for row in moved["history"]] == list(range(len(quiet["history"]))), "nothing twice, nothing missing"
    assert second["history"][: len(first["history"])] == first["history"] and moved["history"][: len(second["history"])] == second["history"]
    assert [row["loss"] for row in moved["history"]] == [row["loss"] for row in quiet["history"]]
    assert moved["weights"] == quiet["weights"] != {}
    assert weights_of(site, "moved") == weights_of(site, "quiet")

    handed_back = submit(site, "handed-back")
    site.until(handed_back, lambda job: job["progress"]["done"] > 20, LONG)
    assert end(remote, signal.SIGTERM) == 0
    left = site.job(handed_back)
    assert left["status"] == "queued" and left["log"][-1]["sentence"].startswith("Handed back")
    cached = sorted(path.name for path in (site.folder / "elsewhere" / "bases").iterdir())
    assert len(cached) == 1 and cached[0].startswith("tiny--llama@") and not list((site.folder / "elsewhere" / "jobs").iterdir())


def test_it_loads_neither_django_nor_the_hub(tmp_path: Path) -> None:
    code = "import sys, compose_worker.remote; print(sorted({name.partition('.')[0] for name in sys.modules} & {'django', 'celery', 'hub', 'rest_framework'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PATH": os.defpath, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("token", "url"), [("", "https://hub.example.org"), ("mwk_x", "hub.example.org"), ("mwk_x", "ftp://hub.example.org")])
def test_what_it_needs_is_said(tmp_path: Path, token: str, url: str) -> None:
    command = [sys.executable, "-m", "compose_worker", "--remote", url]
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "WORKER_TOKEN": token}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "WORKER_TOKEN" in done.stderr and "Traceback" not in done.stderr
