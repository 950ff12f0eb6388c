"""Who may do what. Verbs ask here; doors do not decide."""

from typing import TYPE_CHECKING

from django.conf import settings

from hub.errors import HubError
from hub.models import AccessRequest, Adapter, User

if TYPE_CHECKING:
    from hub.models.adapters import Actor

EVERYONE = "everyone"
OPEN_FILE = "README.md"  # what a gated adapter shows to everyone


def require_login(actor: "Actor") -> User:
    """Return the actor as a user, or refuse."""
    if not isinstance(actor, User) or not actor.is_active:
        raise HubError("login-required", "Log in, or send an access token, to do this.", status=401)
    return actor


def require_write(actor: "Actor", adapter: Adapter) -> User:
    """Return the actor as a user who may change the adapter, or refuse. Operators change what is hosted under nobody's name."""
    user = require_login(actor)
    if may_write(user, adapter):
        return user
    who = "the hub's operators" if adapter.owner.is_namespace else adapter.owner.username
    raise HubError("forbidden", f"Only {who} can change {adapter.repo_id}.", status=403)


def may_write(actor: "Actor", adapter: Adapter) -> bool:
    """Say whether the actor may change the adapter."""
    return adapter.owner_id == actor.pk or (adapter.owner.is_namespace and actor.is_staff)


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
    if not adapter.gated or may_write(actor, adapter):
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
