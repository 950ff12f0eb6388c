"""Compositions over the REST API: submit once, watch, and find again on the next run."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from demo.client import ApiError, Client
from demo.terminal import DemoError, Terminal, bar

OVER = ("succeeded", "failed", "cancelled")
PAUSE = 0.7  # seconds between two looks
MAX_NAMES = 50

Job = dict[str, Any]


class Jobs:
    """The demo's jobs in one data folder; a file remembers which job answers which question."""

    def __init__(self, data: Path, client: Client) -> None:
        self._file = data / "demo" / "jobs.json"
        self._client = client
        self._known: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def submit(self, question: Mapping[str, Any], request: Mapping[str, Any]) -> tuple[Job, bool]:
        """Return the job for `question` and whether it is new. `request` is the body; its name gets a number where it is taken."""
        key = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        known = self._known.get(key)
        if known is not None and (job := self._find(known)) is not None:
            return job, False
        # a job that failed, or whose result was deleted, stands under the old key: the next try needs another one
        attempt = self._known.get(key + ":attempts", 0)
        job = self._post(request, f"{key[:40]}-{attempt}")
        self._known[key], self._known[key + ":attempts"] = job["id"], attempt + 1
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._known, indent=1))
        return job, True

    def watch(self, job: Job, terminal: Terminal, alive: Callable[[], None]) -> Job:
        """Show the progress until the job is over; raise if it did not succeed."""
        while job["status"] not in OVER:
            alive()
            terminal.progress(progress_line(job))
            time.sleep(PAUSE)
            job = self._client.get(f"/api/v1/compositions/{job['id']}")
        terminal.progress(progress_line(job))
        terminal.end_progress()
        if job["status"] != "succeeded":
            error = job.get("error") or {}
            raise DemoError(f"The composition {job['id']} {job['status']}: {error.get('message') or 'no reason was given.'}")
        return job

    def _find(self, job_id: Any) -> Job | None:
        try:
            job = self._client.get(f"/api/v1/compositions/{job_id}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        gone = job["status"] == "succeeded" and job["result"] is None and job.get("verdict") != "nothing"
        return None if gone or job["status"] in ("failed", "cancelled") else job

    def _post(self, request: Mapping[str, Any], key: str) -> Job:
        for number in range(1, MAX_NAMES):
            name = request["name"] if number == 1 else f"{request['name']}-{number}"
            try:
                return self._client.post("/api/v1/compositions", {**request, "name": name}, {"Idempotency-Key": f"{key}-{number}"})
            except ApiError as error:
                if error.code != "name-taken":
                    raise
        raise DemoError(f"There are {MAX_NAMES} results called {request['name']} already. Delete some of them, or choose another --task.")


def progress_line(job: Mapping[str, Any]) -> str:
    """One line about a job: its state, how far it is, and the best loss so far."""
    done, budget = job["progress"]["done"], job["progress"]["budget"] or 0
    parts = [f"{job['status']:<9}", bar(done, budget) if budget else "waiting for the worker"]
    if job.get("best_loss") is not None:
        parts.append(f"best loss {job['best_loss']:.3f}")
    return "  ".join(parts)
