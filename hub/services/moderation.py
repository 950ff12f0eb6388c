"""What the hub's moderators decide: dismiss, hide a comment, take an adapter down, suspend an account, and each of it undone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from hub.errors import HubError, not_found
from hub.models import Adapter, Comment, Composition, Notification, Report, Takedown, Transfer, User
from hub.services import access, audit, hosted, notifications, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_TEXT = 2_000
DECISIONS = ("dismiss", "hide", "take-down", "suspend")
UNDONE = ("adapter", "comment", "account")  # of which decisions can be taken back


@dataclass(frozen=True)
class Case:
    """Everything that was reported about one thing, the first report first."""

    reports: list[Report]

    @property
    def first(self) -> Report:
        """The report that speaks for all."""
        return self.reports[0]


def require_staff(actor: "Actor") -> User:
    """Return the actor as a moderator, or refuse."""
    user = access.require_login(actor)
    if not user.is_staff:
        raise HubError("forbidden", "This is for the hub's moderators.", status=403)
    return user


def queue(*, actor: "Actor", limit: int = 200) -> list[Case]:
    """List what waits for a decision, the oldest first, all reports of one thing together."""
    require_staff(actor)
    rows = Report.objects.filter(status=Report.Status.OPEN).select_related("reporter", "person", "adapter__owner", "comment__author")
    cases: dict[tuple[str, int], list[Report]] = {}
    for row in rows.order_by("pk")[:limit]:
        cases.setdefault(_key(row), []).append(row)
    return [Case(found) for found in cases.values()]


def takedowns(*, actor: "Actor") -> QuerySet[Takedown]:
    """List what is taken down, the newest first."""
    require_staff(actor)
    return Takedown.objects.select_related("adapter__owner", "by").order_by("-pk")


def hidden_comments(*, actor: "Actor") -> QuerySet[Comment]:
    """List the comments that were hidden, the newest first."""
    require_staff(actor)
    return Comment.objects.filter(gone=Comment.Gone.HIDDEN).select_related("author", "adapter__owner").order_by("-pk")


def suspended(*, actor: "Actor") -> QuerySet[User]:
    """List the accounts that are suspended."""
    require_staff(actor)
    return User.objects.filter(is_active=False, is_namespace=False, is_organization=False).order_by("username")


def find_report(*, actor: "Actor", number: int) -> Report:
    """Return a report that waits for a decision."""
    require_staff(actor)
    row = Report.objects.select_related("adapter__owner", "comment__author", "comment__adapter__owner", "person").filter(pk=number, status="open").first()
    if row is None:
        raise HubError("report-closed", "There is no such open report. Somebody may have decided it meanwhile.", status=404)
    return row


def decide(*, actor: "Actor", report: Report, decision: str, reason: str = "", text: str = "") -> str:
    """Carry out a decision about what was reported, and so about all reports of it; return in a sentence what was done."""
    reason = reason or report.reason
    if decision == "dismiss":
        dismiss(actor=actor, report=report)
        return "Dismissed."
    if decision == "hide" and report.comment is not None:
        hide_comment(actor=actor, comment=report.comment, reason=reason)
        return "The comment is hidden."
    if decision == "take-down" and report.adapter is not None and not report.about_comment:
        take_down(actor=actor, adapter=report.adapter, reason=reason, text=text)
        return f"{report.subject} is taken down."
    if decision == "suspend" and report.person is not None:
        suspend(actor=actor, person=report.person, reason=reason)
        return f"{report.person.username} is suspended. The report is still open: decide about what was reported too."
    require_staff(actor)
    raise HubError("decision-invalid", "This cannot be decided about this report. It may be gone already; dismiss the report then.")


def undo(*, actor: "Actor", what: str, of: str) -> str:
    """Take back a decision about an adapter or a comment, by its number, or an account, by its name; return in a sentence what was done."""
    require_staff(actor)
    number = int(of[:18]) if of.isascii() and of.isdecimal() else 0
    if what == "adapter":
        adapter = find_taken_down(actor=actor, number=number)
        restore(actor=actor, adapter=adapter)
        return f"{adapter.repo_id} is back."
    if what == "comment":
        comment = hidden_comments(actor=actor).filter(pk=number).first()
        if comment is None:
            raise not_found("comment")
        show_comment(actor=actor, comment=comment)
        return "The comment is shown again."
    person = find_person(actor=actor, username=of)
    reinstate(actor=actor, person=person)
    return f"{person.username} may log in again."


@transaction.atomic
def dismiss(*, actor: "Actor", report: Report) -> None:
    """Leave what was reported as it is."""
    user = require_staff(actor)
    same = [row.pk for row in Report.objects.filter(status=Report.Status.OPEN) if _key(row) == _key(report)]
    _close(user, Report.objects.filter(pk__in=same), Report.Status.DISMISSED, "report.dismiss")
    audit.record(user, "report.dismiss", report, reports=same, about=report.subject)


@transaction.atomic
def hide_comment(*, actor: "Actor", comment: Comment, reason: str) -> None:
    """Hide a comment's words from everyone but moderators; its author is told why."""
    user, label = require_staff(actor), _label(reason)
    now = Comment.objects.select_for_update(of=("self",)).select_related("author", "adapter__owner").filter(pk=comment.pk, gone="").first()
    if now is None:
        raise not_found("comment")
    Comment.objects.filter(pk=now.pk).update(gone=Comment.Gone.HIDDEN)
    _close(user, Report.objects.filter(comment=now), Report.Status.UPHELD, "comment.hide")
    audit.record(user, "comment.hide", now, adapter=now.adapter.repo_id, author=now.author.username, reason=reason)
    seen = Adapter.objects.visible_to(now.author).filter(pk=now.adapter_id).exists()
    _tell([now.author], f"A comment of yours{f' on {now.adapter.repo_id}' if seen else ''} was hidden: {label}.", f"/{now.adapter.repo_id}" if seen else "")


