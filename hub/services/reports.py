"""What people report to the hub's moderators: an adapter, or a comment."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from hub.errors import HubError, not_found
from hub.models import Adapter, Comment, Notification, Report, User
from hub.services import access, audit, notifications, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

RATE, WINDOW = 20, timedelta(days=1)  # reports of one person
MAX_TEXT = 2_000


def report_adapter(*, actor: "Actor", adapter: Adapter, reason: str, text: str = "") -> Report:
    """Report an adapter that the actor sees."""
    user = access.require_login(actor)
    now = Adapter.objects.visible_to(user).select_related("owner").filter(pk=adapter.pk).first()
    if now is None:
        raise not_found()
    if access.may_write(user, now):
        raise HubError("report-own", "This adapter is yours: change it or delete it.")
    return _add(user, Report(adapter=now, person=now.owner, subject=now.repo_id), reason, text)


def report_comment(*, actor: "Actor", comment: Comment, reason: str, text: str = "") -> Report:
    """Report a comment that the actor sees."""
    user = access.require_login(actor)
    now = Comment.objects.visible_to(user).select_related("author", "adapter__owner").filter(pk=comment.pk, gone="").first()
    if now is None:
        raise not_found("comment")
    if now.author_id == user.pk:
        raise HubError("report-own", "This comment is yours: change it or delete it.")
    row = Report(adapter=now.adapter, comment=now, about_comment=True, person=now.author, subject=now.adapter.repo_id, quote=now.body)
    return _add(user, row, reason, text)


def _add(user: User, row: Report, reason: str, text: str) -> Report:
    if reason not in Report.Reason.values:
        raise HubError("reason-invalid", "Say what is wrong: choose one of the reasons.", fields={"reason": f"One of: {', '.join(Report.Reason.values)}."})
    clean = texts.storable(text).strip()
    if len(clean) > MAX_TEXT:
        raise HubError("report-invalid", f"A report has at most {MAX_TEXT:,} characters.", fields={"text": f"At most {MAX_TEXT:,} characters."})
    if reason == Report.Reason.OTHER and not clean:
        raise HubError("report-invalid", "Say in a sentence what is wrong.", fields={"text": "Say what is wrong."})
    if audit.count(user, "report.create", WINDOW) >= RATE:
        raise HubError("too-many-reports", "You have sent many reports today. Go on tomorrow.", status=429)
    row.reporter, row.reason, row.text = user, reason, clean
    try:
        with transaction.atomic():
            row.save()
            audit.record(user, "report.create", row, about=row.subject, reason=reason)
            _ring()
    except IntegrityError as error:
        raise HubError("report-open", "You have reported this already, and it will be looked at.", status=409) from error
    return row


def _ring() -> None:
    """Tell each moderator that there is something to look at, once until they read it."""
    told = Notification.objects.filter(kind=Notification.Kind.MODERATION, data__path="/moderation", read_at=None)
    for user in User.objects.filter(is_staff=True, is_active=True).exclude(notifications__in=told):
        notifications.notify(user=user, kind=Notification.Kind.MODERATION, data={"text": "There are new reports to look at.", "path": "/moderation"})
