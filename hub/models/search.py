"""What finding adapters reads: their words for full-text search, and the values that lists are narrowed and counted by."""

from django.db import models


class SearchText(models.Model):
    """The words of an adapter, the telling ones first; the database keeps a full-text index of this table by itself (its migration says how)."""

    adapter = models.OneToOneField("Adapter", models.CASCADE, primary_key=True, related_name="search_text")
    title = models.TextField(help_text="Owner and name, whole and in parts.")
    words = models.TextField(help_text="Tags, task, base model, datasets, languages.")
    body = models.TextField(help_text="The card.")

    def __str__(self) -> str:
        return self.title


class Facet(models.Model):
    """One value of an adapter under one heading, such as task = text-generation."""

    adapter = models.ForeignKey("Adapter", models.CASCADE, related_name="facets")
    name = models.CharField(max_length=12)
    value = models.CharField(max_length=250)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "value", "adapter"], name="facet_once")]

    def __str__(self) -> str:
        return f"{self.name}={self.value}"
