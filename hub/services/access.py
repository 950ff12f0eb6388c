"""Who may do what. Verbs ask here; doors do not decide."""

from typing import TYPE_CHECKING

from django.conf import settings

from hub.errors import HubError
from hub.models import AccessRequest, Adapter, Membership, Role, User

if TYPE_CHECKING:
    from hub.models.adapters import Actor

EVERYONE = "everyone"
WRITERS = (Role.OWNER, Role.WRITER)
OPEN_FILE = "README.md"  # what a gated adapter shows to everyone


def require_login(actor: "Actor") -> User:
    """Return the actor as a user, or refuse."""
    if not isinstance(actor, User) or not actor.is_active:
        raise HubError("login-required", "Log in, or send an access token, to do this.", status=401)
    return actor


def role_at(actor: "Actor", account: User) -> str:
    """Say what the actor is where this account owns things: its owner, a writer or reader of the organisation, or nothing ("")."""
    if not isinstance(actor, User):
        return ""
    if account.pk == actor.pk or (account.is_namespace and actor.is_staff):
        return Role.OWNER
    if account.is_organization:
        return Membership.objects.filter(organization=account, user=actor).values_list("role", flat=True).first() or ""
    return ""


def may_write(actor: "Actor", adapter: Adapter) -> bool:
    """Say whether the actor may commit to the adapter, were it not archived."""
    return role_at(actor, adapter.owner) in WRITERS


def may_manage(actor: "Actor", adapter: Adapter) -> bool:
    """Say whether the actor may rename, hand over, hide, gate, archive and delete the adapter."""
    return role_at(actor, adapter.owner) == Role.OWNER


def may_create(actor: "Actor", account: User) -> bool:
    """Say whether the actor may make adapters under this name. What is hosted under a namespace has a verb of its own."""
    return not account.is_namespace and role_at(actor, account) in WRITERS


def require_write(actor: "Actor", adapter: Adapter) -> User:
    """Return the actor as a user who may change the adapter's contents, or refuse. Operators change what is hosted under nobody's name."""
    user = require_member(actor, adapter)
    if adapter.archived_at is not None:
        raise HubError("archived", f"{adapter.repo_id} is archived: it can be read and not changed. Its owner can take it out of the archive.", status=403)
    return user


def require_member(actor: "Actor", adapter: Adapter) -> User:
    """Return the actor as a user who may change something about the adapter, archived or not; the verbs say what."""
    user = require_login(actor)
    if not may_write(user, adapter):
        raise _forbidden(adapter, "writers and owners")
    return user


def require_manage(actor: "Actor", adapter: Adapter) -> User:
    """Return the actor as a user who may decide about the adapter, or refuse."""
    user = require_login(actor)
    if not may_manage(user, adapter):
        raise _forbidden(adapter, "owners")
    return user


def require_create(actor: "Actor", account: User | None) -> User:
    """Return the account under which the actor makes something: their own where none is named."""
    user = require_login(actor)
    if account is not None and not may_create(user, account):
        raise foreign(user, account.username)
    return account or user


def foreign(user: User, name: str) -> HubError:
    """Say under which names an account makes adapters; in the same words whether the other name exists or not."""
    text = f"You are {user.username}, and make adapters under that name, or under an organisation whose writer or owner you are; not under {name[:39]}."
    return HubError("forbidden", text, status=403, fields={"owner": text})


def publishers(*, user: User) -> list[User]:
    """List the accounts under which the user makes adapters: their own, then organisations by name."""
    rows = User.objects.filter(members__user=user, members__role__in=WRITERS, is_organization=True).order_by("username")
    return [user, *rows]


def _forbidden(adapter: Adapter, who: str) -> HubError:
    owner = adapter.owner
    said = "the hub's operators" if owner.is_namespace else f"{who} of {owner.username}" if owner.is_organization else owner.username
    return HubError("forbidden", f"Only {said} can change {adapter.repo_id}.", status=403)


def may_host(user: User | None) -> bool:
    """Say whether this account's repositories may be base models: an operator's, or with HOST_MODELS=everyone anybody's."""
    return user is not None and (user.is_staff or user.is_namespace or settings.HOST_MODELS == EVERYONE)


def largest_adapter() -> int:
    """Return the bytes that the weights of an adapter may have."""
    return int(settings.MAX_WEIGHTS_BYTES)


def largest_model(user: User | None) -> int:
    """Return the bytes that a file of weights of a base model may have; 0 for those who may not host any."""
    return int(settings.MAX_MODEL_BYTES) if may_host(user) else 0


def largest_file(user: User | None) -> int:
    """Return the bytes that any file of this sender may have."""
    return max(largest_adapter(), largest_model(user))


def may_read_files(actor: "Actor", adapter: Adapter) -> bool:
    """Say whether the actor, who sees the adapter, may have its files too."""
    if not adapter.gated or role_at(actor, adapter.owner):
        return True
    return actor.is_authenticated and AccessRequest.objects.filter(adapter=adapter, user=actor, status=AccessRequest.Status.ACCEPTED).exists()


def require_file(actor: "Actor", adapter: Adapter, path: str = "") -> None:
    """Refuse whoever was not let in to a gated adapter; its card is for everyone."""
    if path == OPEN_FILE or may_read_files(actor, adapter):
        return
    what = f"{adapter.repo_id} is gated: its files are for those whom {adapter.owner.username} lets in."
    page = f"{settings.PUBLIC_URL}/{adapter.repo_id}"
    if not actor.is_authenticated:
        raise HubError("gated", f"{what} Log in, or send an access token, and ask for access: {page} has the button.", status=401)
    row = AccessRequest.objects.filter(adapter=adapter, user=actor).first()
    if row is None:
        raise HubError("gated", f"{what} Ask for access: {page} has the button.", status=403)
    said = "has not answered your request yet" if row.status == AccessRequest.Status.PENDING else "has rejected your request"
    raise HubError("gated", f"{what} {adapter.owner.username} {said}: see {page} for it.", status=403)