@transaction.atomic
def show_comment(*, actor: "Actor", comment: Comment) -> None:
    """Show a hidden comment again."""
    user = require_staff(actor)
    if Comment.objects.filter(pk=comment.pk, gone=Comment.Gone.HIDDEN).update(gone="") == 0:
        raise not_found("comment")
    audit.record(user, "comment.show", comment, adapter=comment.adapter.repo_id)


@transaction.atomic
def take_down(*, actor: "Actor", adapter: Adapter, reason: str, text: str = "") -> Takedown:
    """Take an adapter or base model down: nobody sees it or has its files, its page says so, its name stays taken, and nothing new is composed with it.

    What was composed with it before stays where it is.
    """
    user, label, said = require_staff(actor), _label(reason), _clean(text)
    if Adapter.with_deleted.filter(pk=adapter.pk, taken_down=False).update(taken_down=True) == 0:
        raise not_found()
    row = Takedown.objects.create(adapter=adapter, reason=reason, text=said, by=user)
    Transfer.objects.filter(adapter=adapter).delete()
    hosted.forget(adapter)
    _close(user, Report.objects.filter(adapter=adapter, about_comment=False), Report.Status.UPHELD, "adapter.take-down")
    audit.record(user, "adapter.take-down", adapter, reason=reason, text=said)
    _tell(notifications.readers(adapter.owner), f"{adapter.repo_id} was taken down: {label}. {said}".strip(), f"/{adapter.repo_id}")
    return row


@transaction.atomic
def restore(*, actor: "Actor", adapter: Adapter) -> None:
    """Bring an adapter back as it was."""
    user = require_staff(actor)
    if Adapter.with_deleted.filter(pk=adapter.pk, taken_down=True).update(taken_down=False) == 0:
        raise not_found()
    Takedown.objects.filter(adapter=adapter).delete()
    adapter.refresh_from_db(fields=["taken_down"])
    if adapter.is_base_model:
        hosted.announce(adapter)
    audit.record(user, "adapter.put-back", adapter)
    _tell(notifications.readers(adapter.owner), f"{adapter.repo_id} is back as it was.", f"/{adapter.repo_id}")


@transaction.atomic
def suspend(*, actor: "Actor", person: User, reason: str) -> None:
    """Close an account: its sessions and tokens work no more, and its jobs end. What it has published stays until it is taken down."""
    user, _ = require_staff(actor), _label(reason)
    if person.pk == user.pk or ((person.is_staff or person.is_superuser) and not user.is_superuser):
        raise HubError("forbidden", f"You cannot suspend {person.username}: that is for the hub's operator.", status=403)
    if User.objects.filter(pk=person.pk, is_active=True, is_namespace=False, is_organization=False).update(is_active=False) == 0:
        raise not_found("account")
    Transfer.objects.filter(by=person).delete()
    jobs = Composition.objects.active().filter(owner=person)
    jobs.update(cancel_requested=True)
    jobs.filter(status=Composition.Status.QUEUED).update(status=Composition.Status.CANCELLED, finished_at=timezone.now())
    audit.record(user, "account.suspend", f"user:{person.username}", reason=reason)


@transaction.atomic
def reinstate(*, actor: "Actor", person: User) -> None:
    """Open a suspended account again."""
    user = require_staff(actor)
    if User.objects.filter(pk=person.pk, is_active=False, is_namespace=False, is_organization=False).update(is_active=True) == 0:
        raise not_found("account")
    audit.record(user, "account.reinstate", f"user:{person.username}")


def find_taken_down(*, actor: "Actor", number: int) -> Adapter:
    """Return an adapter that is taken down."""
    require_staff(actor)
    row = Adapter.with_deleted.select_related("owner", "head").filter(pk=number, taken_down=True).first()
    if row is None:
        raise not_found()
    return row


def find_person(*, actor: "Actor", username: str) -> User:
    """Return an account, open or suspended."""
    require_staff(actor)
    row = User.objects.filter(username=texts.storable(username).lower(), is_namespace=False, is_organization=False).first()
    if row is None:
        raise not_found("account")
    return row


def _key(row: Report) -> tuple[str, int]:
    """Name what a report is about; one whose object is gone stands for itself."""
    if row.about_comment:
        return ("comment", row.comment_id) if row.comment_id else ("report", row.pk)
    return ("adapter", row.adapter_id) if row.adapter_id else ("report", row.pk)


def _close(user: User, rows: QuerySet[Report], status: str, decision: str) -> None:
    rows.filter(status=Report.Status.OPEN).update(status=status, decided_by=user, decided_at=timezone.now(), decision=decision)


def _tell(people: Iterable[User], text: str, path: str) -> None:
    for person in people:
        notifications.notify(user=person, kind=Notification.Kind.MODERATION, data={"text": text, "path": path})


def _label(reason: str) -> str:
    if reason not in Report.Reason.values:
        raise HubError("reason-invalid", "Choose one of the reasons.", fields={"reason": f"One of: {', '.join(Report.Reason.values)}."})
    label = Report.Reason(reason).label
    return label[:1].lower() + label[1:]


def _clean(text: str) -> str:
    clean = texts.storable(text).strip()
    if len(clean) > MAX_TEXT:
        raise HubError("text-invalid", f"Say it in at most {MAX_TEXT:,} characters.", fields={"text": f"At most {MAX_TEXT:,} characters."})
    return clean
