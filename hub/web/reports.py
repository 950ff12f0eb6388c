"""The forms by which people report an adapter or a comment."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from hub.errors import HubError
from hub.models import Adapter, Comment, Report
from hub.services import access, adapters, comments, reports


@require_http_methods(["GET", "HEAD", "POST"])
def adapter(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Report an adapter."""
    access.require_login(request.user)
    return _form(request, adapters.find(actor=request.user, repo_id=f"{owner}/{name}"))


@require_http_methods(["GET", "HEAD", "POST"])
def comment(request: HttpRequest, owner: str, name: str, number: int) -> HttpResponse:
    """Report a comment."""
    access.require_login(request.user)
    found = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    return _form(request, found, comments.find(actor=request.user, adapter=found, number=number))


def _form(request: HttpRequest, adapter: Adapter, comment: Comment | None = None) -> HttpResponse:
    given: dict[str, Any] = {"reason": request.POST.get("reason", ""), "text": request.POST.get("text", "")}
    wrong = ""
    if request.method == "POST":
        try:
            if comment is None:
                reports.report_adapter(actor=request.user, adapter=adapter, **given)
            else:
                reports.report_comment(actor=request.user, comment=comment, **given)
        except HubError as error:
            wrong = error.message
        else:
            messages.success(request, "Thank you. The hub's moderators will look at it.")
            return redirect("adapter-detail", adapter.owner.username, adapter.name)
    context = {"adapter": adapter, "comment": comment, "reasons": Report.Reason.choices, "wrong": wrong, "limit": reports.MAX_TEXT, **given}
    return render(request, "adapters/report.html", context, status=400 if wrong else 200)
