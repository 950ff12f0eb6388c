"""Tells people what concerns them, in the list and by mail as they wish. Nothing is told of what they may not see, now or when it was told."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils import timezone

from hub import celery
from hub.errors import HubError, not_found
from hub.models import AccessRequest, Adapter, Comment, Composition, Event, Like, Notification, NotificationWish, Revision, Role, User
from hub.services import access

if TYPE_CHECKING:
    from hub.models.adapters import Actor

Kind = Notification.Kind
ALWAYS = frozenset([Kind.MODERATION])  # in the list whatever one wishes
MAILED = frozenset([Kind.MODERATION])  # by mail unless one wishes otherwise
SHOWN = 99  # unread ones are counted up to here


def notify(*, user: User, kind: str, actor: User | None = None, **about: Any) -> Notification | None:
    """Tell a person, as they wish; `about` holds the keys or the data of the row. Nobody is told of what they did themselves, or may not see."""
    if (actor is not None and actor.pk == user.pk) or not user.is_active or user.is_namespace:
        return None
    named = [row.pk for row in (about.get("adapter"), about.get("used")) if row is not None]
    if Adapter.objects.visible_to(user).filter(pk__in=named).count() != len(set(named)):
        return None
    in_app, mail = wish(user=user, kind=kind)
    if not (in_app or mail):
        return None
    state = Notification.Mail.DUE if mail and user.email else Notification.Mail.NONE
    row = Notification.objects.create(user=user, kind=kind, actor=actor, in_app=in_app, mail=state, **about)
    if row.mail:
        transaction.on_commit(lambda: celery.mail(row.pk), robust=True)
    return row


def wish(*, user: User, kind: str) -> tuple[bool, bool]:
    """Return whether a person wishes to be told of this in the list, and by mail."""
    row = NotificationWish.objects.filter(user=user, kind=kind).first()
    if row is None:
        return True, kind in MAILED
    return row.in_app or kind in ALWAYS, row.mail


def wishes(*, user: User) -> dict[str, tuple[bool, bool]]:
    """Return how a person wishes to be told of each kind."""
    rows = {row.kind: row for row in NotificationWish.objects.filter(user=user)}
    return {kind: (rows[kind].in_app or kind in ALWAYS, rows[kind].mail) if kind in rows else (True, kind in MAILED) for kind in Kind.values}


@transaction.atomic
def set_wishes(*, actor: "Actor", in_app: Iterable[str], mail: Iterable[str]) -> None:
    """Keep which kinds a person wishes to be told of, and how; all others are off."""
    user = access.require_login(actor)
    listed, mailed = set(in_app), set(mail)
    if unknown := sorted((listed | mailed) - set(Kind.values)):
        raise HubError("kind-invalid", f"There is no kind of notification {unknown[0][:40]!r}.")
    for kind in Kind.values:
        NotificationWish.objects.update_or_create(user=user, kind=kind, defaults={"in_app": kind in listed or kind in ALWAYS, "mail": kind in mailed})


def listing(*, actor: "Actor") -> QuerySet[Notification]:
    """List what the actor was told, the newest first."""
    return _shown(access.require_login(actor)).filter(in_app=True)


def unread(*, actor: "Actor") -> int:
    """Count what the actor has not read, up to SHOWN + 1."""
    if not actor.is_authenticated or not actor.has_unread:
        return 0
    return Notification.objects.visible_to(actor).listed().unread()[: SHOWN + 1].count()


def find(*, actor: "Actor", number: int) -> Notification:
    """Return one of the actor's notifications, or "not found"."""
    row = listing(actor=actor).filter(pk=number).first()
    if row is None:
        raise not_found("notification")
    return row


def read(*, actor: "Actor", number: int | None = None) -> None:
    """Mark one as read, or all."""
    user = access.require_login(actor)
    rows = Notification.objects.filter(user=user, read_at=None)
    if number is not None:
        rows = rows.filter(pk=find(actor=user, number=number).pk)
    rows.update(read_at=timezone.now())


def composed(*, adapter: Adapter, revision: Revision) -> None:
    """Tell the owners of the parents of a composed adapter that everyone may see it; once, however often it is hidden and shown again."""
    if adapter.private:
        return
    for parent in revision.parents.select_related("adapter__owner"):
        used = parent.adapter
        if used is None or used.owner_id == adapter.owner_id:
            continue
        for user in readers(used.owner):
            if not Notification.objects.filter(user=user, kind=Kind.COMPOSED, adapter=adapter, used=used).exists():
                notify(user=user, kind=Kind.COMPOSED, actor=revision.author or adapter.owner, adapter=adapter, used=used)


