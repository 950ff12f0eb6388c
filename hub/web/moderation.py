"""The moderators' page: what was reported with all that is known of it, and what was decided and can be undone."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from hub.models import Report
from hub.services import moderation

SHOWN = 100


@never_cache
@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """Show what waits, and what was decided."""
    context = {
        "cases": moderation.queue(actor=request.user),
        "takedowns": moderation.takedowns(actor=request.user)[:SHOWN],
        "hidden": moderation.hidden_comments(actor=request.user)[:SHOWN],
        "suspended": moderation.suspended(actor=request.user)[:SHOWN],
        "reasons": Report.Reason.choices,
    }
    return render(request, "moderation/queue.html", context)


@require_POST
def decide(request: HttpRequest, number: int) -> HttpResponse:
    """Carry out a decision about a report, and about all others of the same thing."""
    report = moderation.find_report(actor=request.user, number=number)
    given = {name: request.POST.get(name, "") for name in ("decision", "reason", "text")}
    messages.success(request, moderation.decide(actor=request.user, report=report, **given))
    return redirect("moderation")


@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    """Take back a decision: restore an adapter, show a comment, or reinstate an account."""
    messages.success(request, moderation.undo(actor=request.user, what=request.POST.get("what", ""), of=request.POST.get("of", "")))
    return redirect("moderation")
