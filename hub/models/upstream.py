"""What is known of base models that are read through from another hub."""

from django.db import models

from hub.models.adapters import Adapter, Blob


class Upstream(models.Model):
    """The other hub's files of one of our repositories are fetched from there."""

    adapter = models.OneToOneField(Adapter, models.CASCADE, related_name="upstream")
    repo_id = models.CharField(max_length=140, help_text="The id there, as that hub writes it.")
    created_at = models.DateTimeField(auto_now_add=True)


class Pending(models.Model):
    """Bytes that are known by hash and size, and lie upstream until somebody asks for them. The row goes once they are here."""

    blob = models.OneToOneField(Blob, models.CASCADE, related_name="pending")
    repo_id = models.CharField(max_length=140)
    sha = models.CharField(max_length=40, help_text="The commit there.")
    path = models.CharField(max_length=255)
