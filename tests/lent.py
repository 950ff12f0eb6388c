"""What an honest machine elsewhere sends for a job, for tests that send it or spoil it."""

import hashlib
import io
import json
from typing import Any

from hub.models import Composition, Ingredient, User, WorkerToken
from hub.services import adapters, lending, workers
from tests import make

HERE = {"instance": "host:1", "device": "cpu", "bases": [], "folders": [make.BASE], "warm": ""}


def token(name: str = "gpu-club", **more: Any) -> WorkerToken:
    """A worker token that needs no text."""
    return workers.create_token(actor=None, name=name, **more)[0]


def claim(lender: WorkerToken, **more: Any) -> lending.Handed | None:
    """Ask for a job as a machine that has the tiny base model."""
    return lending.claim(token=lender, **{**HERE, **more})


def evaluation(step: int, loss: float = 1.0, **more: Any) -> dict[str, Any]:
    """A measured candidate as it is sent."""
    return {"step": step, "phase": "search", "weights": [1.0, 0.0], "loss": loss, "rows": None, "detail": {"sums": [0.5], "exact": [1]}, **more}


def parent(row: Ingredient, weight: float, **more: Any) -> dict[str, Any]:
    """What a recipe says of a module of the job."""
    assert row.revision is not None
    hashes = {path: row.revision.files.get(path=path).blob_id for path in (adapters.CONFIG, adapters.WEIGHTS)}
    named = {"weights_sha256": hashes[adapters.WEIGHTS], "config_sha256": hashes[adapters.CONFIG]}
    return {"id": row.repo_id, "revision": row.sha, "weight": weight, "licence": None, **named, **more}


def files(job: Composition, **recipe: Any) -> dict[str, bytes]:
    """The files of a result for the job."""
    found = make.adapter(seed=7, card="# A mix\n\nMade of two.\n", base=job.base_model)
    said = {
        "recipe_version": 1,
        "name": job.target_id,
        "base_model": job.base_model,
        "method": job.method,
        "settings": job.settings,
        "seed": job.seed,
        "parents": [parent(row, 0.5) for row in job.ingredients.all()],
        "result": {"weights_sha256": hashlib.sha256(found[adapters.WEIGHTS]).hexdigest()},
        **recipe,
    }
    return {**found, adapters.RECIPE: json.dumps(said).encode()}


def result(job: Composition, sent: dict[str, bytes], **more: Any) -> dict[str, Any]:
    """What is said of a result with these files."""
    score = {"loss": 1.0, "accuracy": 0.9, "low": 0.7, "high": 1.0, "n": 6, "module": None}
    return {
        "weights": {row.repo_id: 0.5 for row in job.ingredients.all()},
        "scores": {"base": {**score, "loss": 2.0}, "composed": score},
        "verdict": "mix",
        "summary": "The mix helps.",
        "report": {"device": "cuda", "notes": ["A note."], "seconds": {"search": 1.5}},
        "files": [{"path": path, "sha256": hashlib.sha256(data).hexdigest()} for path, data in sent.items()],
        **more,
    }


def finish(lender: WorkerToken, job: Composition, sent: dict[str, bytes] | None = None, said: Any = None) -> Composition:
    """Send a result."""
    sent = files(job) if sent is None else sent
    incoming = [adapters.Incoming(path, io.BytesIO(data)) for path, data in sent.items()]
    return lending.finish(token=lender, job_id=job.pk, claim=job.claim, said=result(job, sent) if said is None else said, files=incoming)


def operator() -> User:
    """A staff account."""
    return User.objects.create_superuser("chief", "chief@example.org", "correct horse battery")
