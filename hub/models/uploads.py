"""Who has sent which bytes: what may be put into a commit by naming a hash alone."""

from django.conf import settings
from django.db import models

from hub.models.adapters import Blob


class Upload(models.Model):
    """A person has sent these bytes in full, ahead of the commit that will name them. Knowing a hash is not having the bytes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="uploads")
    blob = models.ForeignKey(Blob, models.CASCADE, related_name="uploads")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "blob"], name="upload_once")]
