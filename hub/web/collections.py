"""Pages of collections: all of them, one, its owner's changes, and the way into one from an adapter's page."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hub.errors import HubError
from hub.models import Adapter, Collection
from hub.services import access, adapters, collections

PAGE = 30


class CollectionForm(forms.Form):
    """What its owner says of a collection."""

    title = forms.CharField(max_length=collections.MAX_TITLE)
    description = forms.CharField(max_length=collections.MAX_TEXT, required=False, widget=forms.Textarea(attrs={"rows": 3}))
    private = forms.TypedChoiceField(choices=[("", "Everyone"), ("1", "Only you")], coerce=bool, required=False, empty_value=False, widget=forms.RadioSelect)


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List collections, the newest first."""
    owner, before = request.GET.get("owner", "").strip()[:39], request.GET.get("before", "")
    rows = collections.listing(actor=request.user, owner=owner)
    if before.isdecimal():
        rows = rows.filter(pk__lt=int(before[:18]))
    found = list(rows[: PAGE + 1])
    more = found[PAGE - 1].pk if len(found) > PAGE else None
    return render(request, "collections/list.html", {"collections": found[:PAGE], "owner": owner, "next": more, "before": before})


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Make a collection."""
    access.require_login(request.user)
    form = CollectionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _show(collections.create(actor=request.user, **form.cleaned_data))
        except HubError as error:
            form.add_error(next(iter(error.fields), None), error.message)
    return render(request, "collections/form.html", {"form": form}, status=400 if form.errors else 200)


@require_safe
def detail(request: HttpRequest, owner: str, slug: str) -> HttpResponse:
    """Show a collection as far as the asker may see it."""
    collection = _find(request, owner, slug)
    if (collection.owner.username, collection.slug) != (owner, slug):
        return _show(collection)
    found = list(collections.items(actor=request.user, collection=collection))
    return render(request, "collections/detail.html", {"collection": collection, "items": found, "is_mine": collection.owner_id == request.user.pk})


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, owner: str, slug: str) -> HttpResponse:
    """Change a collection, its order and its notes."""
    collection = _mine(request, owner, slug)
    initial = {"title": collection.title, "description": collection.description, "private": "1" if collection.private else ""}
    form = CollectionForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            collection = collections.update(actor=request.user, collection=collection, **form.cleaned_data)
        except HubError as error:
            form.add_error(next(iter(error.fields), None), error.message)
        else:
            messages.success(request, "Saved.")
            return _show(collection)
    found = list(collections.items(actor=request.user, collection=collection))
    rows = [
        {"item": item, "up": found[n - 1].position if n else None, "down": found[n + 1].position if n + 1 < len(found) else None}
        for n, item in enumerate(found)
    ]
    context = {"collection": collection, "form": form, "rows": rows}
    return render(request, "collections/edit.html", context, status=400 if form.errors else 200)


@require_POST
def change(request: HttpRequest, owner: str, slug: str) -> HttpResponse:
    """Move an item, write its note, or take it out."""
    collection = _mine(request, owner, slug)
    item, place = (int(text[:18]) if (text := request.POST.get(name, "")).isdecimal() else None for name in ("item", "position"))
    given: dict[str, Any] = {"actor": request.user, "collection": collection, "number": item or 0}
    if "remove" in request.POST:
        collections.remove(**given)
    else:
        collections.change_item(**given, position=place, note=request.POST.get("note"))
    return redirect("collection-edit", collection.owner.username, collection.slug)


@require_POST
def delete(request: HttpRequest, owner: str, slug: str) -> HttpResponse:
    """Delete a collection."""
    collection = _mine(request, owner, slug)
    collections.delete(actor=request.user, collection=collection)
    messages.success(request, f"{collection.title} is deleted.")
    return redirect("user-detail", owner)


@require_http_methods(["GET", "HEAD", "POST"])
def collect(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Choose which of my collections an adapter is in, or begin a new one with it."""
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    mine = collections.of_mine(actor=request.user, adapter=adapter)
    wrong, title = "", request.POST.get("title", "")
    wanted = set(request.POST.getlist("in")) if request.method == "POST" else {str(collection.pk) for collection, item in mine if item is not None}
    if request.method == "POST":
        try:
            _collect(request, adapter, mine, wanted, title)
        except HubError as error:
            wrong = error.message
        else:
            messages.success(request, "Saved.")
            return redirect("adapter-detail", adapter.owner.username, adapter.name)
    shown = [(collection, str(collection.pk) in wanted) for collection, _ in mine]
    context = {"adapter": adapter, "mine": shown, "wrong": wrong, "title": title, "private": request.POST.get("private") == "1"}
    return render(request, "collections/collect.html", context, status=400 if wrong else 200)


@transaction.atomic
def _collect(request: HttpRequest, adapter: Adapter, mine: list[tuple[Collection, int | None]], wanted: set[str], title: str) -> None:
    """All that the form says, or nothing of it."""
    for collection, item in mine:
        if item is None and str(collection.pk) in wanted:
            collections.add(actor=request.user, collection=collection, adapter=adapter)
        elif item is not None and str(collection.pk) not in wanted:
            collections.remove(actor=request.user, collection=collection, number=item)
    if title.strip():
        fresh = collections.create(actor=request.user, title=title, private=request.POST.get("private") == "1")
        collections.add(actor=request.user, collection=fresh, adapter=adapter)


def _find(request: HttpRequest, owner: str, slug: str) -> Collection:
    return collections.find(actor=request.user, number=collections.number_of(slug), owner=owner)


def _mine(request: HttpRequest, owner: str, slug: str) -> Collection:
    access.require_login(request.user)
    collection = _find(request, owner, slug)
    if collection.owner_id != request.user.pk:
        raise HubError("forbidden", f"Only {collection.owner.username} can change this collection.", status=403)
    return collection


def _show(collection: Collection) -> HttpResponse:
    return redirect("collection-detail", collection.owner.username, collection.slug)
