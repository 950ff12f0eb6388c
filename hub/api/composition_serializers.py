"""What the API answers about a composition, field by field."""

import math
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hub.api.serializers import Scores
from hub.models import Composition
from hub.services import jobs


class Number(serializers.FloatField):
    """A number that JSON can carry; null where a measurement was infinite or undefined."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_null=True, **more)

    def to_representation(self, value: float) -> float | None:
        """Return the number, or null."""
        return value if math.isfinite(value) else None


class Module(serializers.Serializer):
    """An adapter in its role as an ingredient, pinned to a revision."""

    id = serializers.CharField(source="repo_id")
    revision = serializers.CharField(source="sha")


class Progress(serializers.Serializer):
    """How far it is."""

    done = serializers.IntegerField(help_text="Candidates measured.")
    budget = serializers.IntegerField(help_text="Candidates that are measured at most; 0 before that is known.")


class Outcome(serializers.Serializer):
    """What was published."""

    adapter = serializers.CharField(source="adapter.repo_id")
    revision = serializers.CharField(source="sha")


class Failure(serializers.Serializer):
    """Why it failed."""

    code = serializers.CharField()
    message = serializers.CharField()


class Step(serializers.Serializer):
    """A measured candidate."""

    step = serializers.IntegerField()
    phase = serializers.CharField(help_text="shortlist, base, single, strength, uniform, search, fold, tune, without or cut")
    loss = Number()


class LogEntry(serializers.Serializer):
    """Something the worker did."""

    at = serializers.DateTimeField(source="created_at")
    sentence = serializers.CharField()


class CompositionItem(serializers.Serializer):
    """A composition in a list."""

    id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Composition.Status.choices)
    stage = serializers.CharField(help_text="What the worker does now: loading, modules, search, check or export; empty before and after.")
    name = serializers.CharField()
    result_id = serializers.CharField(source="target_id", help_text="The id that the result has or will have.")
    base_model = serializers.CharField()
    method = serializers.CharField()
    settings = serializers.DictField(help_text="Every setting with its value.")
    seed = serializers.IntegerField()
    private = serializers.BooleanField(source="is_private", help_text="Whether the result is private, or will be; who publishes it later changes this.")
    anywhere = serializers.BooleanField(help_text="Whether it may run on machines that people lend to the hub.")
    description = serializers.CharField()
    modules = Module(source="ingredients", many=True)
    examples_count = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    progress = Progress(source="*")
    best_loss = Number()
    finish_requested = serializers.BooleanField(help_text="Whether its owner asked to end the search with the best so far.")
    weights = serializers.DictField(child=serializers.FloatField(), help_text="The best so far, then the final ones, by adapter id.")
    scores = Scores()
    verdict = serializers.CharField(help_text="mix, single, tuned (a newly trained adapter) or nothing; empty before the end.")
    summary = serializers.CharField()
    result = Outcome(allow_null=True)
    error = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField(help_text="The page for people.")

    def get_examples_count(self, job: Composition) -> int:
        """Return the number of examples."""
        return len(job.examples)

    @extend_schema_field(Failure(allow_null=True))
    def get_error(self, job: Composition) -> dict[str, str] | None:
        """Return why it failed, or nothing."""
        return {"code": job.error_code, "message": job.error_message} if job.error_code else None

    def get_url(self, job: Composition) -> str:
        """Return the address of its page."""
        return str(self.context["request"].build_absolute_uri(reverse("composition-detail", args=[job.pk])))


class CompositionDetail(CompositionItem):
    """A composition with everything that happened."""

    queue_place = serializers.SerializerMethodField(help_text="How many compositions are before this one; null unless it is queued.")
    history = Step(many=True)
    report = serializers.DictField(help_text="Folds, device, seconds by stage and the like; empty before the end.")
    log = LogEntry(many=True)

    @extend_schema_field({"type": "integer", "nullable": True})
    def get_queue_place(self, job: Composition) -> int | None:
        """Return its place in the queue."""
        return jobs.queue_place(job) if job.status == Composition.Status.QUEUED else None


class CompositionWithExamples(CompositionDetail):
    """A composition with its examples."""

    examples = serializers.ListField(child=serializers.DictField(), required=False)
