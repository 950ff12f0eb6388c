"""What workers elsewhere send and get, field by field."""

import math
from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.reverse import reverse

from hub.api import bodies
from hub.api.bodies import StrictField, words
from hub.models import Blob, Composition
from hub.services import lending, workers

MAX_BATCH = 500  # evaluations in one report


def _list(most: int, size: int, **more: Any) -> StrictField:
    def accepts(data: Any) -> bool:
        return isinstance(data, list) and len(data) <= most and all(isinstance(item, str) and len(item) <= size for item in data)

    described = {"type": "array", "items": {"type": "string", "maxLength": size}, "maxItems": most}
    return StrictField(accepts, f"a list of at most {most} texts", described, **more)


def _is_number(data: Any) -> bool:
    return isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)


def _is_stage(data: Any) -> bool:
    return isinstance(data, dict) and set(data) == {"name", "sentence"} and all(isinstance(v, str) and len(v) <= 500 for v in data.values())


def _is_best(data: Any) -> bool:
    return data is None or (isinstance(data, dict) and set(data) == {"weights", "loss"} and isinstance(data["weights"], dict) and _is_number(data["loss"]))


class Claim(serializers.Serializer):
    """The body of POST worker/claim."""

    instance = words(58, help_text="Which process this is, such as host:1234; other ones with the same token have other names.")
    device = words(20, help_text="cpu, cuda, cuda:1 and so on.")
    bases = _list(workers.MAX_BASES, workers.MAX_BASE, default=list, help_text="Base models that it takes jobs for, such as acme/*; none listed are all.")
    folders = _list(workers.MAX_BASES, workers.MAX_BASE, default=list, help_text="Base models that it has itself; all others it fetches from the hub.")
    warm = words(200, default="", help_text="The base model that lies in its memory.")


class Report(serializers.Serializer):
    """The body of POST worker/runs/{run}/report; an empty one is a heartbeat."""

    budget = StrictField(
        lambda data: data is None or (type(data) is int and 0 <= data <= lending.MAX_STEPS),
        "a number from 0, or null",
        {"type": "integer", "minimum": 0, "maximum": lending.MAX_STEPS, "nullable": True},
        default=None,
        allow_null=True,
        help_text="How many candidates are measured at most.",
    )
    stages = StrictField(
        lambda data: isinstance(data, list) and len(data) <= 20 and all(map(_is_stage, data)),
        'a list of {"name": "...", "sentence": "..."}',
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "sentence": {"type": "string", "maxLength": 500}},
                "required": ["name", "sentence"],
            },
            "maxItems": 20,
        },
        default=list,
        help_text="What began since the last report.",
    )
    evaluations = StrictField(
        lambda data: isinstance(data, list) and len(data) <= MAX_BATCH,
        f"a list of at most {MAX_BATCH} evaluations",
        {"type": "array", "items": {"type": "object", "additionalProperties": True}, "maxItems": MAX_BATCH},
        default=list,
        help_text="Candidates measured since, in order: step, phase, weights, loss, rows, detail.",
    )
    best = StrictField(
        _is_best,
        'null, or {"weights": {...}, "loss": 1.5}',
        {
            "type": "object",
            "properties": {"weights": {"type": "object", "additionalProperties": {"type": "number"}}, "loss": {"type": "number"}},
            "required": ["weights", "loss"],
            "nullable": True,
        },
        default=None,
        allow_null=True,
        help_text="The best weights so far by adapter id.",
    )


class Fault(serializers.Serializer):
    """The body of POST worker/runs/{run}/fail."""

    code = words(
        60,
        help_text="internal where something broke on the worker: then another one goes on. link-invalid where the link to a file of a module was refused: "
        "the job ends with the reason if there is one, else another worker goes on. Any other code ends the job.",
    )
    message = words(1000, help_text="One sentence for the job's owner.")


