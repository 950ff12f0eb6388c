"""Pages of adapters: one adapter with its files and revisions, and a person's page."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hub import card, files, storage
from hub.errors import not_found
from hub.models import AccessRequest, Adapter, Revision, RevisionFile, Role, User
from hub.services import access, accounts, adapters, audit, collections, gates, search, social, tallies
from hub.services import organizations as memberships
from hub.web import base_models, comments, front_matter, licences, lineage, markdown, organizations, strangers, weights

PAGE = 30
REVISIONS = 30
CARD = "README.md"
CARD_SECONDS = 3600  # that a rendered card is kept
LONG = ("labels", "head__recipe")  # columns that the page of an adapter does not show
PARTS = {name: f"adapters/_{name}.html" for name in ("meta", "title", "download", "badges", "tabs", "body", "aside")}
SERVED = (8, 16, 32, 64, 128, 256, 320, 512)  # values of vLLM's --max-lora-rank
TABS = (("", "Adapters"), ("collections", "Collections"), ("likes", "Likes"))  # of a profile


@require_safe
@strangers.kept
def user(request: HttpRequest, owner: str) -> HttpResponse:
    """Show a person and their adapters."""
    last = audit.latest()
    person = tallies.shared(request.user, f"person:{owner}", lambda last: accounts.find_owner(owner) or accounts.find_closed(owner), last)
    if person is None:
        if accounts.named(owner).filter(is_namespace=True).exists():
            return redirect("base-model-list")
        raise not_found("user")
    if person.username != owner:
        return redirect("user-detail", person.username)
    if person.is_organization:
        return organizations.show(request, person)
    is_me = request.user == person
    parts = strangers.shared_parts(request, {"main": "adapters/_user.html"}, lambda last: _profile(request, person, last, is_me=is_me), apart=is_me, as_of=last)
    return render(request, "adapters/user.html", {"person": person, **parts})


@require_safe
@strangers.kept
def detail(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Show an adapter at one revision."""
    repo_id, last, liked = f"{owner}/{name}", audit.latest(), []

    def find(last: str) -> Adapter:
        row = adapters.find(actor=request.user, repo_id=repo_id, load=("head__profile",), leave=(*LONG, *weights.left(repo_id)), with_like=True)
        liked.append(row.__dict__.pop("is_liked"))  # which is about the asker
        return row

    adapter = tallies.shared(request.user, f"adapter:{repo_id}", find, last)
    if adapter.repo_id != repo_id:
        return redirect("adapter-detail", adapter.owner.username, adapter.name)
    role = access.role_at(request.user, adapter.owner)
    is_mine = role in access.WRITERS
    ref = request.GET.get("revision", "")
    context: dict[str, Any] = {"adapter": adapter, "is_mine": is_mine}
    context["is_liked"] = liked[0] if liked else social.is_liked(actor=request.user, adapter=adapter)
    if adapter.head is None and not ref:
        return render(request, "adapters/empty.html", context)
    revision = adapters.find_revision(adapter=adapter, ref=ref or "main")
    context |= {
        "revision": revision,
        "is_head": revision.pk == adapter.head_id,
        "may_read": access.may_read_files(request.user, adapter),
        "asked": gates.request_of(actor=request.user, adapter=adapter) if adapter.gated else None,
        "waiting": gates.waiting(adapter=adapter) if adapter.gated and role == Role.OWNER else 0,
        **comments.panel(request, adapter, last),
    }
    if adapter.is_base_model:
        return base_models.page(request, adapter, revision, context | _contents(adapter, revision))

    def shown(last: str) -> dict[str, Any]:
        drawn_with = {name: context[name] for name in ("is_mine", "is_head", "may_read")}
        measured = {"lineage": lineage.with_kids(request.user, adapter, revision), "weights": weights.of(request.user, adapter, revision)}
        return {**drawn_with, **_contents(adapter, revision), **measured, "serve_rank": _serve_rank(revision.facts_or_empty)}

    context["parts"] = strangers.shared_parts(request, PARTS, shown, apart=is_mine or bool(adapter.gated), as_of=last)
    return render(request, "adapters/detail.html", context)


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


def _profile(request: HttpRequest, person: User, last: str, *, is_me: bool) -> dict[str, Any]:
    """Return what a person's page shows of them, on one of its tabs."""
    cursor, show = request.GET.get("cursor", ""), request.GET.get("show", "")
    found: dict[str, Any] = {"person": person, "cursor": cursor, "is_me": is_me, "tabs": TABS, "show": show if show in dict(TABS) else ""}
    found["memberships"] = memberships.of(user=person)
    if show == "collections":
        return {**found, "collections": collections.listing(actor=request.user, owner=person.username)}
    if show == "likes":
        return {**found, "page": social.liked_by(actor=request.user, person=person, limit=PAGE, cursor=cursor)}
    return {**found, "page": search.adapters(actor=request.user, as_of=last, owner=person.username, limit=PAGE, cursor=cursor)}


def _contents(adapter: Adapter, revision: Revision) -> dict[str, Any]:
    """Return what the page shows of a revision, whoever asks."""
    rows = list(revision.files.select_related("blob"))
    revisions = list(adapter.revisions.select_related("author").defer("facts", "recipe", "scores")[: REVISIONS + 1])
    return {
        "adapter": adapter,
        "revision": revision,
        "tags": adapter.tags.all(),
        "files": rows,
        "total_size": sum(row.blob.size for row in rows),
        "weights_sha256": next((row.blob_id for row in rows if row.path == "adapter_model.safetensors"), ""),
        "facts": revision.facts_or_empty,
        **_card(adapter, revision, rows),
        "revisions": revisions[:REVISIONS],
        "more_revisions": len(revisions) > REVISIONS,
    }


def _card(adapter: Adapter, revision: Revision, rows: list[RevisionFile]) -> dict[str, Any]:
    """Return what the page shows of the card: its text, and what its front matter states."""
    readme = next((row for row in rows if row.path == CARD), None)
    body, data, licence = adapter.card_text, adapter.card_data, adapter.licence
    if readme is None:
        return {"card": "", "licence": licences.find(licence)}
    if revision.pk != adapter.head_id:
        parsed = card.parse(storage.read_text(readme.blob_id))
        body, data, licence = parsed.body, parsed.data, parsed.licence
    # A revision never changes; links in the card hold the adapter's name, which may.
    html = cache.get_or_set(f"card-{adapter.repo_id}-{revision.sha}", lambda: _rendered(adapter, revision, rows, body), CARD_SECONDS)
    return {"card": html, "stated": front_matter.read(data), "licence": licences.find(licence)}


def _rendered(adapter: Adapter, revision: Revision, rows: list[RevisionFile], body: str) -> str:
    def link(path: str) -> str:
        return f"{reverse('adapter-file', args=[adapter.owner.username, adapter.name, path])}?revision={revision.sha}"

    return markdown.render(body, [row.path for row in rows], link)


def _serve_rank(facts: Mapping[str, Any]) -> int:
    """Return the rank that vLLM is to be started with, which takes no other; 0 where it cannot serve the adapter."""
    if not facts.get("composable") or facts["task_type"] == "SEQ_2_SEQ_LM":
        return 0
    largest = max([facts["rank"], *facts["rank_pattern"].values()])
    return next((rank for rank in SERVED if rank >= largest), 0)
