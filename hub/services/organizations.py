"""Organisations: accounts that own adapters and belong to their members. Who is in one and in which role; what a role may do is in `access`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Case, QuerySet, Value, When

from hub.errors import HubError, not_found
from hub.models import Adapter, Composition, FormerAccountName, Invitation, Membership, Notification, Role, User
from hub.models.accounts import validate_username
from hub.services import access, accounts, audit, gates, hosted, index, notifications, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_OWNED = 50  # organisations of one owner
MAX_INVITATIONS = 100  # that wait, of one organisation
MAX_ABOUT = 500
_RANK = Case(*(When(role=role, then=Value(place)) for place, role in enumerate(Role.values)))  # owners, writers, readers


def create(*, actor: "Actor", name: str, about: str = "") -> User:
    """Found an organisation; its founder is its first owner."""
    user = access.require_login(actor)
    name = _check_name(name)
    if Membership.objects.filter(user=user, role=Role.OWNER).count() >= MAX_OWNED:
        raise HubError("too-many-organizations", f"You own {MAX_OWNED} organisations. Leave or delete one first.", status=409)
    with _named_once(name), transaction.atomic():
        made = User(username=name, is_organization=True, is_active=False, about=_about(about))
        made.set_unusable_password()
        made.save()
        Membership.objects.create(organization=made, user=user, role=Role.OWNER)
        audit.record(user, "organization.create", made)
    return made


def find(*, name: str) -> User:
    """Return an organisation by the name that it has or had, or "not found". Everyone may see one, and who is in it."""
    for rows in (accounts.named(name), accounts.formerly(name)):
        if found := rows.filter(is_organization=True).first():
            return found
    raise HubError("organization-not-found", f"There is no organisation {name[:40]!r}.", status=404)


def members(*, organization: User) -> QuerySet[Membership]:
    """List the members, owners first."""
    return Membership.objects.filter(organization=organization).select_related("user", "organization").order_by(_RANK, "pk")


def of(*, user: User) -> QuerySet[Membership]:
    """List the organisations that a person is in."""
    return Membership.objects.filter(user=user).select_related("organization").order_by("organization__username")


def update(*, actor: "Actor", organization: User, about: str) -> User:
    """Change what an organisation says of itself."""
    user = require_owner(actor, organization)
    about = _about(about)
    with transaction.atomic():
        User.objects.filter(pk=organization.pk).update(about=about)
        audit.record(user, "organization.update", organization)
    organization.about = about
    return organization


def rename(*, actor: "Actor", organization: User, name: str) -> User:
    """Give an organisation another name. The old one leads to it, and nobody else can have it."""
    user, old = require_owner(actor, organization), organization.username
    name = name.strip().lower()
    if name == old:
        return organization
    name = _check_name(name, but=organization)
    with _named_once(name), transaction.atomic():
        FormerAccountName.objects.filter(account=organization, name__iexact=name).delete()
        FormerAccountName.objects.create(account=organization, name=old)
        User.objects.filter(pk=organization.pk).update(username=name)
        organization.username = name
        audit.record(user, "organization.rename", organization, before=old)
        for adapter in Adapter.objects.filter(owner=organization).select_related("owner", "head"):
            index.refresh(adapter)
            if adapter.is_base_model:
                hosted.announce(adapter)
    return organization


@transaction.atomic
def delete(*, actor: "Actor", organization: User) -> None:
    """Delete an organisation that owns nothing any more; its name is free again."""
    user = require_owner(actor, organization)
    User.objects.select_for_update().get(pk=organization.pk)
    left = Adapter.with_deleted.filter(owner=organization).count()
    if left:
        text = f"{organization.username} owns {left} adapters, deleted ones that can be restored among them. Hand them over, or delete them for good, first."
        raise HubError("organization-not-empty", text, status=409)
    if Composition.objects.active().filter(organization=organization).exists():
        raise HubError("organization-not-empty", f"A composition runs whose result goes to {organization.username}. Wait for it, or cancel it.", status=409)
    audit.record(user, "organization.delete", organization)
    organization.delete()


@transaction.atomic
def invite(*, actor: "Actor", organization: User, username: str, role: str) -> Invitation:
    """Ask a person to join; asking again changes the role. It gives them nothing before they accept."""
    user = require_owner(actor, organization)
    role, person = _role(role), gates.find_person(username)
    if Membership.objects.filter(organization=organization, user=person).exists():
        raise HubError("member-already", f"{person.username} is a member of {organization.username} already.", fields={"user": "A member already."})
    if Invitation.objects.filter(organization=organization).exclude(user=person).count() >= MAX_INVITATIONS:
        raise HubError("too-many-invitations", f"{MAX_INVITATIONS} invitations wait for an answer. Take one back first.", status=409)
    invitation, is_new = Invitation.objects.update_or_create(organization=organization, user=person, defaults={"role": role, "by": user})
    audit.record(user, "member.invite", organization, user=person.username, role=role)
    if is_new:
        text = f"{user.username} invites you to join {organization.username} as a {role}."
        notifications.notify(user=person, kind=Notification.Kind.INVITATION, actor=user, data={"text": text, "path": "/settings/organizations"})
    return invitation


def invitations(*, actor: "Actor", organization: User) -> QuerySet[Invitation]:
    """List who is asked to join, for owners alone."""
    require_owner(actor, organization)
    return Invitation.objects.filter(organization=organization).select_related("user", "by")


def invitations_to(*, actor: "Actor") -> QuerySet[Invitation]:
    """List the invitations that wait for the actor's answer."""
    return Invitation.objects.filter(user=access.require_login(actor)).select_related("organization", "by")


