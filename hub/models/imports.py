"""Imports of adapters from another hub: the row is the queue."""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models

from hub.models.adapters import Adapter

if TYPE_CHECKING:
    from hub.models.accounts import User

    Actor = User | AnonymousUser


class ImportQuerySet(models.QuerySet["Import"]):
    """Listings of imports."""

    def visible_to(self, user: "Actor") -> Self:
        """Keep the user's own."""
        return self.filter(owner=user) if user.is_authenticated else self.none()

    def active(self) -> Self:
        """Keep those that wait or run."""
        return self.filter(status__in=Import.ACTIVE)


class Import(models.Model):
    """One adapter of another hub on its way to become one of ours."""

    class Status(models.TextChoices):
        """Where it stands."""

        QUEUED = "queued", "Waiting"
        RUNNING = "running", "On its way"
        SUCCEEDED = "succeeded", "Finished"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    ACTIVE = (Status.QUEUED, Status.RUNNING)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="imports")
    repo_id = models.CharField(max_length=200, help_text="The id there.")
    revision = models.CharField(max_length=100, help_text="The branch, tag or commit there that was asked for.")
    sha = models.CharField(max_length=40, blank=True, help_text="The commit there.")
    name = models.CharField(max_length=96)
    private = models.BooleanField(default=False)
    adapter = models.ForeignKey(Adapter, models.SET_NULL, null=True, related_name="imports", help_text="What came of it.")

    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED, db_index=True)
    total = models.BigIntegerField(default=0, help_text="Bytes; 0 before that is known.")
    done = models.BigIntegerField(default=0)
    left_out = models.JSONField(default=list, help_text="Files there that an adapter does not have here.")
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    rung_at = models.DateTimeField(null=True, help_text="When the workers were last told of it.")
    claim = models.CharField(max_length=32, blank=True, help_text="Changes at every claim, so that a worker that lost it cannot write to it.")
    attempts = models.PositiveIntegerField(default=0)

    objects = ImportQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.pk} {self.repo_id}"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status not in self.ACTIVE

    @property
    def percent(self) -> int:
        """How much of it has come."""
        return round(100 * self.done / self.total) if self.total else 0
