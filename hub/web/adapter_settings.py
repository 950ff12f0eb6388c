"""An adapter's settings: who sees it, its name, its owner, the archive, the end; who asked for its files; its log."""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from hub.errors import HubError
from hub.models import AccessRequest, Adapter, Transfer
from hub.services import access, accounts, adapters, audit, gates, lifecycle
from hub.web import log

REQUESTS = 200


class SettingsForm(forms.Form):
    """What may be changed about an adapter: everything by its owners, the tags by writers."""

    private = forms.TypedChoiceField(choices=[("", "Everyone"), ("1", "Only you")], coerce=bool, required=False, empty_value=False, widget=forms.RadioSelect)
    gated = forms.ChoiceField(choices=[("", "Everyone who sees it"), *Adapter.Gate.choices], required=False, widget=forms.RadioSelect)
    tags = forms.CharField(required=False, max_length=1500)


def change(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Show and save settings."""
    adapter = _mine(request, owner, name)
    form = SettingsForm(request.POST or None, initial=_settings(adapter))
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        decides = access.may_manage(request.user, adapter)
        gated = given["gated"] if decides and "gated" in request.POST else None
        tags = given["tags"].split(",") if adapter.archived_at is None else None
        try:
            adapters.update(actor=request.user, adapter=adapter, private=given["private"] if decides else None, gated=gated, tags=tags)
        except HubError as error:
            form.add_error("tags" if "tags" in error.fields else "private", error.message)
        else:
            messages.success(request, "Saved.")
            return redirect("adapter-detail", adapter.owner.username, adapter.name)
    return _show(request, adapter, form)


@require_POST
def let_in(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Accept or reject who asked for the files of one of mine."""
    adapter = _managed(request, owner, name)
    row = gates.find_request(actor=request.user, adapter=adapter, username=request.POST.get("user", ""))
    gates.decide(actor=request.user, adapter=adapter, request=row, status=request.POST.get("status", ""))
    messages.success(request, f"{row.user.username} {'may have its files now' if row.status == AccessRequest.Status.ACCEPTED else 'may not have its files'}.")
    return redirect("adapter-settings", adapter.owner.username, adapter.name)


@require_POST
def rename(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Give it another name."""
    adapter = _managed(request, owner, name)
    wanted = request.POST.get("name", "").strip()
    return _done(request, adapter, "rename", lambda: lifecycle.rename(actor=request.user, adapter=adapter, name=wanted), "The old address leads to this one.")


@require_POST
def transfer(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Hand it to another account or organisation, or offer it."""
    adapter = _managed(request, owner, name)
    given = request.POST.get("to", "").strip()

    def hand_over() -> Adapter:
        to = accounts.find_owner(given)
        if to is None:
            raise HubError("user-not-found", f"There is no account or organisation {given[:40]!r}.", status=404)
        done = lifecycle.transfer(actor=request.user, adapter=adapter, to=to)
        if isinstance(done, Transfer):
            messages.success(request, f"{to.username} is asked to accept it. Until then everything stays as it is.")
            return adapter
        messages.success(request, f"It belongs to {to.username} now. The old address leads to this one.")
        return done

    return _done(request, adapter, "transfer", hand_over)


@require_POST
def withdraw(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Take an offer back."""
    adapter = _managed(request, owner, name)
    offer = Transfer.objects.select_related("adapter__owner", "to").filter(adapter=adapter).first()
    if offer is not None:
        lifecycle.decline(actor=request.user, offer=offer)
        messages.success(request, "The offer is taken back.")
    return redirect("adapter-settings", adapter.owner.username, adapter.name)


@require_POST
def archive(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Archive it, or take it out of the archive."""
    adapter, archived = _managed(request, owner, name), request.POST.get("on") == "1"
    lifecycle.set_archived(actor=request.user, adapter=adapter, archived=archived)
    messages.success(request, "It is archived: nothing can be committed to it." if archived else "It is out of the archive.")
    return redirect("adapter-settings", adapter.owner.username, adapter.name)


@require_POST
def delete(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Delete an adapter whose name was typed to confirm."""
    adapter = _managed(request, owner, name)
    if request.POST.get("confirm", "").strip() not in (adapter.name, adapter.repo_id):
        return _show(
            request, adapter, SettingsForm(initial=_settings(adapter)), {"delete": f"This is not the adapter's name. Type {adapter.name} to delete it."}
        )
    for_good = adapter.is_base_model or settings.DELETED_DAYS <= 0
    lifecycle.delete(actor=request.user, adapter=adapter)
    messages.success(request, f"{owner}/{name} is deleted." + ("" if for_good else f" It can be restored for {settings.DELETED_DAYS:g} days."))
    return redirect("user-detail", owner) if for_good else redirect("deleted-list")


@require_safe
def history(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Show the adapter's log."""
    adapter = _managed(request, owner, name)
    return render(request, "adapters/log.html", {"adapter": adapter, "log": log.page(request, audit.of_adapter(adapter=adapter))})


def _done(request: HttpRequest, adapter: Adapter, form: str, verb: Callable[[], Adapter], said: str = "") -> HttpResponse:
    """Do it and lead to the settings at their address then; or show the error at its form."""
    try:
        adapter = verb()
    except HubError as error:
        return _show(request, adapter, SettingsForm(initial=_settings(adapter)), {form: error.message}, typed=request.POST)
    if said:
        messages.success(request, f"It is {adapter.repo_id} now. {said}")
    decides = access.may_manage(request.user, adapter)
    return redirect("adapter-settings" if decides else "adapter-detail", adapter.owner.username, adapter.name)


def _settings(adapter: Adapter) -> dict[str, str]:
    return {"private": "1" if adapter.private else "", "gated": adapter.gated, "tags": ", ".join(tag.name for tag in adapter.tags.all())}


def _show(
    request: HttpRequest, adapter: Adapter, form: SettingsForm, wrong: dict[str, str] | None = None, typed: Mapping[str, Any] | None = None
) -> HttpResponse:
    """Show the settings, with what is wrong by form, and what was typed there."""
    context: dict[str, Any] = {
        "adapter": adapter,
        "form": form,
        "wrong": wrong or {},
        "decides": access.may_manage(request.user, adapter),
        "typed": typed or {},
    }
    if context["decides"]:
        asked = list(gates.requests(actor=request.user, adapter=adapter)[:REQUESTS])
        asked.sort(key=lambda row: row.status != AccessRequest.Status.PENDING)  # those that wait for an answer first
        context |= {
            "asked": asked,
            "offer": Transfer.objects.select_related("to").filter(adapter=adapter).first(),
            "receivers": [a for a in access.publishers(user=access.require_login(request.user)) if a.pk != adapter.owner_id],
            "log": log.page(request, audit.of_adapter(adapter=adapter), brief=True),
            "days": settings.DELETED_DAYS,
        }
    return render(request, "adapters/settings.html", context, status=400 if form.errors or wrong else 200)


def _mine(request: HttpRequest, owner: str, name: str) -> Adapter:
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    access.require_member(request.user, adapter)
    return adapter


def _managed(request: HttpRequest, owner: str, name: str) -> Adapter:
    adapter = _mine(request, owner, name)
    access.require_manage(request.user, adapter)
    return adapter
