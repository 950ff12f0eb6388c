"""Pages of an adapter's history: all its revisions, and what differs between two of them."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from hub.errors import HubError
from hub.services import adapters, compare

BETWEEN = ".."


@require_safe
def listing(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """List every revision of an adapter; a form picks two to compare."""
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    before, after = request.GET.get("from", ""), request.GET.get("to", "")
    if before and after:
        span = (adapters.find_revision(adapter=adapter, ref=ref) for ref in (before, after))
        return redirect("adapter-diff", adapter.owner.username, adapter.name, BETWEEN.join(revision.short for revision in span))
    rows = adapter.revisions.select_related("author", "parent").defer("facts", "recipe", "scores", "parent__facts", "parent__recipe", "parent__scores")
    return render(request, "adapters/revisions.html", {"adapter": adapter, "revisions": rows, "pick": True})


@require_safe
def diff(request: HttpRequest, owner: str, name: str, span: str) -> HttpResponse:
    """Show what differs between two revisions, `a..b`."""
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    first, between, second = span.partition(BETWEEN)
    if not (first and between and second):
        raise HubError("revision-not-found", "Name two revisions with two dots between, such as 1a2b3c4..5d6e7f8.", status=404)
    before, after = (adapters.find_revision(adapter=adapter, ref=ref) for ref in (first, second))
    found = compare.revisions(actor=request.user, adapter=adapter, before=before, after=after)
    return render(request, "adapters/diff.html", {"adapter": adapter, "before": before, "after": after, "found": found})