@transaction.atomic
def answer(*, actor: "Actor", organization: User, accept: bool) -> Membership | None:
    """Join an organisation that asked one to, or do not."""
    user = access.require_login(actor)
    invitation = Invitation.objects.select_for_update(of=("self",)).filter(organization=organization, user=user).first()
    if invitation is None:
        raise not_found("invitation")
    role = invitation.role
    invitation.delete()
    audit.record(user, "member.join" if accept else "member.decline", organization, role=role)
    return Membership.objects.create(organization=organization, user=user, role=role) if accept else None


@transaction.atomic
def withdraw(*, actor: "Actor", organization: User, username: str) -> None:
    """Take an invitation back."""
    user = require_owner(actor, organization)
    if not Invitation.objects.filter(organization=organization, user__username=texts.storable(username).lower()).delete()[0]:
        raise not_found("invitation")
    audit.record(user, "member.withdraw", organization, user=username.lower()[:39])


@transaction.atomic
def set_role(*, actor: "Actor", organization: User, username: str, role: str) -> Membership:
    """Give a member another role. The last owner stays one."""
    user, role = require_owner(actor, organization), _role(role)
    row = _member(organization, username)
    if row.role == role:
        return row
    if row.role == Role.OWNER:
        _refuse_last(organization, row)
    before, row.role = row.role, role
    row.save(update_fields=["role"])
    audit.record(user, "member.role", organization, user=row.user.username, role=role, before=before)
    return row


@transaction.atomic
def remove(*, actor: "Actor", organization: User, username: str) -> None:
    """Take a member out, or leave. The last owner stays."""
    user = access.require_login(actor)
    if user.username != username.lower():
        require_owner(actor, organization)
    row = _member(organization, username)
    if row.role == Role.OWNER:
        _refuse_last(organization, row)
    row.delete()
    audit.record(user, "member.leave" if user.pk == row.user_id else "member.remove", organization, user=row.user.username)


def require_owner(actor: "Actor", organization: User) -> User:
    """Return the actor as an owner of the organisation, or refuse."""
    user = access.require_login(actor)
    if access.role_at(user, organization) != Role.OWNER:
        raise HubError("forbidden", f"Only owners of {organization.username} can do this.", status=403)
    return user


def _member(organization: User, username: str) -> Membership:
    # All rows are held, so that two owners who leave at once wait for each other.
    rows = list(Membership.objects.select_for_update(of=("self",)).filter(organization=organization).select_related("user"))
    found = next((row for row in rows if row.user.username == username.lower()), None)
    if found is None:
        raise not_found("member")
    return found


def _refuse_last(organization: User, row: Membership) -> None:
    if not Membership.objects.filter(organization=organization, role=Role.OWNER).exclude(pk=row.pk).exists():
        text = f"{row.user.username} is the last owner of {organization.username}. Make somebody else an owner first, or delete the organisation."
        raise HubError("last-owner", text, status=409)


def _check_name(name: str, *, but: User | None = None) -> str:
    name = texts.storable(name).strip().lower()
    try:
        validate_username(name)
    except ValidationError as error:
        raise HubError(
            "name-invalid", error.messages[0].replace("user name", "name"), fields={"name": error.messages[0].replace("user name", "name")}
        ) from error
    others = accounts.formerly(name).exclude(pk=but.pk if but else 0)
    if accounts.named(name).exists() or others.exists() or accounts.is_namespace(name):
        raise _taken(name)
    return name


@contextmanager
def _named_once(name: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:  # somebody was faster
        raise _taken(name) from error


def _taken(name: str) -> HubError:
    return HubError("name-taken", f"The name {name} is taken.", status=409, fields={"name": "This name is taken."})


def _about(text: str) -> str:
    text = texts.storable(text).strip()
    if len(text) > MAX_ABOUT:
        raise HubError("about-too-long", f"The description has more than {MAX_ABOUT} characters.", fields={"about": f"At most {MAX_ABOUT} characters."})
    return text


def _role(role: str) -> str:
    if role not in Role.values:
        raise HubError("role-invalid", f"A role is one of: {', '.join(Role.values)}.", fields={"role": f"One of: {', '.join(Role.values)}."})
    return role
