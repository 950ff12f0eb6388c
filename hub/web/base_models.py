"""Pages of base models: the list, what hangs on one, and one hosted here, whose revisions, files and settings have the addresses that adapters have."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from hub.errors import not_found
from hub.models import Adapter, Revision
from hub.services import search
from hub.web import lineage, strangers

SHOWN = 6
FACETS = {"task": "Tasks", "tag": "Tags", "rank": "Ranks", "licence": "Licences"}
CAUSAL, SEQ2SEQ = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"


@require_safe
@strangers.kept
def listing(request: HttpRequest) -> HttpResponse:
    """List the base models that adapters here were trained on, that a worker has, or that are hosted."""
    main = strangers.shared(request, "base_models/_list.html", lambda last: {"base_models": search.base_models(actor=request.user)})
    return render(request, "base_models/list.html", {"main": main})


@require_safe
@strangers.kept
def tree(request: HttpRequest, name: str) -> HttpResponse:
    """Show what hangs on a base model, hosted here or not: adapters, what was composed of them, and who was made from whom."""
    main = strangers.shared(request, "base_models/_tree.html", lambda last: _tree(request, name))
    return render(request, "base_models/tree.html", {"main": main, "name": name})


def page(request: HttpRequest, adapter: Adapter, revision: Revision, context: dict[str, Any]) -> HttpResponse:
    """Show a hosted base model at one revision."""
    model = revision.model or {}
    is_seq2seq = any("ConditionalGeneration" in name for name in model.get("architectures", []))
    context |= {
        "model": model,
        "parameters": sum(model.get("parameters", {}).values()),
        "dtypes": ", ".join(sorted(model.get("parameters", {}))),
        "loader": SEQ2SEQ if is_seq2seq else CAUSAL,
        "upstream": f"{settings.READ_THROUGH}/{adapter.upstream.repo_id}" if settings.READ_THROUGH and hasattr(adapter, "upstream") else "",
        "as_base": search.base_models(actor=request.user).filter(repository=adapter).first(),
    }
    return render(request, "base_models/detail.html", context)


def _tree(request: HttpRequest, name: str) -> dict[str, Any]:
    base = search.base_models(actor=request.user).filter(name=name).first()
    if base is None:
        raise not_found("base model")
    made = search.facets(actor=request.user, facets={"base_model": [name]})
    return {
        "base": base,
        "made": dict(made.counts.get("made", ())),
        "facets": {title: made.counts.get(facet, [])[:SHOWN] for facet, title in FACETS.items()},
        "adapters": search.adapters(actor=request.user, base_model=name, made="uploaded", sort="downloads", limit=SHOWN, counted=False, tags=False).items,
        "mixes": search.adapters(actor=request.user, base_model=name, made="composed", limit=SHOWN, counted=False, tags=False).items,
        "tree": lineage.tree(request.user, name),
    }
