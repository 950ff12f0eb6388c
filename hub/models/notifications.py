"""What people are told, and how they wish to be told."""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from hub.models.adapters import Adapter
from hub.models.comments import Comment
from hub.models.jobs import Composition

if TYPE_CHECKING:
    from hub.models.adapters import Actor


ICONS = {"comment": "chat", "reply": "chat", "like": "heart", "access-asked": "lock", "access-answered": "lock", "composed": "plus", "moderation": "flag"}


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Listings of notifications."""

    def visible_to(self, user: "Actor") -> Self:
        """Keep the user's own about what they may see now, whatever they could see when they were told."""
        if not user.is_authenticated:
            return self.none()
        seen = Adapter.objects.visible_to(user)
        rows = self.filter(user=user)
        about = models.Q(adapter=None) | models.Q(adapter__in=seen)
        used = models.Q(used=None) | models.Q(used__in=seen)
        said = models.Q(comment=None) | models.Q(comment__gone="")
        return rows.filter(about & used & said)

    def listed(self) -> Self:
        """Keep those that are more than a mail."""
        return self.filter(in_app=True)

    def unread(self) -> Self:
        """Keep what was not read."""
        return self.filter(read_at=None)


class Notification(models.Model):
    """One thing that a person is told. What it is about is named by keys, so that it goes when its object goes or is hidden."""

    class Kind(models.TextChoices):
        """What happened."""

        COMPOSED = "composed", "Somebody publishes an adapter composed with one of yours"
        COMMENT = "comment", "Somebody comments on an adapter of yours"
        REPLY = "reply", "Somebody answers in a conversation of yours"
        LIKE = "like", "Somebody likes an adapter of yours"
        ACCESS_ASKED = "access-asked", "Somebody asks for the files of a gated adapter of yours"
        ACCESS_ANSWERED = "access-answered", "Your request for the files of a gated adapter is answered"
        INVITATION = "invitation", "Somebody invites you"
        JOB = "job", "A composition of yours has finished or failed"
        MODERATION = "moderation", "The hub's moderators decide about something of yours"

    class Mail(models.TextChoices):
        """Where the mail stands."""

        NONE = "", "None"
        DUE = "due", "Due"
        SENT = "sent", "Sent"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=16, choices=Kind)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    adapter = models.ForeignKey(Adapter, models.CASCADE, null=True, related_name="+", help_text="What it is about; shown only as long as its reader sees that.")
    used = models.ForeignKey(Adapter, models.CASCADE, null=True, related_name="+", help_text="The reader's adapter that another one was composed with.")
    comment = models.ForeignKey(Comment, models.CASCADE, null=True, related_name="+")
    composition = models.ForeignKey(Composition, models.CASCADE, null=True, related_name="+")
    data = models.JSONField(default=dict, help_text="What no key names: text and url of what is told in other words.")
    in_app = models.BooleanField(default=True, help_text="Whether it is in the list; else only a mail tells.")
    mail = models.CharField(max_length=4, choices=Mail, blank=True, default=Mail.NONE)
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["user", "-id"], condition=models.Q(read_at=None, in_app=True), name="notification_unread"),
            models.Index(fields=["id"], condition=models.Q(mail="due"), name="notification_mail_due"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.user_id}"

    @property
    def icon(self) -> str:
        """The sign that stands for its kind."""
        return ICONS.get(self.kind, "info")


class NotificationWish(models.Model):
    """How a person wishes to be told of one kind, where that differs from what everyone gets."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notification_wishes")
    kind = models.CharField(max_length=16, choices=Notification.Kind)
    in_app = models.BooleanField()
    mail = models.BooleanField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "kind"], name="wish_once")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.user_id}"
