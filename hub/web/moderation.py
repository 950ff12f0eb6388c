"""The moderators' page: what was reported with all that is known of it, and what was decided and can be undone."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from hub.errors import HubError, not_found
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
    decision, reason = request.POST.get("decision", ""), request.POST.get("reason", report.reason)
    if decision == "dismiss":
        moderation.dismiss(actor=request.user, report=report)
        said = "Dismissed."
    elif decision == "hide" and report.comment is not None:
        moderation.hide_comment(actor=request.user, comment=report.comment, reason=reason)
        said = "The comment is hidden."
    elif decision == "take-down" and report.adapter is not None and not report.about_comment:
        moderation.take_down(actor=request.user, adapter=report.adapter, reason=reason, text=request.POST.get("text", ""))
        said = f"{report.subject} is taken down."
    elif decision == "suspend" and report.person is not None:
        moderation.suspend(actor=request.user, person=report.person, reason=reason)
        said = f"{report.person.username} is suspended. The report is still open: decide about what was reported too."
    else:
        raise HubError("decision-invalid", "This cannot be decided about this report. It may be gone already; dismiss the report then.")
    messages.success(request, said)
    return redirect("moderation")


@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    """Take back a decision: restore an adapter, show a comment, or reinstate an account."""
    moderation.require_staff(request.user)
    what, of = request.POST.get("what", ""), request.POST.get("of", "")
    number = int(of[:18]) if of.isdecimal() else 0
    if what == "adapter":
        adapter = moderation.find_taken_down(actor=request.user, number=number)
        moderation.restore(actor=request.user, adapter=adapter)
        said = f"{adapter.repo_id} is back."
    elif what == "comment":
        comment = moderation.hidden_comments(actor=request.user).filter(pk=number).first()
        if comment is None:
            raise not_found("comment")
        moderation.show_comment(actor=request.user, comment=comment)
        said = "The comment is shown again."
    else:
        person = moderation.find_person(actor=request.user, username=of)
        moderation.reinstate(actor=request.user, person=person)
        said = f"{person.username} may log in again."
    messages.success(request, said)
    return redirect("moderation")
