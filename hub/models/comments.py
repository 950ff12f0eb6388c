"""What people say about an adapter."""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce

from hub.models.adapters import Adapter

if TYPE_CHECKING:
    from hub.models.adapters import Actor


class CommentQuerySet(models.QuerySet["Comment"]):
    """Listings of comments."""

    def visible_to(self, user: "Actor") -> Self:
        """Keep those under adapters that `user` may see."""
        return self.filter(adapter__in=Adapter.objects.visible_to(user))

    def threads(self) -> Self:
        """The newest conversation first, each from its beginning."""
        return self.annotate(thread=Coalesce("parent_id", "id")).order_by("-thread", "id").select_related("author")


class Comment(models.Model):
    """A comment on an adapter, or an answer to one; answers have no answers of their own."""

    class Gone(models.TextChoices):
        """Why the words are not shown, where they are not."""

        DELETED = "deleted", "Deleted"
        HIDDEN = "hidden", "Hidden by the hub's moderators"

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="comments")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="comments")
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="replies")
    body = models.TextField(help_text="Markdown; empty once it is deleted.")
    gone = models.CharField(max_length=8, choices=Gone, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(null=True)

    objects = CommentQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"comment {self.pk}"
