"""What adapters do to each matrix of their base model, measured by the worker once for the same weights and config, and which updates are alike."""

from typing import Any

from django.db import models

from hub.models.adapters import Blob


class Profile(models.Model):
    """The profile of weights read with a config; the row is the queue of those that wait to be measured. It goes with the bytes."""

    class Status(models.TextChoices):
        """Where the measuring stands."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    weights = models.ForeignKey(Blob, models.CASCADE, related_name="+")
    config = models.ForeignKey(Blob, models.CASCADE, related_name="+", help_text="It holds the scales, so other weights are not all that can change a profile.")
    base_model = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=7, choices=Status, default=Status.WAITING, db_index=True)
    rung_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    claim = models.CharField(max_length=32, blank=True, help_text="Changes at every claim, so that a worker that was given up cannot write.")
    attempts = models.PositiveSmallIntegerField(default=0)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    matrices = models.JSONField(null=True, help_text="A list for each matrix: name, layer, target, norm, effective rank, largest singular values.")
    values = models.JSONField(null=True, help_text="Root mean square over the matrices of the first singular value, the second, ...")
    by_layer = models.CharField(max_length=64, blank=True, default="", help_text="The change by layer for lists: a digit each, 9 for the largest.")
    fingerprint = models.BinaryField(null=True, help_text="Numbers of 16 bits, of length one together; empty where the update is zero.")
    left_out = models.PositiveIntegerField(default=0, help_text="Matrices that are not listed, the smallest of very many.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["weights", "config"], name="profile_once")]

    @property
    def is_done(self) -> bool:
        """Whether it is measured."""
        return self.status == self.Status.DONE

    @property
    def rows(self) -> list[list[Any]]:
        """The matrices, or none."""
        return self.matrices or []


class Neighbour(models.Model):
    """Another profile of the same base model whose update is like this one; each is its own neighbour, which finds its copies."""

    profile = models.ForeignKey(Profile, models.CASCADE, related_name="neighbours")
    other = models.ForeignKey(Profile, models.CASCADE, related_name="near")
    similarity = models.FloatField(help_text="Cosine of the fingerprints.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["profile", "other"], name="neighbour_once")]
