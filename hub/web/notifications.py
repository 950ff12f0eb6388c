"""What I am told: the list, and the choice of what and how."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hub.models import Notification
from hub.services import access, notices, notifications

PAGE = 50


@never_cache
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List my notifications, newest first."""
    access.require_login(request.user)
    rows = notifications.listing(actor=request.user)
    before = request.GET.get("before", "")
    if before.isdecimal():
        rows = rows.filter(pk__lt=int(before[:18]))
    found = list(rows[: PAGE + 1])
    items = [{"row": row, "told": notices.told(row)} for row in found[:PAGE]]
    return render(request, "notifications/list.html", {"items": items, "next": found[PAGE - 1].pk if len(found) > PAGE else None, "before": before})


@never_cache
@require_safe
def show(request: HttpRequest, number: int) -> HttpResponse:
    """Lead to what a notification is about, and mark it as read."""
    access.require_login(request.user)
    row = notifications.find(actor=request.user, number=number)
    notifications.read(actor=request.user, number=number)
    path = notices.told(row).path
    return redirect(path) if path.startswith("/") and not path.startswith("//") else redirect("notification-list")


@require_POST
def read(request: HttpRequest) -> HttpResponse:
    """Mark one as read, or all."""
    number = request.POST.get("number", "")
    notifications.read(actor=request.user, number=int(number[:18]) if number.isdecimal() else None)
    return redirect("notification-list")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def wishes(request: HttpRequest) -> HttpResponse:
    """Show and save what I am told of, and how."""
    user = access.require_login(request.user)
    if request.method == "POST":
        notifications.set_wishes(actor=user, in_app=request.POST.getlist("in_app"), mail=request.POST.getlist("mail"))
        messages.success(request, "Saved.")
        return redirect("notification-wishes")
    chosen = notifications.wishes(user=user)
    kinds = [
        {"kind": kind.value, "label": kind.label, "in_app": chosen[kind.value][0], "mail": chosen[kind.value][1], "always": kind in notifications.ALWAYS}
        for kind in Notification.Kind
    ]
    return render(request, "settings/notifications.html", {"kinds": kinds})
