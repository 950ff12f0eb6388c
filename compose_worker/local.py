"""Jobs of a worker that reads the hub's own database and store."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, connection

from compose_worker import patience, work
from compose_worker.engine import fingerprint, spec
from compose_worker.engine.errors import ComposeError
from hub import storage
from hub.errors import HubError
from hub.models import Composition
from hub.services import adapters, base_models, hosted, inputs, queue, runs, workers

LAST_SECONDS = 10.0  # for which a worker that shuts down tries to hand its job back
NAME = f"{socket.gethostname()}:{os.getpid()}"


class _Warm:
    """The base model of the last job, which lies in memory."""

    base = ""


_warm = _Warm()


def take() -> "Job | None":
    """Claim the job whose turn it is, if there is one for this worker."""
    announce()
    row = queue.take(worker=NAME, has_base=has_base, warm=_warm.base, has_gpu=not device().startswith("cpu"))
    if row is None:
        return None
    _warm.base = row.base_model
    return Job(row)


def announce() -> None:
    """Say that this worker is here, and what it has."""
    workers.seen(name=NAME, device=device(), bases=settings.WORKER_BASES, folders=base_models.present(), warm=_warm.base)


@cache
def device() -> str:
    """The device that this worker computes on."""
    if settings.COMPOSE_DEVICE != "auto":
        return str(settings.COMPOSE_DEVICE)
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def has_base(name: str) -> bool:
    """Whether this worker may run jobs on the base model, and finds it."""
    try:
        return base_path(name).is_dir()
    except ComposeError:
        return False


def base_path(name: str) -> Path:
    """Return the folder of a base model that this worker serves."""
    path = base_models.folder(name)
    if not (path / "config.json").is_file():
        path = hosted.folder(name) or path
    if not workers.matches(settings.WORKER_BASES, name) or not (path / "config.json").is_file():
        raise ComposeError("base-model-unavailable", f"No worker has the base model {name}. Ask the hub's operator to add it.")
    if device().startswith("cpu") and not workers.is_light(sum(file.stat().st_size for file in path.glob("*.safetensors"))):
        raise ComposeError(
            "base-model-unavailable", f"The base model {name} is too large for a worker without a GPU, and no other is here. Ask the hub's operator."
        )
    return path


@contextmanager
def told() -> Iterator[None]:
    """Give the hub's errors, and a full disk, the names that the work knows."""
    try:
        yield
    except runs.LostClaim as error:
        raise work.Lost(str(error)) from error
    except HubError as error:
        raise ComposeError(error.code, error.message) from error
    except OSError as error:
        if not storage.is_full(error):
            raise
        full = storage.full(error)
        raise ComposeError(full.code, full.message) from error


class Job:
    """A claimed row. What fails because a service is away is done again, until `check` ends it."""

    def __init__(self, row: Composition) -> None:
        self.row = row
        self.number = row.pk
        self.pause = settings.JOB_HEARTBEAT_SECONDS
        self.wishes = work.Wishes(enough=row.finish_requested)
        self.check: Callable[[], None] = lambda: None

    @property
    def status(self) -> str:
        """Where the job stands."""
        return self.row.status

    def told(self) -> AbstractContextManager[None]:
        """Give the hub's errors the names that the work knows."""
        return told()

    def prepare(self, folder: Path) -> spec.Spec:
        """Link the modules from the store, and gather what the engine takes."""
        return patience.insist(partial(self._laid_out, folder), self.check)

    def plan(self, total: int) -> None:
        """Keep how many evaluations the job takes."""
        self._keep(runs.plan, total=total)

    def stage(self, name: str, sentence: str) -> None:
        """Keep what begins now."""
        self._keep(runs.stage, name=name, sentence=sentence)

    def record(self, evaluation: spec.Evaluation) -> work.Wishes:
        """Append a measured candidate to the history."""
        return work.Wishes(cancelled=not self._keep(runs.record, evaluation=evaluation))

    def improve(self, weights: Mapping[str, float], loss: float) -> None:
        """Keep the best weights so far."""
        self._keep(runs.improve, weights=weights, loss=loss)

    def beat(self) -> work.Wishes:
        """Say that the worker lives."""
        try:
            with told():
                goes_on = runs.beat(job=self.row)
                workers.beat(name=NAME)
                return work.Wishes(cancelled=not goes_on, enough=runs.is_enough(job=self.row))
        except Error as error:
            connection.close()
            raise work.Away from error

    def rest(self) -> None:
        """Close the connection of the thread that beats."""
        connection.close()

    def finish(self, result: spec.Result, folder: Path) -> None:
        """Publish the result and end the job."""
        self._keep(runs.finish, result=result, folder=folder)

    def fail(self, code: str, message: str) -> None:
        """End the job with an error."""
        self.check = lambda: None
        self._keep(runs.fail, code=code, message=message)

    def cancelled(self) -> None:
        """End the job because its owner asked for it."""
        self._keep(runs.cancelled)

    def release(self) -> None:
        """Hand the job back to the queue."""
        patience.insist(partial(runs.release, job=self.row), seconds=LAST_SECONDS)

    def _keep(self, verb: Callable[..., Any], **what: Any) -> Any:
        return patience.insist(partial(verb, job=self.row, **what), self.check)

    def _laid_out(self, folder: Path) -> spec.Spec:
        """What an earlier try has laid out stays."""
        job, out = self.row, folder / work.OUT
        out.mkdir(parents=True, exist_ok=True)
        base = ""
        if job.examples:
            base = str(base_path(job.base_model))
            runs.settle_base(job=job, revision=hosted.shown_in(Path(base)) or fingerprint.of(base))
        return spec.Spec(
            base_model=job.base_model,
            base_path=base,
            base_revision=job.base_revision,
            modules=tuple(_module(one, folder / str(one.position)) for one in inputs.of(job)),
            examples=tuple(spec.Example(e["input"], e["output"]) for e in job.examples),
            method=job.method,
            settings=job.settings,
            seed=job.seed,
            name=job.target_id,
            description=job.description,
            out_dir=str(out),
            history=runs.history(job=job),
            shortlist=job.settings.get("shortlist") if job.auto else None,
            samples=work.SAMPLES,
            device=settings.COMPOSE_DEVICE,
            dtype=settings.COMPOSE_DTYPE,
            forward_tokens=settings.COMPOSE_FORWARD_TOKENS,
            keep_bases=settings.COMPOSE_BASES_BYTES,
            keep_modules=settings.COMPOSE_MODULES_BYTES,
        )


def _module(one: inputs.Input, folder: Path) -> spec.Module:
    folder.mkdir(exist_ok=True)
    for blob, path in ((one.config, adapters.CONFIG), (one.weights, adapters.WEIGHTS)):
        if not (folder / path).exists():
            storage.link(blob.sha256, folder / path)
    return spec.Module(
        id=one.id, revision=one.sha, path=str(folder), weights_sha256=one.weights.sha256, config_sha256=one.config.sha256, licence=one.licence or None
    )
