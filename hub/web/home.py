"""The front page, the page about composition, and what robots may read."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static

from compose_worker.engine import catalogue
from hub.services import numbers, search
from hub.web import charts, lineage, strangers

COMPOSED, RECENT = 3, 6


@strangers.kept
def home(request: HttpRequest) -> HttpResponse:
    """Say what Medley is, and show what is new."""
    return render(request, "home.html", {"main": strangers.shared(request, "_home.html", lambda last: _news(request))})


def methods(request: HttpRequest) -> HttpResponse:
    """Explain composition, and list the methods with their settings."""
    rows = [{"method": m, "own": [s for s in m.settings if s not in catalogue.COMMON]} for m in catalogue.METHODS]
    limits = {"min": catalogue.MIN_EXAMPLES, "max": catalogue.MAX_EXAMPLES, "modules": catalogue.MAX_MODULES, "auto": catalogue.MAX_AUTO_MODULES}
    context = {"rows": rows, "common": catalogue.FILE, "learning": catalogue.LEARNING, "limits": limits, "default": catalogue.DEFAULT_METHOD}
    return render(request, "methods.html", context)


def robots(request: HttpRequest) -> HttpResponse:
    """Keep robots off forms and downloads."""
    lines = [
        "User-agent: *",
        *(f"Disallow: {path}" for path in ("/accounts/", "/settings/", "/upload", "/compose", "/compositions", "/api/", "/*/files/", "/*/zip", "/*/tensors/")),
    ]
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain; charset=utf-8")


def favicon(request: HttpRequest) -> HttpResponse:
    """Send those who ask at the old address to the drawing."""
    return redirect(static("favicon.svg"))


def _news(request: HttpRequest) -> dict[str, Any]:
    composed = search.adapters(actor=request.user, made="composed", limit=COMPOSED, counted=False, tags=False).items
    recent = search.adapters(actor=request.user, limit=RECENT, counted=False, tags=False).items
    cards = [{"adapter": a, "parents": list(a.head.parents.all()), "scores": charts.score_rows(a.head.scores)} for a in composed if a.head]
    shown = next((card["adapter"] for card in cards if 2 <= len(card["parents"]) <= charts.STRANDS), None)
    return {
        "catalogue": numbers.totals,
        "cards": cards,
        "recent": recent,
        "shown": shown,
        "lineage": lineage.of(request.user, shown.head) if shown else None,
        "limits": catalogue,
    }
