"""The upload page: a new adapter, or a new revision of one of mine."""

import io
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from hub import file_rules
from hub.adapter_config import MAX_CONFIG_BYTES
from hub.card import MAX_CARD, parse
from hub.errors import HubError
from hub.models import Adapter, Revision, User
from hub.models.adapters import ADAPTER_NAME, NAME_RULE
from hub.services import access, accounts, adapters, cards
from hub.services.adapters import CARD
from hub.web import markdown


class UploadForm(forms.Form):
    """Everything but the files."""

    name = forms.CharField(required=False, max_length=96, label="Name", widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    tags = forms.CharField(required=False, max_length=1500, label="Tags", widget=forms.TextInput(attrs={"placeholder": "arithmetic, digits"}))
    private = forms.TypedChoiceField(choices=[("", "Everyone"), ("1", "Only you")], coerce=bool, required=False, empty_value=False, widget=forms.RadioSelect)
    licence = forms.ChoiceField(required=False, choices=[("", "as the card says"), *((name, name) for name in cards.LICENCES)], label="Licence")
    task = forms.ChoiceField(required=False, choices=[("", "as card and config say"), *((name, name) for name in cards.TASKS)], label="Task")
    description = forms.CharField(required=False, max_length=cards.MAX_DESCRIPTION, label="What it does", widget=forms.Textarea(attrs={"rows": 2}))
    prompts = forms.CharField(required=False, max_length=6_000, label="Sample prompts", widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}))
    with_card = forms.BooleanField(required=False, label="Write a first card where there is no README.md")
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
    initial = {"private": "", "with_card": True, "owner": owner or user.username}
    form = UploadForm(publishers, request.POST if request.method == "POST" else None, initial=initial)
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


@require_POST
def card(request: HttpRequest) -> JsonResponse:
    """Answer the page's script: the card as it would be, how it looks, and tags that it suggests."""
    user = access.require_login(request.user)
    sent = request.POST
    config, name = sent.get("config", "").encode(), sent.get("name", "").strip() or "my-adapter"
    text = _card(sent, sent.get("text", ""), f"{user.username}/{name}", config)
    found = parse(text)
    html = markdown.render(found.body, [], lambda path: "")
    tags = cards.tags(actor=user, text=sent.get("text", "") or sent.get("description", ""), name=name, config=config)
    return JsonResponse({"text": text, "html": html, "tags": tags})


def _card(sent: Mapping[str, Any], text: str, repo_id: str, config: bytes) -> str:
    said = cards.filled(**{name: sent.get(name) or "" for name in ("licence", "task", "description", "prompts")})
    return cards.write(text=text, said=said, repo_id=repo_id, config=config)


def _with_card(user: User, values: dict[str, Any], incoming: list[adapters.Incoming]) -> list[adapters.Incoming]:
    """Return the files with what the form says put into the card, or with a first card where one is wanted and none came."""
    given = {file.path: file.stream for file in incoming}
    if not incoming or (CARD not in given and not values["with_card"]):
        return incoming
    text = given[CARD].read(MAX_CARD + 1).decode("utf-8", "replace") if CARD in given else ""
    config = given[adapters.CONFIG].read(MAX_CONFIG_BYTES) if adapters.CONFIG in given else b""
    for stream in given.values():
        stream.seek(0)
    written = _card(values, text, f"{user.username}/{values['name'].strip()}", config)
    if written == text:
        return incoming
    return [*(file for file in incoming if file.path != CARD), adapters.Incoming(CARD, io.BytesIO(written.encode()))]


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
            files=_with_card(request.user, values, incoming),
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
    for name in ("name", "owner", "tags", "licence", "task", "description", "prompts"):
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
        "card": CARD,
        "maxWeights": settings.MAX_WEIGHTS_BYTES,
        "maxFiles": file_rules.MAX_FILES,
        "mayHost": access.may_host(user),
    }
