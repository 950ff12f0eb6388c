"""The event log: who did what to which object, append-only."""

from django.conf import settings
from django.db import models


class Event(models.Model):
    """One thing that happened. `subject` is an id such as "acme/my-lora" or "composition:12", so it outlives its object."""

    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="events")
    verb = models.CharField(max_length=40)
    subject = models.CharField(max_length=200, db_index=True)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}"
