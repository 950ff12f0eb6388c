"""How stored bytes were cut into chunks by Xet clients."""

from django.db import models

from hub.models.adapters import Blob


class ChunkIndex(models.Model):
    """The chunks of a blob that came by Xet. A client that asks for the first of them is told the others too, and need not send them again."""

    blob = models.OneToOneField(Blob, models.CASCADE, related_name="+")
    first = models.CharField(max_length=64, db_index=True, help_text="The hash of the first chunk.")
    chunks = models.BinaryField(help_text="Hash and length of each chunk, 36 bytes for about 64 KiB.")
