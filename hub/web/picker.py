"""The list of adapters on the compose page: those that were ticked, those that the words of the task suggest, and the others."""

import functools
import operator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from compose_worker.engine import catalogue
from hub.errors import HubError
from hub.models import Adapter
from hub.services import access, search, suggestions, texts
from hub.web import examples

SHOWN = 40


@dataclass(frozen=True)
class Asked:
    """What the list is made for."""

    base_model: str
    chosen: list[str]
    find: str
    description: str = ""
    rows: examples.Rows = field(default_factory=list)
    private: bool = False


@require_http_methods(["GET", "HEAD", "POST"])
def modules(request: HttpRequest) -> HttpResponse:
    """Answer the module picker: what was ticked, then what the task's words suggest, then what matches the search."""
    user = access.require_login(request.user)
    sent = request.POST or request.GET
    asked = Asked(
        sent.get("base_model", ""),
        sent.getlist("modules"),
        sent.get("find", ""),
        sent.get("description", ""),
        rows_of(sent.get("text", "")),
        "private" in sent,
    )
    return render(request, "compose/_modules.html", context(user, asked))


def context(user: Any, asked: Asked) -> dict[str, Any]:
    """Return what the list shows."""
    refs = {ref.partition("@")[0]: ref for ref in asked.chosen[: catalogue.MAX_MODULES]}
    ticked = _visible(user, list(refs))
    suggested = _suggested(user, asked)
    reasons = {one.adapter.pk: one.reasons for one in suggested}
    known = {a.pk for a in ticked}
    best = [one.adapter for one in suggested if one.adapter.pk not in known]
    known |= {a.pk for a in best}
    wanted = {"base_model": asked.base_model, "composable": True, "readable": True} | ({} if asked.find else {"archived": False})
    page = search.adapters(actor=user, q=asked.find[:200], sort="downloads", limit=SHOWN, **wanted) if asked.base_model else None
    others = [a for a in page.items if a.pk not in known] if page else []
    return {
        "listed": [_listed(a, refs.get(a.repo_id, ""), reasons.get(a.pk, [])) for a in (*ticked, *best, *others)],
        "suggested": len(suggested),
        "wordless": not asked.rows and not asked.description.strip(),
        "found": page.total if page else 0,
        "more": bool(page and page.next),
        "find": asked.find,
        "picker_base": asked.base_model,
    }


def _listed(adapter: Adapter, ref: str, reasons: list[str]) -> tuple[Adapter, str, str, list[str]]:
    """An adapter, how it was ticked, if it was, and at which revision, if not at the newest; and why it is suggested."""
    return adapter, ref, ref.partition("@")[2][:7], reasons


def count(user: Any, base_model: str) -> int:
    """Return how many adapters "find them for me" would look at."""
    if not base_model:
        return 0
    found = Adapter.objects.readable_by(user).filter(archived_at=None, base_model=texts.storable(base_model, 200), composable=True)
    return found.order_by()[: catalogue.MAX_AUTO_MODULES].count()


def rows_of(text: str) -> examples.Rows:
    """Return the examples in a text that is still being written; what cannot be read says nothing."""
    try:
        return examples.read_text(text)
    except HubError:
        return []


def _suggested(user: Any, asked: Asked) -> list[suggestions.Suggestion]:
    if not asked.base_model or asked.find:
        return []
    return suggestions.for_task(actor=user, base_model=asked.base_model, description=asked.description, examples=asked.rows, private=asked.private)


def _visible(user: Any, ids: list[str]) -> list[Adapter]:
    pairs = [texts.storable(repo_id).split("/", 1) for repo_id in ids if "/" in repo_id]
    if not pairs:
        return []
    wanted = functools.reduce(operator.or_, (Q(owner__username=owner, name=name) for owner, name in pairs))
    return list(Adapter.objects.visible_to(user).for_listing().filter(wanted).order_by("pk"))
