"""Models: the list with its filters and pages, one model with its facts, and who may see it."""

from collections import defaultdict
from typing import Any

from django.db.models import prefetch_related_objects
from django.http import HttpRequest, JsonResponse

from hub.errors import HubError
from hub.hf import errors, repo, shapes
from hub.hf.door import door
from hub.hf.repo import Snapshot
from hub.models import RevisionFile
from hub.services import access, refs, search, tallies

SORTS = {
    "downloads": "downloads",
    "likes": "likes",
    "lastModified": "recent",
    "last_modified": "recent",
    "createdAt": "created",
    "created_at": "created",
    "trendingScore": "trending",
    "trending_score": "trending",
}
FILTERS = 20
# Filters that would silently list too much if they were passed over.
UNKNOWN_FILTERS = ("apps", "inference", "inference_provider", "num_parameters", "emissions_thresholds")


@door("GET", "HEAD")
def listing(request: HttpRequest) -> JsonResponse:
    """List the adapters and base models that the asker may see, as models."""
    given = request.GET
    if wrong := next((name for name in UNKNOWN_FILTERS if given.get(name)), ""):
        raise errors.not_offered(f"Medley does not know the filter {wrong}. Use search, author, filter, pipeline_tag, sort and limit.")
    labels = [value for name in ("filter", "pipeline_tag", "library", "language", "tags") for text in given.getlist(name) for value in text.split(",") if value]
    if len(labels) > FILTERS:
        raise HubError("too-many-filters", f"A list takes at most {FILTERS} filters.")
    models, following = tallies.shared(request.user, f"hf:{request.build_absolute_uri()}", lambda last: _models(request, labels, last))
    response = JsonResponse(models, safe=False)
    if following:
        params = given.copy()
        params["cursor"] = following
        response["Link"] = f'<{request.build_absolute_uri(request.path)}?{params.urlencode()}>; rel="next"'
    return response


@door("GET", "HEAD")
def info(request: HttpRequest, owner: str, name: str, rev: str = refs.MAIN) -> dict[str, Any]:
    """Show one model at a revision."""
    snapshot = repo.at(request, owner, name, rev)
    wanted = request.GET.getlist("expand") + request.GET.getlist("expand[]")
    shown = shapes.model(snapshot, wanted or shapes.INFO)
    if _flag(request.GET.get("blobs", "")):
        shown["siblings"] = [shapes.sibling(row) for row in snapshot.rows.values()]
    return shown


@door("GET", "HEAD")
def auth_check(request: HttpRequest, owner: str, name: str, right: str = "") -> dict[str, Any]:
    """Answer if the asker may have the model's files, or with `right` "write" change it."""
    adapter = repo.find(request, owner, name)
    access.require_file(request.user, adapter)
    if right == "write":
        access.require_write(request.user, adapter)
    return {}


def _models(request: HttpRequest, labels: list[str], last: str) -> tuple[list[dict[str, Any]], str]:
    """Return a page of models, and the cursor of the next one."""
    given = request.GET
    page = search.adapters(
        actor=request.user,
        q=given.get("search", ""),
        owner=given.get("author", ""),
        gated=_flag(given["gated"]) if given.get("gated") else None,
        labelled=labels,
        with_base_models=True,
        whole=True,
        counted=False,
        sort=_sort(given.get("sort", "")),
        limit=min(_limit(given.get("limit", "")), search.MAX_LIMIT),
        cursor=given.get("cursor", ""),
        as_of=last,
    )
    snapshots = [Snapshot(adapter, adapter.head, request.user) for adapter in page.items]
    prefetch_related_objects([snapshot.revision for snapshot in snapshots if snapshot.revision], "parents__adapter")
    fields = _fields(request)
    if "siblings" in fields:
        _load_files(snapshots)
    return [shapes.model(snapshot, fields) for snapshot in snapshots], page.next


def _fields(request: HttpRequest) -> tuple[str, ...]:
    wanted = request.GET.getlist("expand") + request.GET.getlist("expand[]")
    if wanted:
        return tuple(wanted)
    fields = shapes.FULL if _flag(request.GET.get("full", "")) else shapes.BRIEF
    return (*fields, *(("cardData",) if _flag(request.GET.get("cardData", "")) else ()), *(("config",) if _flag(request.GET.get("config", "")) else ()))


def _load_files(snapshots: list[Snapshot]) -> None:
    """Load the files of a whole page in one query."""
    rows: dict[int, dict[str, RevisionFile]] = defaultdict(dict)
    heads = [snapshot.revision.pk for snapshot in snapshots if snapshot.revision]
    for row in RevisionFile.objects.filter(revision__in=heads).select_related("blob"):
        rows[row.revision_id][row.path] = row
    for snapshot in snapshots:
        snapshot.rows = rows[snapshot.revision.pk] if snapshot.revision else {}


def _sort(text: str) -> str:
    if not text:
        return "recent"
    if text not in SORTS:
        raise HubError("sort-invalid", f"Sort by one of: {', '.join(SORTS)}.")
    return SORTS[text]


def _limit(text: str) -> int:
    if not text:
        return search.MAX_LIMIT
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise HubError("limit-invalid", "The limit is a positive number of at most nine digits.")
    return number


def _flag(text: str) -> bool:
    return text.lower() in ("true", "1")
