"""Machines that work for the hub: tokens by which those elsewhere are let in, and who was there lately."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models

from hub.models.jobs import Composition

LIVE = timedelta(seconds=60)  # a worker that was not seen for so long is not counted on


class WorkerToken(models.Model):
    """Lets workers on somebody's machine take jobs over HTTPS; stored as its hash. It is nobody's account."""

    name = models.CharField(max_length=40, unique=True, help_text="Whose machine it is; people see it beside what was computed there.")
    digest = models.CharField(max_length=64, unique=True)
    bases = models.JSONField(default=list, blank=True, help_text="Base models that it may serve, such as acme/*; none listed are all.")
    trusted = models.BooleanField(
        default=False, help_text="It may run every job, with private adapters and examples. Without this only jobs whose owners let them run on lent machines."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class WorkerQuerySet(models.QuerySet["Worker"]):
    """Listings of workers."""

    def live(self, now: datetime) -> "WorkerQuerySet":
        """Keep those that were seen a moment ago."""
        return self.filter(seen_at__gte=now - LIVE)

    def with_job(self) -> "WorkerQuerySet":
        """Add `job`: the number of the job that each runs now."""
        running = Composition.objects.filter(worker=models.OuterRef("name"), status=Composition.Status.RUNNING).order_by("-pk")
        return self.annotate(job=models.Subquery(running.values("pk")[:1]))


class Worker(models.Model):
    """One process that takes jobs, as it last announced itself."""

    name = models.CharField(max_length=100, unique=True)
    token = models.ForeignKey(WorkerToken, models.CASCADE, null=True, related_name="workers", help_text="None for one that reads the database itself.")
    device = models.CharField(max_length=20)
    bases = models.JSONField(default=list, help_text="Base models that it takes jobs for; none listed are all.")
    folders = models.JSONField(default=list, help_text="Base models in a folder of its own.")
    warm = models.CharField(max_length=200, blank=True, help_text="The base model that lies in its memory.")
    seen_at = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def has_gpu(self) -> bool:
        """Whether it computes on something faster than a processor."""
        return not self.device.startswith("cpu")
