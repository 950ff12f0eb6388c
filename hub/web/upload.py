"""The upload page: a new adapter, or a new revision of one of mine."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from hub import file_rules
from hub.errors import HubError
from hub.models import Adapter, Revision
from hub.services import access, adapters
from hub.web import errors


class UploadForm(forms.Form):
    """Everything but the files."""

    name = forms.CharField(required=False, max_length=96, label="Name", widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    tags = forms.CharField(required=False, max_length=1500, label="Tags", widget=forms.TextInput(attrs={"placeholder": "arithmetic, digits"}))
    private = forms.TypedChoiceField(choices=[("", "Everyone"), ("1", "Only you")], coerce=bool, required=False, empty_value=False, widget=forms.RadioSelect)
    message = forms.CharField(required=False, max_length=500, label="What changed", widget=forms.TextInput(attrs={"autocomplete": "off"}))


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Show the form, and take what it sends: from a script with progress, or from the plain form."""
    user = access.require_login(request.user)
    target = _target(request)
    form = UploadForm(request.POST or None, initial={"private": ""})
    problems: list[str] = []
    if request.method == "POST" and form.is_valid():
        try:
            revision = _commit(request, target, form.cleaned_data)
        except HubError as error:
            if errors.wants_json(request):
                raise
            problems = _show(form, error)
        else:
            address = reverse("adapter-detail", args=[user.username, revision.adapter.name])
            return JsonResponse({"location": address}, status=201) if errors.wants_json(request) else redirect(address)
    context = {
        "form": form,
        "target": target,
        "target_files": target.head.files.select_related("blob") if target and target.head else [],
        "deletions": set(request.POST.getlist("deletions")),
        "parent": request.POST.get("parent") or (target.head.sha if target and target.head else ""),
        "problems": problems,
        "rules": _rules(),
        "max_weights": settings.MAX_WEIGHTS_BYTES,
    }
    return render(request, "upload.html", context, status=400 if form.errors or problems else 200)


def strip_folder(paths: Sequence[str]) -> list[str]:
    """Take away the folder that all paths share: what was dropped is the folder, what is kept is its content."""
    found = list(paths)
    while found and all("/" in path for path in found) and len({path.partition("/")[0] for path in found}) == 1:
        found = [path.partition("/")[2] for path in found]
    return found


def _target(request: HttpRequest) -> Adapter | None:
    repo_id = request.GET.get("to", "") or request.POST.get("to", "")
    if not repo_id:
        return None
    adapter = adapters.find(actor=request.user, repo_id=repo_id)
    access.require_write(request.user, adapter)
    return adapter


def _commit(request: HttpRequest, target: Adapter | None, values: dict[str, Any]) -> Revision:
    sent = request.FILES.getlist("files")
    paths = request.POST.getlist("paths")
    if len(paths) != len(sent):
        paths = [file.name or "" for file in sent]
    incoming = [adapters.Incoming(path, file) for path, file in zip(strip_folder(paths), sent, strict=True)]
    if target is None:
        return adapters.publish(
            actor=request.user,
            name=values["name"].strip(),
            private=values["private"],
            tags=values["tags"].split(","),
            files=incoming,
            message=values["message"],
        )
    return adapters.commit(
        actor=request.user,
        adapter=target,
        files=incoming,
        deletions=request.POST.getlist("deletions"),
        message=values["message"],
        parent=request.POST.get("parent", ""),
    )


def _show(form: UploadForm, error: HubError) -> list[str]:
    """Put an error at the field it speaks of, or return it for the files."""
    for name in ("name", "tags"):
        if name in error.fields:
            form.add_error(name, error.message)
            return []
    return [error.message]


def _rules() -> dict[str, Any]:
    """Return what the browser can check before a byte is sent; the server checks again."""
    return {
        "pickles": sorted(file_rules.PICKLES),
        "archives": sorted(file_rules.ARCHIVES),
        "programs": sorted(file_rules.PROGRAMS),
        "others": sorted(file_rules.OTHER_WEIGHTS),
        "config": adapters.CONFIG,
        "weights": adapters.WEIGHTS,
        "maxWeights": settings.MAX_WEIGHTS_BYTES,
        "maxFiles": file_rules.MAX_FILES,
    }