class Finish(serializers.Serializer):
    """The form of a result."""

    result = serializers.CharField(help_text="JSON: weights, scores, verdict, summary, report, files with path and sha256.")
    files = serializers.ListField(child=serializers.FileField(), required=False, help_text="The files that the result names, each under its name.")


class InputFile(serializers.Serializer):
    """A file of a module."""

    sha256 = serializers.CharField()
    size = serializers.IntegerField()
    url = serializers.CharField(help_text="Where it is, for an hour and while the job is this worker's. It may lead on to a bucket.")


class InputModule(serializers.Serializer):
    """A module of the job."""

    id = serializers.CharField()
    revision = serializers.CharField()
    licence = serializers.CharField(allow_null=True)
    config = InputFile()
    weights = InputFile()


class Measured(serializers.Serializer):
    """A candidate that was measured before, here or elsewhere: it is not measured again."""

    step = serializers.IntegerField()
    phase = serializers.CharField()
    weights = serializers.ListField(child=serializers.FloatField())
    loss = serializers.FloatField()
    rows = serializers.ListField(child=serializers.IntegerField(), allow_null=True)
    detail = serializers.DictField()


class ExampleRow(serializers.Serializer):
    """One example."""

    input = serializers.CharField()
    output = serializers.CharField()


class Run(serializers.Serializer):
    """A job as its worker gets it."""

    run = serializers.IntegerField(help_text="Its number, for the addresses below worker/runs/.")
    claim = serializers.CharField(help_text="Goes into the header X-Claim of every call about it.")
    heartbeat_seconds = serializers.FloatField(help_text="Report at least so often; a job that is silent for much longer goes to another worker.")
    finish_requested = serializers.BooleanField(help_text="Whether its owner asked to end the search with the best so far.")
    name = serializers.CharField(help_text="The id of the result.")
    description = serializers.CharField()
    base_model = serializers.CharField()
    base_revision = serializers.CharField(help_text="The revision of the base model to fetch from this hub; empty where there is none to fetch.")
    method = serializers.CharField()
    settings = serializers.DictField()
    seed = serializers.IntegerField()
    shortlist = serializers.IntegerField(allow_null=True, help_text="How many modules to keep of those that the hub found; null where the owner named them.")
    examples = ExampleRow(many=True)
    modules = InputModule(many=True)
    history = Measured(many=True)


class Orders(serializers.Serializer):
    """What the owner of a job wants."""

    cancelled = serializers.BooleanField(help_text="Stop, and release the job.")
    enough = serializers.BooleanField(help_text="End the search with the best so far, and finish.")


class Standing(serializers.Serializer):
    """Where a job stands."""

    run = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Composition.Status.choices)


def run(request: Any, handed: lending.Handed) -> dict[str, Any]:
    """Return a job as its worker gets it."""
    job = handed.job

    def file(blob: Blob) -> dict[str, Any]:
        return {"sha256": blob.sha256, "size": blob.size, "url": reverse("api-worker-input", [lending.link(job, blob)], request=request)}

    return {
        "run": job.pk,
        "claim": job.claim,
        "heartbeat_seconds": settings.JOB_HEARTBEAT_SECONDS,
        "finish_requested": job.finish_requested,
        "name": job.target_id,
        "description": job.description,
        "base_model": job.base_model,
        "base_revision": handed.base_revision,
        "method": job.method,
        "settings": job.settings,
        "seed": job.seed,
        "shortlist": job.settings.get("shortlist") if job.auto else None,
        "examples": job.examples,
        "modules": [
            {"id": m.id, "revision": m.sha, "licence": m.licence or None, "config": file(m.config), "weights": file(m.weights)} for m in handed.modules
        ],
        "history": [
            {
                "step": e.step,
                "phase": e.phase,
                "weights": list(e.weights),
                "loss": e.loss,
                "rows": None if e.rows is None else list(e.rows),
                "detail": dict(e.detail),
            }
            for e in handed.history
        ],
    }


read = bodies.read
