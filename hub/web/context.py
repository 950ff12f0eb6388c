"""What every page shows around its content."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from hub.services import notifications, numbers

SITE_NAME = "Medley"
SECTIONS = {
    "adapter": "adapters",
    "user": "adapters",
    "base": "base-models",
    "collection": "collections",
    "compose": "compose",
    "composition": "compositions",
    "upload": "upload",
    "methods": "methods",
    "moderation": "moderation",
    "notification": "notifications",
}


def of_all() -> dict[str, str]:
    """Return what every page and every shared part of one may say, whoever asks."""
    return {"site_name": SITE_NAME, "public_address": settings.PUBLIC_URL}


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the site's name, the part of the site that is shown, what is in the catalogue, and how much the asker has not read."""
    match = getattr(request, "resolver_match", None)
    name = (match.url_name or "") if match else ""
    return {
        **of_all(),
        "section": SECTIONS.get(name.partition("-")[0], ""),
        "signup_open": settings.SIGNUP_OPEN,
        "unread": lambda: _unread(request),
        "catalogue": numbers.totals,
    }


def _unread(request: HttpRequest) -> int:
    """Count once a page, however often it is shown."""
    if not hasattr(request, "_unread"):
        request._unread = notifications.unread(actor=request.user)  # type: ignore[attr-defined]
    return int(request._unread)  # type: ignore[attr-defined]
