"""What each account stores: how many bytes, which they are, and how many it may."""

from django.conf import settings
from django.db import models

from hub.models.adapters import Blob


class Usage(models.Model):
    """The bytes of an account, kept beside the rows that they follow from: one row to lock, and none to count."""

    account = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="usage")
    bytes = models.BigIntegerField(default=0, help_text="What its revisions hold, each blob once; deleted adapters count until they are removed.")
    quota_mb = models.PositiveIntegerField(
        null=True, blank=True, verbose_name="quota (MB)", help_text="What it may store. Empty: as the settings say. 0: as much as it likes."
    )

    class Meta:
        verbose_name_plural = "usage"

    def __str__(self) -> str:
        return self.account.username


class Holding(models.Model):
    """A blob is in some revision of the account. Several accounts may hold the same blob, and each of them is charged for it."""

    account = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="holdings")
    blob = models.ForeignKey(Blob, models.CASCADE, related_name="holdings")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "blob"], name="holding_once")]
