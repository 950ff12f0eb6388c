"""Who has sent which bytes: what may be put into a commit by naming a hash alone; and who is sending some straight to the bucket."""

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


class DirectUpload(models.Model):
    """A person sends these bytes straight to the bucket. They count for nothing before all of them came and hash to this."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="direct_uploads")
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    part = models.BigIntegerField(help_text="Bytes of each part but the last.")
    key = models.CharField(max_length=60, unique=True, help_text="Where they lie in the bucket.")
    upload = models.TextField(help_text="The bucket's name for the upload.")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "sha256", "size", "part"], name="direct_upload_once")]

    def __str__(self) -> str:
        return self.key

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.size // self.part)

    def size_of(self, number: int) -> int:
        """Return the bytes of a part."""
        return min(self.part, self.size - (number - 1) * self.part)
