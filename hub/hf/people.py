"""Who asks."""

from typing import Any

from django.http import HttpRequest

from hub.hf import shapes
from hub.hf.door import door
from hub.services import access


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
    plan = {"canPay": False, "isPro": False, "orgs": []}
    return {"type": "user", "id": f"{user.pk:024x}", "name": user.username, "fullname": full, "email": user.email, **plan, "auth": auth}
