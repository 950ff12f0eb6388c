"""Who asks, and people and organisations as clients list them."""

from typing import Any

from django.http import HttpRequest

from hub.hf import shapes
from hub.hf.door import door
from hub.models import Role, User
from hub.services import access, organizations

ROLES = {Role.OWNER: "admin", Role.WRITER: "write", Role.READER: "read"}  # as Hugging Face names them


@door("GET", "HEAD")
def whoami(request: HttpRequest) -> dict[str, Any]:
    """Say who the token belongs to and what it may do."""
    user = access.require_login(request.user)
    token = getattr(request, "access_token", None)
    auth: dict[str, Any] = {"type": "session"}
    if token is not None:
        shown = {"displayName": token.name, "role": token.scope, "createdAt": shapes.moment(token.created)}
        auth = {"type": "access_token", "accessToken": shown}
    full = user.get_full_name() or user.username
    plan = {"canPay": False, "isPro": False, "orgs": _organizations(user)}
    return {"type": "user", "id": f"{user.pk:024x}", "name": user.username, "fullname": full, "email": user.email, **plan, "auth": auth}


def person(user: User) -> dict[str, Any]:
    """Return a person as clients list them."""
    return {"_id": f"{user.pk:024x}", "user": user.username, "fullname": user.get_full_name() or user.username, "avatarUrl": "", "type": "user"}


def brief(organization: User) -> dict[str, Any]:
    """Return an organisation as clients list it beside people."""
    name = organization.username
    return {"type": "org", "id": f"{organization.pk:024x}", "name": name, "fullname": organization.get_full_name() or name, "avatarUrl": ""}


def _organizations(user: User) -> list[dict[str, Any]]:
    rows = organizations.of(user=user)
    return [{**brief(row.organization), "isEnterprise": False, "roleInOrg": ROLES[Role(row.role)]} for row in rows]
