"""Who may do what. Verbs ask here; doors do not decide."""

from typing import TYPE_CHECKING

from hub.errors import HubError
from hub.models import Adapter, User

if TYPE_CHECKING:
    from hub.models.adapters import Actor


def require_login(actor: "Actor") -> User:
    """Return the actor as a user, or refuse."""
    if not isinstance(actor, User) or not actor.is_active:
        raise HubError("login-required", "Log in, or send an access token, to do this.", status=401)
    return actor


def require_write(actor: "Actor", adapter: Adapter) -> User:
    """Return the actor as a user who may change the adapter, or refuse."""
    user = require_login(actor)
    if adapter.owner_id != user.pk:
        raise HubError("forbidden", f"Only {adapter.owner.username} can change {adapter.repo_id}.", status=403)
    return user
