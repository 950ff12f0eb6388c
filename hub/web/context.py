"""What every page shows around its content."""

from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from hub.services import search

COUNTS_SECONDS = 60
SECTIONS = {
    "adapter": "adapters",
    "user": "adapters",
    "base": "base-models",
    "compose": "compose",
    "composition": "compositions",
    "upload": "upload",
    "methods": "methods",
}


def site(request: HttpRequest) -> dict[str, Any]:
    """Return the site's name, the part of the site that is shown, and what is in the catalogue."""
    match = getattr(request, "resolver_match", None)
    name = (match.url_name or "") if match else ""
    return {
        "site_name": "Medley",
        "section": SECTIONS.get(name.partition("-")[0], ""),
        "signup_open": settings.SIGNUP_OPEN,
        "catalogue": lambda: cache.get_or_set("catalogue-counts", search.catalogue_counts, COUNTS_SECONDS),
    }
