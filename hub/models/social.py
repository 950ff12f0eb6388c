"""Likes and downloads."""

from django.conf import settings
from django.db import models

from hub.models.adapters import Adapter


class Like(models.Model):
    """A person likes an adapter, once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="likes")
    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="liked_by")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "adapter"], name="like_once")]


class Download(models.Model):
    """A client fetched an adapter's weights on a day; the client is kept as a salted hash."""

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="download_days")
    client = models.CharField(max_length=32)
    day = models.DateField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["adapter", "client", "day"], name="download_once_a_day")]
