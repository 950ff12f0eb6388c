"""The upload page: a new adapter, or a new revision of one of mine."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from hub import file_rules
from hub.errors import HubError
from hub.models import Adapter, Revision, User
from hub.models.adapters import ADAPTER_NAME, NAME_RULE
from hub.services import access, accounts, adapters


class UploadForm(forms.Form):
    """Everything but the files."""

    name = forms.CharField(required=False, max_length=96, label="Name", widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    tags = forms.CharField(required=False, max_length=1500, label="Tags", widget=forms.TextInput(attrs={"placeholder": "arithmetic, digits"}))
    private = forms.TypedChoiceField(choices=[("", "Everyone"), ("1", "Only you")], coerce=bool, required=False, empty_value=False, widget=forms.RadioSelect)
    message = forms.CharField(required=False, max_length=500, label="What changed", widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, publishers: list[User], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"] = forms.ChoiceField(required=False, label="Owner", choices=[(account.username, account.username) for account in publishers])


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Show the form, and take what it sends where scripts are off. The page's script sends by the hub protocol."""
    user = access.require_login(request.user)
    target = _target(request)
    publishers = access.publishers(user=user)
    owner = request.GET.get("owner", "")
    form = UploadForm(publishers, request.POST if request.method == "POST" else None, initial={"private": "", "owner": owner or user.username})
    problems: list[str] = []
    if request.method == "POST" and form.is_valid():
        try:
            revision = _commit(request, target, form.cleaned_data)
        except HubError as error:
            problems = _show(form, error)
        else:
            return redirect("adapter-detail", revision.adapter.owner.username, revision.adapter.name)
    context = {
        "form": form,
        "target": target,
        "target_files": target.head.files.select_related("blob") if target and target.head else [],
        "deletions": set(request.POST.getlist("deletions")),
        "parent": request.POST.get("parent") or (target.head.sha if target and target.head else ""),
        "problems": problems,
        "publishers": publishers,
        "rules": _rules(user, target),
        "max_weights": settings.MAX_WEIGHTS_BYTES,
    }
    return render(request, "upload.html", context, status=400 if form.errors or problems else 200)


def _target(request: HttpRequest) -> Adapter | None:
    repo_id = request.GET.get("to", "") or request.POST.get("to", "")
    if not repo_id:
        return None
    adapter = adapters.find(actor=request.user, repo_id=repo_id)
    access.require_write(request.user, adapter)
    return adapter


def _commit(request: HttpRequest, target: Adapter | None, values: dict[str, Any]) -> Revision:
    incoming = [adapters.Incoming(file.name or "", file) for file in request.FILES.getlist("files")]
    if target is None:
        return adapters.publish(
            actor=request.user,
            owner=accounts.publisher(actor=request.user, name=values["owner"]),
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
    for name in ("name", "owner", "tags"):
        if name in error.fields:
            form.add_error(name, error.message)
            return []
    return [error.message]


def _rules(user: User, target: Adapter | None) -> dict[str, Any]:
    """Return where the files go and what the browser can check before a byte is sent; the server checks again."""
    return {
        "owner": user.username,
        "repo": target.repo_id if target else "",
        "name": ADAPTER_NAME.pattern,
        "nameSaid": NAME_RULE,
        "pickles": sorted(file_rules.PICKLES),
        "archives": sorted(file_rules.ARCHIVES),
        "programs": sorted(file_rules.PROGRAMS),
        "others": sorted(file_rules.OTHER_WEIGHTS),
        "config": adapters.CONFIG,
        "weights": adapters.WEIGHTS,
        "maxWeights": settings.MAX_WEIGHTS_BYTES,
        "maxFiles": file_rules.MAX_FILES,
    }
