"""What waits for a person: organisations that ask them to join, adapters that are offered, deleted adapters; and their log."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hub.errors import HubError, not_found
from hub.services import access, audit, lifecycle, organizations
from hub.web import log


class OrganizationForm(forms.Form):
    """A new organisation."""

    name = forms.CharField(max_length=39, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}))
    about = forms.CharField(required=False, max_length=organizations.MAX_ABOUT, widget=forms.TextInput(attrs={"autocomplete": "off"}))


@require_http_methods(["GET", "HEAD", "POST"])
def mine(request: HttpRequest) -> HttpResponse:
    """List the organisations one is in and is asked to join, and found one."""
    user = access.require_login(request.user)
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = organizations.create(actor=user, **form.cleaned_data)
        except HubError as error:
            form.add_error(next(iter(error.fields), None), error.message)
        else:
            messages.success(request, f"{made.username} is there, and you are its owner. Ask others to join on its settings page.")
            return redirect("organization-settings", made.username)
    context = {"form": form, "memberships": organizations.of(user=user), "invitations": organizations.invitations_to(actor=user)}
    return render(request, "settings/organizations.html", context, status=400 if form.errors else 200)


@require_POST
def answer_invitation(request: HttpRequest, organization: str) -> HttpResponse:
    """Join an organisation, or do not."""
    user, found, accept = access.require_login(request.user), organizations.find(name=organization), request.POST.get("accept") == "1"
    organizations.answer(actor=user, organization=found, accept=accept)
    messages.success(request, f"You are a member of {found.username} now." if accept else "The invitation is gone.")
    return redirect("user-detail", found.username) if accept else redirect("organization-list")


@require_safe
def deleted(request: HttpRequest) -> HttpResponse:
    """List the adapters that are offered to one, and those that one has deleted and may restore."""
    user = access.require_login(request.user)
    context = {"deleted": lifecycle.deleted(actor=user), "offers": lifecycle.offers(actor=user), "days": settings.DELETED_DAYS}
    return render(request, "settings/deleted.html", context)


@require_POST
def answer_offer(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Take an adapter that is offered, or do not."""
    rows = lifecycle.offers(actor=access.require_login(request.user)).filter(adapter__owner__username=owner, adapter__name=name)
    offer = rows.first()
    if offer is None:
        raise not_found("offer")
    if request.POST.get("accept") != "1":
        lifecycle.decline(actor=request.user, offer=offer)
        messages.success(request, "The offer is gone.")
        return redirect("deleted-list")
    taken = lifecycle.accept(actor=request.user, offer=offer)
    messages.success(request, f"{taken.repo_id} is yours. Its old address leads here.")
    return redirect("adapter-detail", taken.owner.username, taken.name)


@require_POST
def restore(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Restore a deleted adapter."""
    access.require_login(request.user)
    back = lifecycle.restore(actor=request.user, adapter=lifecycle.find_deleted(actor=request.user, repo_id=f"{owner}/{name}"))
    messages.success(request, f"{back.repo_id} is back, as it was.")
    return redirect("adapter-detail", back.owner.username, back.name)


@require_POST
def purge(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Remove a deleted adapter for good."""
    access.require_login(request.user)
    lifecycle.purge(actor=request.user, adapter=lifecycle.find_deleted(actor=request.user, repo_id=f"{owner}/{name}"))
    messages.success(request, f"{owner}/{name} is gone for good. The name can be used again.")
    return redirect("deleted-list")


@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Show one's own log."""
    return render(request, "settings/log.html", {"log": log.page(request, audit.of_account(account=access.require_login(request.user)))})
