"""The stack under test, what a user does with it, and what must hold whatever was broken meanwhile."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from celery import Celery

from tests import make, tiny
from tests.faults.holds import Holds
from tests.stack.link import OPEN
from tests.stack.nursery import Nursery
from tests.stack.topology import WORKERS, Stack

OVER = ("succeeded", "failed", "cancelled")
EXAMPLES = [{"input": f"{a} plus {b}", "output": str(a + b)} for a, b in ((1, 2), (3, 4), (5, 2), (2, 2), (6, 1))]
MODULES = [f"owner/module-{number}" for number in range(3)]
WEIGHTS = "adapter_model.safetensors"
SETTINGS = {
    "COMPOSE_DTYPE": "float32",
    "JOB_HEARTBEAT_SECONDS": "0.5",
    "JOB_STALE_SECONDS": "3",
    "JOB_MAX_ATTEMPTS": "100",
    "JOB_MAX_ACTIVE": "5000",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "S3_SECONDS": "3",
    "THROTTLE_ANON": "100000/min",
    "THROTTLE_USER": "100000/min",
    "ADMIN_USERNAME": "owner",
    "ADMIN_EMAIL": "owner@example.org",
    "ADMIN_PASSWORD": "correct horse battery",
}
IMPATIENT = "?tcp_user_timeout=3000&keepalives_idle=1&keepalives_interval=1&keepalives_count=2"  # so that a test sees in seconds what takes half a minute


class Site:
    """A stack with an account, three adapters, and the outcome of a job that nothing disturbed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.measured = folder / "measured"
        self.nursery = Nursery(folder / "nursery.log")
        settings = {**SETTINGS, "MEASURED": str(self.measured)}
        self.stack = Stack(folder, cuttable=True, settings=settings, database=IMPATIENT, worker=self.nursery.process)
        self.token = ""
        self.acknowledged: dict[str, dict[str, bytes]] = {}  # what uploads were answered with success for
        self.calm: dict[str, Any] = {}

    def start(self) -> None:
        """Start it and do what needs no fault: an account, adapters, one job."""
        tiny.llama(self.folder / "base-models" / make.BASE.replace("/", "--"))
        self.stack.start()
        self.holds = Holds(self.stack.postgres.url(self.stack.postgres.port))
        self.token = self.stack.manage("create_token", "owner", "--name", "test", "--scope", "write")
        for number, module in enumerate(MODULES):
            self.upload(module.partition("/")[2], seed=number)
        calm = self.over(self.submit("calm"))
        assert calm["status"] == "succeeded", calm
        self.calm = {**self.outcome(calm), "forwards": len(self.forwards("calm"))}

    def stop(self) -> None:
        """End everything."""
        self.stack.stop()
        self.nursery.stop()

    def mend(self) -> None:
        """Heal every link and start again what does not run."""
        for link in self.stack.links.values():
            if link.mode != OPEN:
                link.heal()
        stopped = [process for process in self.stack.processes() if not process.runs]
        for process in stopped:
            process.start()
        for process in stopped:
            process.ready()
        self.stack.bucket.trouble()

    def forget_blobs(self, worker: str) -> None:
        """Empty a worker's cache of the bucket."""
        shutil.rmtree(self.folder / worker / "data" / "blobs", ignore_errors=True)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One call of the REST API as the owner."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return httpx.request(method, f"{self.stack.url}/api/v1{path}", headers=headers, timeout=more.pop("timeout", 60), **more)

    def insist(self, method: str, path: str, accept: Sequence[str] = (), **more: Any) -> httpx.Response:
        """Call as a patient client does: again after what may pass. An error whose code is in `accept` is as good as success."""
        deadline = time.monotonic() + 200
        while True:
            said = "no answer"
            try:
                answer = self.request(method, path, **more)
                said = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code < 400 or (answer.status_code < 500 and answer.json()["error"]["code"] in accept):
                    return answer
                assert answer.status_code >= 500, f"{method} {path}: {said}"
            except (httpx.TransportError, httpx.RemoteProtocolError) as error:
                said = repr(error)
            assert time.monotonic() < deadline, f"{method} {path}: {said}"
            time.sleep(0.2)

    def upload(self, name: str, *, seed: int) -> None:
        """Upload an adapter, and keep in mind that it was acknowledged."""
        files = {**make.adapter(seed=seed), "README.md": f"# {name}\n".encode()}
        self.insist("POST", "/adapters", json={"name": name}, accept=["name-taken"])
        parts = [("files", (path, data)) for path, data in files.items()]
        self.insist("POST", f"/adapters/owner/{name}/commits", files=parts, data={"message": "Upload"})
        self.acknowledged[name] = files

    def submit(self, name: str) -> int:
        """Submit a job, always the same but for its name, and return its number: from then on it is accepted."""
        body = {"base_model": make.BASE, "modules": MODULES, "examples": EXAMPLES, "name": name, "seed": 0, "method": "cma", "settings": {"budget": 12}}
        return int(self.insist("POST", "/compositions", json=body, headers={"Idempotency-Key": name}).json()["id"])

    def ring(self, number: int) -> None:
        """Ring for a job, past everything that can be cut."""
        with Celery(broker=self.stack.redis.url(self.stack.redis.port, 0)) as bell:
            bell.send_task("compose_worker.run", args=[number], queue="compose")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database, past everything that can be cut."""
        with psycopg.connect(self.stack.postgres.url(self.stack.postgres.port), autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query, values).fetchall()

    def job(self, number: int) -> dict[str, Any]:
        """A job's row."""
        names = ("id", "name", "status", "stage", "worker", "attempts", "weights", "error_code", "error_message", "result_id", "claim")
        (row,) = self.rows(f"SELECT {', '.join(names)} FROM hub_composition WHERE id = %s", number)
        return dict(zip(names, row, strict=True))

    def over(self, number: int, seconds: float = 200) -> dict[str, Any]:
        """Wait until a job has ended."""
        self.wait(lambda: self.job(number)["status"] in OVER, seconds, lambda: f"{self.job(number)} {self.log(number)} {self.said()}")
        return self.job(number)

    def log(self, number: int) -> list[str]:
        """The sentences of a job."""
        return [sentence for (sentence,) in self.rows("SELECT sentence FROM hub_logline WHERE composition_id = %s ORDER BY id", number)]

    def outcome(self, job: dict[str, Any]) -> dict[str, Any]:
        """All that must not depend on what was broken while the job ran."""
        history = self.rows("SELECT step, phase, weights, loss FROM hub_evaluation WHERE composition_id = %s ORDER BY step, id", job["id"])
        files = dict(self.rows("SELECT path, blob_id FROM hub_revisionfile WHERE revision_id = %s", job["result_id"]))
        return {"weights": job["weights"], "history": [tuple(map(str, row)) for row in history], "file": files.get(WEIGHTS)}

    def forwards(self, name: str) -> list[dict[str, Any]]:
        """The forwards that workers made for a job."""
        lines = [json.loads(line) for line in self.measured.read_text().splitlines()]
        return [line for line in lines if line["job"] == f"owner/{name}"]

    def worker_of(self, number: int) -> str:
        """Which worker has a job now."""
        pid = int(self.job(number)["worker"].rpartition(":")[2])
        return next(name for name in WORKERS if self.stack.workers[name].pid == pid)

    @contextmanager
    def held(self, name: str, table: str, /, **columns: Any) -> Iterator[tuple[int, str]]:
        """Submit a job, and hold it where it writes such a row; yields its number and its worker."""
        with self.holds.at(table, **columns) as hold:
            number = self.submit(name)
            hold.wait()
            yield number, self.worker_of(number)

    def check(self, number: int, *, again: bool = False) -> dict[str, Any]:
        """Wait for a job, and hold it against the one that nothing disturbed. `again`: a forward may have been cut off and made once more."""
        job = self.over(number)
        assert job["status"] == "succeeded", (job, self.log(number), self.said())
        outcome = self.outcome(job)
        assert {name: outcome[name] for name in outcome} == {name: self.calm[name] for name in outcome}
        assert self.rows("SELECT count(*) FROM hub_adapter WHERE lower(name) LIKE %s", f"{job['name']}%") == [(1,)], "one result"
        forwards = self.forwards(job["name"])
        assert all(line["known"] < line["candidates"] for line in forwards), "nothing was measured that the history had"
        assert again or len(forwards) == self.calm["forwards"], (len(forwards), self.calm["forwards"], forwards)
        return job

    def check_store(self) -> None:
        """Every acknowledged upload is there byte for byte, every row has its bytes, and nothing half made is visible."""
        for name, files in self.acknowledged.items():
            for path, data in files.items():
                answer = httpx.get(f"{self.stack.url}/api/v1/adapters/owner/{name}/files/{path}", follow_redirects=True, timeout=60)
                assert answer.status_code == 200 and answer.content == data, (name, path, answer.status_code, answer.text[:300])
        empty = self.rows("SELECT name FROM hub_adapter WHERE head_id IS NULL AND NOT name = ANY(%s)", list(self.acknowledged))
        assert not empty, f"adapters without files: {empty}"
        kept = {path.name.rpartition("%2F")[2]: path for path in (self.folder / "s3" / "medley").iterdir() if path.name.startswith("blobs%2F")}
        for sha256, size in self.rows("SELECT sha256, size FROM hub_blob"):
            data = kept[sha256].read_bytes()
            assert len(data) == size and hashlib.sha256(data).hexdigest() == sha256

    def wait(self, condition: Callable[[], bool], seconds: float = 200, explain: Callable[[], str] = str) -> None:
        """Wait until something holds; while the database is away it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except psycopg.OperationalError:
                pass
            assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {explain()}"
            time.sleep(0.05)

    def said(self) -> str:
        """What workers and site wrote last."""
        return "".join(f"\n== {process.name}\n{process.said(3000)}" for process in (self.stack.web, *self.stack.workers.values()))
