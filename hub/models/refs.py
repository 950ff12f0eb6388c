"""Names beside the adapter's own: branches and tags of its revisions, and the ids that it had before it was moved."""

import re

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from hub.models.adapters import Adapter, Revision

REF_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_])?")


class Ref(models.Model):
    """A branch, which commits move, or a tag, which stays. The branch main is `Adapter.head` and has no row."""

    class Kind(models.TextChoices):
        """What a name does when a commit comes."""

        BRANCH = "branch", "Branch"
        TAG = "tag", "Tag"

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="refs")
    kind = models.CharField(max_length=6, choices=Kind)
    name = models.CharField(max_length=100)
    revision = models.ForeignKey(Revision, models.CASCADE, null=True, related_name="+", help_text="Null for a branch of an adapter without files.")
    message = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        # One name means one revision, whatever kind of name it is.
        constraints = [models.UniqueConstraint(fields=["adapter", "name"], name="ref_once")]

    def __str__(self) -> str:
        return self.name


class FormerName(models.Model):
    """An id that an adapter had before it was renamed; it leads to the adapter until somebody takes the name."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=96)
    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="former_names")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint("owner", Lower("name"), name="former_name_once")]

    def __str__(self) -> str:
        return self.name
