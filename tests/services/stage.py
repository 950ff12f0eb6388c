"""What the tests of the services say again and again, said once."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import Model

from compose_worker.engine import spec
from hub.errors import HubError
from hub.models import Adapter, Composition, Event, Profile, User
from hub.services import adapters, jobs, profiles, runs
from tests import make

EXAMPLES = [{"input": f"question {i}", "output": f"answer {i}"} for i in range(6)]


@contextmanager
def refused(code: str, status: int | None = None) -> Iterator[pytest.ExceptionInfo[HubError]]:
    """Expect an error with this code, and with a sentence to show."""
    with pytest.raises(HubError) as caught:
        yield caught
    assert (caught.value.code, caught.value.status) == (code, status or caught.value.status)
    assert caught.value.message.endswith((".", '"')) and "!" not in caught.value.message


def incoming(files: Mapping[str, bytes]) -> list[adapters.Incoming]:
    """Files as a door hands them over."""
    return [adapters.Incoming(path, io.BytesIO(data)) for path, data in files.items()]


def submit(actor: User, modules: Any = "auto", **more: Any) -> Composition:
    """Submit a composition with everything in order that `more` does not say."""
    given: dict[str, Any] = {"base_model": make.BASE, "modules": modules, "examples": EXAMPLES, "name": "result", **more}
    return jobs.submit(actor=actor, **given)


def claimed(job: Composition, worker: str = "worker:1") -> Composition:
    """The job as the worker that took it holds it."""
    taken = runs.claim(job_id=job.pk, worker=worker)
    assert taken is not None
    return taken


def evaluation(step: int, loss: float = 1.0, weights: tuple[float, ...] = (1.0,), **more: Any) -> spec.Evaluation:
    """A measured candidate."""
    return spec.Evaluation(step, "search", weights, loss, **more)


def result(folder: Path, weights: dict[str, float], **more: Any) -> spec.Result:
    """What the engine hands back, with real files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = make.adapter(seed=7, card="# A mix\n\nMade of two.\n")
    files["recipe.json"] = json.dumps({"format": "medley-recipe", "weights": weights}).encode()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    scores = {"base": spec.Score(2.0, 0.1, 0.0, 0.3, 6), "composed": spec.Score(1.0, 0.9, 0.7, 1.0, 6)}
    given: dict[str, Any] = {"weights": weights, "scores": scores, "verdict": "mix", "summary": "The mix helps.", "files": tuple(files), "report": {}}
    return spec.Result(**{**given, **more})


def profile_of(adapter: Adapter) -> Profile:
    """The profile of an adapter's newest revision, as the database has it."""
    adapter.refresh_from_db()
    return Profile.objects.get(pk=adapter.head.profile_id)


def measured(adapter: Adapter, *numbers: float, matrices: Any = (("m", 0, "q_proj", 1.0, 1.0, [1.0]),), values: Any = (1.0,)) -> Profile:
    """Give an adapter's weights a fingerprint, as a worker does."""
    row = profiles.claim(profile_id=profile_of(adapter).pk)
    assert row is not None
    length = sum(number**2 for number in numbers) ** 0.5
    assert profiles.finish(profile=row, matrices=matrices, values=values, fingerprint=[number / length for number in numbers if length])
    return profile_of(adapter)


def verbs() -> list[str]:
    """The event log, oldest first."""
    return list(Event.objects.order_by("pk").values_list("verb", flat=True))


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls in threads that start together, each with its own connection; return what they return or raise."""
    gate, outcomes = threading.Barrier(len(calls)), [None] * len(calls)

    def one(place: int, call: Callable[[], Any]) -> None:
        try:
            gate.wait()
            outcomes[place] = call()
        except Exception as error:  # noqa: BLE001 (handed to the test)
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def all_text(*models: type[Model]) -> str:
    """Everything that the tables hold, as one text."""
    with connection.cursor() as cursor:
        rows = []
        for model in models:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
            rows += cursor.fetchall()
    return repr(rows)
