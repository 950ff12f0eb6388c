"""Compositions: the job row is the queue, and the history is the checkpoint."""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models.functions import Coalesce, Lower

from hub.models.adapters import Revision

if TYPE_CHECKING:
    from hub.models.accounts import User

    Actor = User | AnonymousUser


class CompositionQuerySet(models.QuerySet["Composition"]):
    """Listings of jobs."""

    def visible_to(self, user: "Actor") -> Self:
        """Keep the user's own jobs: examples are private."""
        return self.filter(owner=user) if user.is_authenticated else self.none()

    def active(self) -> Self:
        """Keep jobs that wait or run."""
        return self.filter(status__in=Composition.ACTIVE)

    def claiming(self, account: "User", name: str) -> Self:
        """Keep active jobs whose result will have this name."""
        publishes = models.Q(organization=account) | models.Q(organization=None, owner=account)
        return self.active().filter(publishes, name__iexact=name)


class Composition(models.Model):
    """A job: modules + examples + method -> weights -> a new adapter."""

    class Status(models.TextChoices):
        """Where a job stands."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    class Priority(models.IntegerChoices):
        """Who is served first; only operators raise it."""

        LOW = -1, "low"
        NORMAL = 0, "normal"
        HIGH = 1, "high"

    ACTIVE = (Status.QUEUED, Status.RUNNING)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="compositions")
    organization = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", help_text="Under which the result is published, if not under its owner's name."
    )
    name = models.CharField(max_length=96)
    private = models.BooleanField(default=False)
    anywhere = models.BooleanField(default=False, db_default=False, help_text="It may run on machines that people lend to the hub; they see its examples.")
    description = models.CharField(max_length=1000, blank=True)
    base_model = models.CharField(max_length=200)
    base_revision = models.CharField(max_length=40, blank=True, default="", db_default="", help_text="The version of it that the history was measured on.")
    auto = models.BooleanField(default=False, help_text="The modules were found by Medley.")
    examples = models.JSONField()
    method = models.CharField(max_length=40)
    settings = models.JSONField(default=dict)
    seed = models.BigIntegerField(default=0)
    priority = models.SmallIntegerField(choices=Priority, default=Priority.NORMAL)
    idempotency_key = models.CharField(max_length=200, null=True)
    request_hash = models.CharField(max_length=64)

    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED, db_index=True)
    stage = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    rung_at = models.DateTimeField(null=True, help_text="When the workers were last told of this job.")
    claim = models.CharField(max_length=32, blank=True, help_text="Changes at every claim, so that a worker that lost its job cannot write to it.")
    worker = models.CharField(max_length=100, blank=True)
    worker_token = models.ForeignKey("WorkerToken", models.SET_NULL, null=True, related_name="+", help_text="Of a worker elsewhere that has or had it.")
    attempts = models.PositiveIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    finish_requested = models.BooleanField(default=False, help_text="End the search with the best so far.")

    done = models.PositiveIntegerField(default=0)
    budget = models.PositiveIntegerField(default=0)
    weights = models.JSONField(default=dict, help_text="Best so far, then final, by module id.")
    best_loss = models.FloatField(null=True)
    scores = models.JSONField(default=dict)
    verdict = models.CharField(max_length=10, blank=True)
    summary = models.TextField(blank=True)
    report = models.JSONField(default=dict)
    result = models.ForeignKey(Revision, models.SET_NULL, null=True, related_name="compositions")
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)

    objects = CompositionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "idempotency_key"], name="idempotency_key_once"),
            models.UniqueConstraint(
                Coalesce("organization", "owner"), Lower("name"), condition=models.Q(status__in=["queued", "running"]), name="active_name_once"
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "started_at"], name="served_by_owner"),
            # How long the last ones on a base model took.
            models.Index(fields=["base_model", "-id"], condition=models.Q(status="succeeded"), name="succeeded_on_base"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.name}"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status not in self.ACTIVE

    @property
    def is_private(self) -> bool:
        """Whether its result is not for everyone: as the result is, or before there is one, as was asked for."""
        return self.result.adapter.private if self.result else self.private

    @property
    def target_id(self) -> str:
        """The id that the result has or will have."""
        return f"{self.publisher.username}/{self.name}"

    @property
    def publisher(self) -> "User":
        """Under whose name the result is published."""
        return self.organization or self.owner


class Ingredient(models.Model):
    """A module of a job: an adapter pinned to a revision. The id and sha outlive the adapter."""

    composition = models.ForeignKey(Composition, models.CASCADE, related_name="ingredients")
    position = models.PositiveIntegerField()
    revision = models.ForeignKey(Revision, models.SET_NULL, null=True, related_name="+")
    repo_id = models.CharField(max_length=140)
    sha = models.CharField(max_length=40)
    closed = models.BooleanField(default=False, db_default=False, help_text="Somebody else's, and not for everyone when it was deleted.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["composition", "position"], name="position_once")]


class Evaluation(models.Model):
    """One measured candidate, as compose_worker.engine.spec.Evaluation."""

    composition = models.ForeignKey(Composition, models.CASCADE, related_name="history")
    step = models.PositiveIntegerField()
    phase = models.CharField(max_length=20)
    weights = models.JSONField()
    loss = models.FloatField()
    rows = models.JSONField(null=True)
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["step"]
        constraints = [models.UniqueConstraint(fields=["composition", "step"], name="step_once")]


class LogLine(models.Model):
    """A sentence about what a job did."""

    composition = models.ForeignKey(Composition, models.CASCADE, related_name="log")
    created_at = models.DateTimeField(auto_now_add=True)
    sentence = models.CharField(max_length=500)

    class Meta:
        ordering = ["id"]
