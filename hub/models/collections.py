"""Lists of adapters that people put together."""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.utils.text import slugify

from hub.models.adapters import Adapter

if TYPE_CHECKING:
    from hub.models.adapters import Actor


class CollectionQuerySet(models.QuerySet["Collection"]):
    """Listings of collections."""

    def visible_to(self, user: "Actor") -> Self:
        """Keep what `user` may see: everything public of open accounts, and their own."""
        public = models.Q(private=False, owner__is_active=True)
        return self.filter(public | models.Q(owner=user)) if user.is_authenticated else self.filter(public)


class Collection(models.Model):
    """A named list in its owner's order."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="collections")
    title = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    private = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now_add=True)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title

    @property
    def slug(self) -> str:
        """The last part of its address: words for people, and the number that counts."""
        return f"{slugify(self.title)[:60].strip('-') or 'collection'}-{self.pk}"


class CollectionItem(models.Model):
    """An adapter or base model in a collection."""

    collection = models.ForeignKey(Collection, models.CASCADE, related_name="items")
    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="+")
    position = models.PositiveIntegerField()
    note = models.CharField(max_length=500, blank=True)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["collection", "adapter"], name="collection_item_once")]

    def __str__(self) -> str:
        return f"item {self.pk}"
