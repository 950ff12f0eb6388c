"""Pages of imports from another hub: the form with the list of mine, and one import with its progress."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hub.errors import HubError
from hub.models import Import
from hub.services import access, imports, upstream

SHOWN = 20
STOP_POLLING = 286


class ImportForm(forms.Form):
    """What to import, and as what."""

    repo_id = forms.CharField(
        max_length=200,
        label="Id of the adapter there",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "owner/name"}),
        error_messages={"required": "Give the id of an adapter."},
    )
    revision = forms.CharField(required=False, max_length=100, label="Revision", widget=forms.TextInput(attrs={"placeholder": "main", "autocomplete": "off"}))
    name = forms.CharField(required=False, max_length=96, label="Name here", widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    private = forms.TypedChoiceField(choices=[("", "Everyone"), ("1", "Only you")], coerce=bool, required=False, empty_value=False, widget=forms.RadioSelect)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Show the form, and start what it asks for."""
    user = access.require_login(request.user)
    form = ImportForm(request.POST if request.method == "POST" else None, initial={"private": "", "repo_id": request.GET.get("repo_id", "")})
    problem = ""
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("import-detail", imports.submit(actor=user, **form.cleaned_data).pk)
        except HubError as error:
            problem = _show(form, error)
    context = {
        "form": form,
        "problem": problem,
        "source": upstream.host(settings.IMPORTS) if settings.IMPORTS else "",
        "rows": Import.objects.visible_to(user).select_related("owner", "adapter__owner")[:SHOWN],
    }
    return render(request, "imports/new.html", context, status=400 if problem or form.errors else 200)


@never_cache
@require_safe
def detail(request: HttpRequest, import_id: int) -> HttpResponse:
    """Show one import."""
    access.require_login(request.user)
    return render(request, "imports/detail.html", _context(request, import_id))


@never_cache
@require_safe
def progress(request: HttpRequest, import_id: int) -> HttpResponse:
    """Answer a page that watches; 286 (stop asking) once it is over."""
    access.require_login(request.user)
    context = _context(request, import_id)
    return render(request, "imports/_live.html", context, status=STOP_POLLING if context["row"].is_over else 200)


@require_POST
def cancel(request: HttpRequest, import_id: int) -> HttpResponse:
    """Cancel an import."""
    access.require_login(request.user)
    imports.cancel(actor=request.user, row=imports.find(actor=request.user, import_id=import_id))
    return redirect("import-detail", import_id)


def _context(request: HttpRequest, import_id: int) -> dict[str, Any]:
    row = imports.find(actor=request.user, import_id=import_id)
    return {"row": row, "source": upstream.host(settings.IMPORTS), "adapter": row.adapter}


def _show(form: ImportForm, error: HubError) -> str:
    """Put an error at the field it speaks of, or return it."""
    for name in error.fields:
        if name in form.fields:
            form.add_error(name, error.message)
            return ""
    return error.message