def published(*, adapter: Adapter) -> None:
    """Tell whoever is concerned that an adapter is public now; nobody where it is not."""
    if adapter.head is not None and adapter.composed:
        composed(adapter=adapter, revision=adapter.head)


def commented(*, comment: Comment) -> None:
    """Tell the adapter's owner, and everyone in the conversation, each once."""
    told: set[int] = {comment.author_id}
    about: dict[str, Any] = {"actor": comment.author, "adapter": comment.adapter, "comment": comment}
    if comment.parent_id is not None:
        others = User.objects.filter(comments__in=Comment.objects.filter(parent=comment.parent_id)) | User.objects.filter(comments=comment.parent_id)
        for user in others.distinct():
            if user.pk not in told:
                told.add(user.pk)
                notify(user=user, kind=Kind.REPLY, **about)
    for user in readers(comment.adapter.owner):
        if user.pk not in told:
            told.add(user.pk)
            notify(user=user, kind=Kind.COMMENT, **about)


def liked(*, like: Like) -> None:
    """Tell the owner: likes that come before the owner reads of them are one. Who takes a like back and gives it again is not told of twice."""
    adapter = like.adapter
    if Event.objects.filter(actor=like.user, verb="adapter.like", subject=adapter.repo_id).count() > 1:
        return
    for user in readers(adapter.owner):
        if user == like.user:
            continue  # nobody is told of their own like, nor does it stand for those of others
        rows = Notification.objects.filter(user=user, kind=Kind.LIKE, adapter=adapter, read_at=None)
        if not rows.exclude(actor=like.user).update(actor=like.user) and not rows.exists():
            notify(user=user, kind=Kind.LIKE, actor=like.user, adapter=adapter, created_at=like.created_at)


def unliked(*, adapter: Adapter) -> None:
    """Forget what was not read yet and is no longer so."""
    for row in Notification.objects.filter(kind=Kind.LIKE, adapter=adapter, read_at=None):
        latest = Like.objects.filter(adapter=adapter, created_at__gte=row.created_at).exclude(user=row.user).order_by("-pk").first()
        if latest is None:
            row.delete()
        elif latest.user_id != row.actor_id:
            Notification.objects.filter(pk=row.pk).update(actor=latest.user)


def asked(*, request: AccessRequest) -> None:
    """Tell the owner of a gated adapter that somebody asks for its files."""
    for user in readers(request.adapter.owner, [Role.OWNER]):
        notify(user=user, kind=Kind.ACCESS_ASKED, actor=request.user, adapter=request.adapter)


def answered(*, request: AccessRequest) -> None:
    """Tell whoever asked for files what was decided."""
    if request.status != AccessRequest.Status.PENDING:
        notify(user=request.user, kind=Kind.ACCESS_ANSWERED, adapter=request.adapter, data={"accepted": request.status == AccessRequest.Status.ACCEPTED})


def ended(*, job: Composition) -> None:
    """Tell whose composition it is that it has ended."""
    notify(user=job.owner, kind=Kind.JOB, composition=job)


def readers(owner: User, roles: Iterable[str] = access.WRITERS) -> list[User]:
    """Return the people who are told what concerns an owner: they themself, or an organisation's members in these roles."""
    if not owner.is_organization:
        return [owner]
    return list(User.objects.filter(memberships__organization=owner, memberships__role__in=list(roles), is_active=True).order_by("pk"))


def claim_mail(*, number: int) -> Notification | None:
    """Return a notification whose mail is due, for whoever asks first; None where it was sent or read meanwhile, or may not be told any more."""
    if Notification.objects.filter(pk=number, mail=Notification.Mail.DUE).update(mail=Notification.Mail.SENT) == 0:
        return None
    user = User.objects.get(notifications=number)
    return _shown(user).filter(pk=number, read_at=None).first() if user.is_active else None


def unclaim_mail(*, number: int) -> None:
    """Say that the mail did not go out."""
    Notification.objects.filter(pk=number).update(mail=Notification.Mail.DUE)


def due() -> list[int]:
    """List whose mail has not gone out."""
    return list(Notification.objects.filter(mail=Notification.Mail.DUE).order_by("pk").values_list("pk", flat=True)[:100])


def _shown(user: User) -> QuerySet[Notification]:
    """What a person may be told now; `people` is how many have liked since, where it is about likes."""
    liked = Like.objects.filter(adapter=OuterRef("adapter"), created_at__gte=OuterRef("created_at")).exclude(user=user)
    people = liked.order_by().values("adapter").annotate(n=Count("pk")).values("n")
    rows = Notification.objects.visible_to(user).annotate(people=Subquery(people))
    return rows.select_related("user", "actor", "adapter__owner", "used__owner", "comment", "composition")
