"""Pages of base models: the list, and one that is hosted here. Its revisions, files, settings and deletion have the addresses that adapters have."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from hub.models import Adapter, Revision, RevisionFile
from hub.services import search
from hub.web import strangers

CAUSAL, SEQ2SEQ = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"


@require_safe
@strangers.kept
def listing(request: HttpRequest) -> HttpResponse:
    """List the base models that adapters here were trained on, that a worker has, or that are hosted."""
    return render(request, "base_models/list.html", {"base_models": search.base_models(actor=request.user)})


def page(request: HttpRequest, adapter: Adapter, revision: Revision, rows: list[RevisionFile], context: dict[str, Any]) -> HttpResponse:
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
