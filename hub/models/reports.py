"""What people report to the hub's moderators, and what became of it."""

from django.conf import settings
from django.db import models

from hub.models.adapters import Adapter
from hub.models.comments import Comment


class Report(models.Model):
    """A person says that an adapter, or a comment, should not be here. It outlives what it is about."""

    class Reason(models.TextChoices):
        """What is wrong."""

        SPAM = "spam", "Spam or advertising"
        ABUSE = "abuse", "Harassment or hate"
        RIGHTS = "rights", "Somebody's rights: copyright, licence or trade mark"
        HARM = "harm", "Harmful: malware, or made to do harm"
        PRIVACY = "privacy", "Somebody's personal data"
        OTHER = "other", "Something else"

    class Status(models.TextChoices):
        """What became of it."""

        OPEN = "open", "Open"
        DISMISSED = "dismissed", "Dismissed"
        UPHELD = "upheld", "Upheld"

    reporter = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="reports")
    adapter = models.ForeignKey(Adapter, models.SET_NULL, null=True, related_name="reports", help_text="Of a comment, the adapter it is about.")
    comment = models.ForeignKey(Comment, models.SET_NULL, null=True, related_name="reports")
    about_comment = models.BooleanField(default=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="reports_about", help_text="Whose it is.")
    subject = models.CharField(max_length=140, help_text="The adapter's id at that time.")
    quote = models.TextField(blank=True, help_text="The comment's words at that time.")
    reason = models.CharField(max_length=8, choices=Reason)
    text = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.OPEN)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decision = models.CharField(max_length=40, blank=True, help_text="The verb that upheld it.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["reporter", "adapter"], condition=models.Q(status="open", about_comment=False), name="report_adapter_once"),
            models.UniqueConstraint(fields=["reporter", "comment"], condition=models.Q(status="open", about_comment=True), name="report_comment_once"),
        ]
        indexes = [models.Index(fields=["id"], condition=models.Q(status="open"), name="report_open")]

    def __str__(self) -> str:
        return f"report {self.pk} of {self.subject}"


class Takedown(models.Model):
    """An adapter was taken down: why, by whom and when. The row goes when it is restored; the event log keeps both."""

    adapter = models.OneToOneField(Adapter, models.CASCADE, related_name="takedown")
    reason = models.CharField(max_length=8, choices=Report.Reason)
    text = models.CharField(max_length=2000, blank=True, help_text="What the owner is told beyond the reason.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"takedown of {self.adapter_id}"
