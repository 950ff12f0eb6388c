"""The audit log: who did what to which object, when, and through which door; append-only."""

from django.conf import settings
from django.db import models


class Event(models.Model):
    """One thing that happened. `subject` is an id such as "acme/my-lora" or "composition:12", so it outlives its object."""

    class Door(models.TextChoices):
        """What it came through."""

        WEB = "web", "The pages"
        API = "api", "The REST API"
        HF = "hf", "A Hugging Face client"
        ADMIN = "admin", "The admin pages"
        SERVER = "server", "The server"  # commands, the worker and the clock

    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="events")
    verb = models.CharField(max_length=40)
    subject = models.CharField(max_length=200, db_index=True)
    kind = models.CharField(max_length=40, blank=True, help_text="What the object is.")
    object_id = models.BigIntegerField(null=True, help_text="Its key, which stays the same when it is renamed.")
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="log", help_text="Whose object it was then: a person's or an organisation's."
    )
    door = models.CharField(max_length=6, choices=Door, default=Door.SERVER)
    network = models.CharField(max_length=43, blank=True, help_text="Of what concerns accounts only: the first part of the address it came from.")
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["kind", "object_id", "-id"], name="event_object"),
            models.Index(fields=["account", "-id"], name="event_account"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}"
