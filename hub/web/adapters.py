"""Pages of adapters: one adapter with its files and revisions, and a person's page."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hub import card, files, storage
from hub.errors import not_found
from hub.models import AccessRequest, Adapter, Parent, Revision, RevisionFile, Role
from hub.services import access, accounts, adapters, collections, gates, search, social
from hub.services import organizations as memberships
from hub.web import base_models, comments, lineage, markdown, organizations

PAGE = 30
USES = 6
REVISIONS = 30
CARD = "README.md"
TABS = (("", "Adapters"), ("collections", "Collections"), ("likes", "Likes"))  # of a profile


@require_safe
def user(request: HttpRequest, owner: str) -> HttpResponse:
    """Show a person and their adapters."""
    if accounts.named(owner).filter(is_namespace=True).exists():
        return redirect("base-model-list")
    person = accounts.find_owner(owner)
    if person is None:
        raise not_found("user")
    if person.username != owner:
        return redirect("user-detail", person.username)
    if person.is_organization:
        return organizations.show(request, person)
    cursor, show = request.GET.get("cursor", ""), request.GET.get("show", "")
    context: dict[str, Any] = {"person": person, "cursor": cursor, "is_me": request.user == person, "tabs": TABS, "show": show if show in dict(TABS) else ""}
    context["memberships"] = memberships.of(user=person)
    if show == "collections":
        context["collections"] = collections.listing(actor=request.user, owner=person.username)
    elif show == "likes":
        context["page"] = social.liked_by(actor=request.user, person=person, limit=PAGE, cursor=cursor)
    else:
        context["page"] = search.adapters(actor=request.user, owner=person.username, limit=PAGE, cursor=cursor)
    return render(request, "adapters/user.html", context)


@require_safe
def detail(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Show an adapter at one revision."""
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    if adapter.repo_id != f"{owner}/{name}":
        return redirect("adapter-detail", adapter.owner.username, adapter.name)
    role = access.role_at(request.user, adapter.owner)
    is_mine = role in access.WRITERS
    ref = request.GET.get("revision", "")
    context: dict[str, Any] = {"adapter": adapter, "is_mine": is_mine, "is_liked": social.is_liked(actor=request.user, adapter=adapter)}
    if adapter.head is None and not ref:
        return render(request, "adapters/empty.html", context)
    revision = adapters.find_revision(adapter=adapter, ref=ref or "main")
    rows = list(revision.files.select_related("blob"))
    revisions = list(adapter.revisions.select_related("author").defer("facts", "recipe", "scores")[: REVISIONS + 1])
    context |= {
        "revision": revision,
        "is_head": revision.pk == adapter.head_id,
        "tags": adapter.tags.all(),
        "files": rows,
        "total_size": sum(row.blob.size for row in rows),
        "weights_sha256": next((row.blob_id for row in rows if row.path == "adapter_model.safetensors"), ""),
        "facts": revision.facts_or_empty,
        "card": _card(adapter, revision, rows),
        "revisions": revisions[:REVISIONS],
        "more_revisions": len(revisions) > REVISIONS,
        "public_url": settings.PUBLIC_URL,
        "may_read": access.may_read_files(request.user, adapter),
        "asked": gates.request_of(actor=request.user, adapter=adapter) if adapter.gated else None,
        "waiting": gates.waiting(adapter=adapter) if adapter.gated and role == Role.OWNER else 0,
        **comments.panel(request, adapter),
    }
    if adapter.is_base_model:
        return base_models.page(request, adapter, revision, rows, context)
    context |= {"lineage": lineage.of(request.user, revision), "uses": _uses(request, adapter)}
    return render(request, "adapters/detail.html", context)


@require_safe
def revisions(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """List every revision of an adapter."""
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    rows = adapter.revisions.select_related("author").defer("facts", "recipe", "scores")
    return render(request, "adapters/revisions.html", {"adapter": adapter, "revisions": rows})


@require_safe
def file(request: HttpRequest, owner: str, name: str, path: str) -> HttpResponseBase:
    """Send one file of a revision."""
    row = adapters.find_file(actor=request.user, repo_id=f"{owner}/{name}", path=path, ref=request.GET.get("revision", "main"))
    return files.file_response(request, row, attachment=True)


@require_safe
def archive(request: HttpRequest, owner: str, name: str) -> HttpResponseBase:
    """Send a whole revision as a ZIP."""
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    return files.zip_response(request, adapter, adapters.find_revision(adapter=adapter, ref=request.GET.get("revision", "main")))


@require_POST
def like(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Set or take back a like."""
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    adapter = social.like(actor=request.user, adapter=adapter, on=request.POST.get("on") == "1")
    if request.headers.get("HX-Request"):
        return render(request, "adapters/_like.html", {"adapter": adapter, "is_liked": social.is_liked(actor=request.user, adapter=adapter)})
    return redirect("adapter-detail", adapter.owner.username, adapter.name)


@require_POST
def ask(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Ask for the files of a gated adapter."""
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    row = gates.ask(actor=request.user, adapter=adapter)
    let_in = row.status == AccessRequest.Status.ACCEPTED
    messages.success(request, "You may have its files now." if let_in else f"{adapter.owner.username} is asked. You will see the answer here.")
    return redirect("adapter-detail", adapter.owner.username, adapter.name)


def _card(adapter: Adapter, revision: Revision, rows: list[RevisionFile]) -> str:
    readme = next((row for row in rows if row.path == CARD), None)
    if readme is None:
        return ""
    body = adapter.card_text if revision.pk == adapter.head_id else card.parse(storage.read_text(readme.blob_id)).body

    def link(path: str) -> str:
        return f"{reverse('adapter-file', args=[adapter.owner.username, adapter.name, path])}?revision={revision.sha}"

    return markdown.render(body, [row.path for row in rows], link)


def _uses(request: HttpRequest, adapter: Adapter) -> list[Parent]:
    """Return the compositions that the asker may see and whose newest revision was made from this adapter."""
    seen = Adapter.objects.visible_to(request.user).filter(head__isnull=False)
    rows = Parent.objects.filter(adapter=adapter, revision__in=seen.values("head")).select_related("revision__adapter__owner")
    return list(rows.order_by("-pk")[:USES])
