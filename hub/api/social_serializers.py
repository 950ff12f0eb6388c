"""What the API answers about comments, collections, notifications and reports."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hub.models import Collection, Comment, Notification, Report
from hub.services import notices


class CommentItem(serializers.Serializer):
    """A comment on an adapter."""

    id = serializers.IntegerField(source="pk")
    author = serializers.CharField(source="author.username")
    body = serializers.CharField(help_text="Markdown; empty where the words are gone.")
    reply_to = serializers.IntegerField(source="parent_id", allow_null=True, help_text="The comment that began the conversation; null for that one itself.")
    gone = serializers.SerializerMethodField(help_text="Why the words are gone: deleted, or hidden by the hub's moderators; null where they are there.")
    created_at = serializers.DateTimeField()
    edited_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field({"type": "string", "enum": Comment.Gone.values, "nullable": True})
    def get_gone(self, comment: Comment) -> str | None:
        """Return the reason."""
        return comment.gone or None


class NotificationItem(serializers.Serializer):
    """Something that the asker is told."""

    id = serializers.IntegerField(source="pk")
    kind = serializers.ChoiceField(choices=Notification.Kind.values)
    text = serializers.SerializerMethodField(help_text="One sentence for people.")
    url = serializers.SerializerMethodField(help_text="The page that shows it.")
    adapter = serializers.CharField(source="adapter.repo_id", default=None, allow_null=True)
    actor = serializers.CharField(source="actor.username", default=None, allow_null=True)
    read = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    def get_text(self, row: Notification) -> str:
        """Return what is told."""
        return notices.told(row).text

    def get_url(self, row: Notification) -> str:
        """Return the address."""
        return str(self.context["request"].build_absolute_uri(notices.told(row).path))

    def get_read(self, row: Notification) -> bool:
        """Return whether it was read."""
        return row.read_at is not None


class ReportItem(serializers.Serializer):
    """A report that was taken."""

    id = serializers.IntegerField(source="pk")
    reason = serializers.ChoiceField(choices=Report.Reason.values)
    status = serializers.CharField(help_text="open")
    created_at = serializers.DateTimeField()


class CollectionRow(serializers.Serializer):
    """A collection in a list."""

    id = serializers.IntegerField(source="pk")
    owner = serializers.CharField(source="owner.username")
    title = serializers.CharField()
    description = serializers.CharField()
    private = serializers.BooleanField()
    size = serializers.IntegerField(help_text="How many things in it you may see.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class CollectionItemShape(serializers.Serializer):
    """Something in a collection."""

    id = serializers.IntegerField(source="pk")
    adapter = serializers.CharField(source="adapter.repo_id")
    note = serializers.CharField()
    position = serializers.IntegerField()
    added_at = serializers.DateTimeField()


class CollectionDetail(CollectionRow):
    """A collection with what the asker may see of it."""

    size = serializers.SerializerMethodField(help_text="How many things in it you may see.")
    items = serializers.SerializerMethodField()

    def get_size(self, row: Collection) -> int:
        """Return how many there are."""
        return len(self.context["items"])

    @extend_schema_field(CollectionItemShape(many=True))
    def get_items(self, row: Collection) -> Any:
        """Return them in order."""
        return CollectionItemShape(self.context["items"], many=True).data


class CaseReport(serializers.Serializer):
    """One report of a case."""

    id = serializers.IntegerField(source="pk", help_text="What a decision names.")
    reporter = serializers.CharField(source="reporter.username", default=None, allow_null=True)
    reason = serializers.ChoiceField(choices=Report.Reason.values)
    text = serializers.CharField()
    created_at = serializers.DateTimeField()


class CaseItem(serializers.Serializer):
    """One thing that was reported, with all reports of it."""

    adapter = serializers.CharField(source="first.subject", help_text="The adapter, or the one that the comment is about, as it was called then.")
    comment = serializers.IntegerField(source="first.comment_id", allow_null=True)
    quote = serializers.CharField(source="first.quote", help_text="The comment as it was then.")
    person = serializers.CharField(source="first.person.username", default=None, allow_null=True, help_text="Whose it is.")
    reports = CaseReport(many=True)


class TakenDown(serializers.Serializer):
    """An adapter that is taken down."""

    number = serializers.CharField(source="adapter_id", help_text="By which it is brought back.")
    adapter = serializers.CharField(source="adapter.repo_id")
    reason = serializers.ChoiceField(choices=Report.Reason.values)
    text = serializers.CharField()
    by = serializers.CharField(source="by.username", default=None, allow_null=True)


class Done(serializers.Serializer):
    """What was done, in a sentence."""

    done = serializers.CharField()
