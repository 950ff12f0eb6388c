"""The verbs of gated adapters: ask to be let in, decide who is, list who asked."""

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from hub.errors import HubError, not_found
from hub.models import AccessRequest, Adapter, Parent, User
from hub.services import access, audit, notifications, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

Status = AccessRequest.Status


@transaction.atomic
def ask(*, actor: "Actor", adapter: Adapter) -> AccessRequest:
    """Ask for the files of a gated adapter. Where whoever asks is let in, that is at once; asking again changes nothing else."""
    user = access.require_login(actor)
    now = Adapter.objects.visible_to(user).select_related("owner").filter(pk=adapter.pk).first()
    if now is None:
        raise not_found()
    _require_gate(now)
    if access.role_at(user, now.owner):
        raise HubError("access-own", "This adapter is yours, and so are its files.")
    row, new = AccessRequest.objects.get_or_create(adapter=now, user=user)
    if row.status == Status.REJECTED:
        raise HubError("access-rejected", f"{now.owner.username} has rejected your request for {now.repo_id}. Asking again does not change that.", status=403)
    if new:
        audit.record(user, "access.ask", now)
    if now.gated == Adapter.Gate.AUTO and row.status == Status.PENDING:
        _set(row, Status.ACCEPTED)
    elif new:
        notifications.asked(request=row)
    return row


@transaction.atomic
def decide(*, actor: "Actor", adapter: Adapter, request: AccessRequest, status: str) -> AccessRequest:
    """Accept or reject a request, or put it back among those that wait; the person gains or loses the files at once."""
    user = access.require_manage(actor, adapter)
    _require_gate(adapter)
    if status not in Status.values:
        raise HubError("status-invalid", f"A request is one of: {', '.join(Status.values)}.")
    if request.adapter_id != adapter.pk:
        raise no_request()
    if request.status == status:
        raise HubError("access-unchanged", f"The request of {request.user.username} is {status} already.", status=404)
    _set(request, status)
    audit.record(user, f"access.{status}", adapter, user=request.user.username)
    notifications.answered(request=request)
    return request


@transaction.atomic
def grant(*, actor: "Actor", adapter: Adapter, username: str) -> AccessRequest:
    """Let a person in who need not have asked."""
    user = access.require_manage(actor, adapter)
    _require_gate(adapter)
    person = find_person(username)
    row, _ = AccessRequest.objects.get_or_create(adapter=adapter, user=person)
    if access.role_at(person, adapter.owner) or row.status == Status.ACCEPTED:
        raise HubError("access-unchanged", f"{person.username} has access to {adapter.repo_id} already.")
    _set(row, Status.ACCEPTED)
    audit.record(user, "access.accepted", adapter, user=person.username)
    notifications.answered(request=row)
    return row


def requests(*, actor: "Actor", adapter: Adapter, status: str = "") -> QuerySet[AccessRequest]:
    """List who asked for access, or with `status` those of whom that was decided; for the owner alone."""
    access.require_manage(actor, adapter)
    rows = adapter.access_requests.select_related("user")
    return rows.filter(status=status) if status else rows


def request_of(*, actor: "Actor", adapter: Adapter) -> AccessRequest | None:
    """Return what the actor asked for, if they did."""
    return adapter.access_requests.filter(user=actor).first() if actor.is_authenticated else None


def waiting(*, adapter: Adapter) -> int:
    """Count the requests that wait for the owner's answer."""
    return adapter.access_requests.filter(status=Status.PENDING).count()


def find_request(*, actor: "Actor", adapter: Adapter, username: str) -> AccessRequest:
    """Return the request of a person, for the owner alone."""
    row = requests(actor=actor, adapter=adapter).filter(user=find_person(username)).first()
    if row is None:
        raise no_request()
    return row


def find_person(username: str) -> User:
    """Return the account with this name, or "not found"."""
    person = User.objects.filter(username=texts.storable(username).lower(), is_active=True).first()
    if person is None:
        raise HubError("user-not-found", f"There is no account {username[:40]!r}.", status=404)
    return person


def no_request() -> HubError:
    """Say that this person has not asked."""
    return HubError("request-not-found", "There is no such request for access.", status=404)


def refuse_to_reveal(adapter: Adapter, *, to: User | None = None) -> None:
    """Refuse to show others what was composed from adapters that are not for them: to everyone, or to another account and its members."""
    parents = Parent.objects.filter(revision__adapter=adapter, adapter__isnull=False)
    hidden, gated = parents.filter(adapter__private=True), parents.exclude(adapter__gated="").exclude(adapter__owner=to or adapter.owner_id)
    if to is not None:
        hidden = hidden.exclude(adapter__owner=to)
    if hidden.exists():
        text = f"{adapter.repo_id} was composed from a private adapter, and its recipe names it. Make that adapter public first."
        raise HubError("private-parents", text, status=409)
    if Parent.objects.filter(revision__adapter=adapter, closed=True).exists():
        text = f"{adapter.repo_id} was composed from an adapter that was private, gated or taken down when it was deleted. It stays private."
        raise HubError("closed-parents", text, status=409)
    if parents.filter(adapter__taken_down=True).exists():
        text = f"{adapter.repo_id} was composed from an adapter that was taken down. It stays private as long as that is so."
        raise HubError("taken-down-parents", text, status=409)
    if gated.exists():
        text = f"{adapter.repo_id} was composed from another person's gated adapter, and holds its weights. It stays private while that one is gated."
        raise HubError("gated-parents", text, status=409)


def _require_gate(adapter: Adapter) -> None:
    if not adapter.gated:
        raise HubError("not-gated", f"{adapter.repo_id} is not gated: everyone who sees it may have its files.")


def _set(row: AccessRequest, status: str) -> None:
    row.status = status
    row.save(update_fields=["status"])
