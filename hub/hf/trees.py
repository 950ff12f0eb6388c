"""What is in a revision and how it came to be: trees, paths, branches and tags, commits."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, JsonResponse

from hub.errors import HubError
from hub.hf import body, repo, shapes
from hub.hf.door import door
from hub.hf.repo import NoEntry, Snapshot
from hub.models import Ref, Revision
from hub.services import history, refs

MAX_PATHS = 1000
COMMITS = 50
Json = dict[str, Any]


@door("GET", "HEAD")
def tree(request: HttpRequest, owner: str, name: str, rev: str, path: str = "") -> list[Json]:
    """List a folder: its own entries, or with `recursive` everything below it."""
    snapshot = repo.at(request, owner, name, rev)
    folder = path.strip("/")
    inside = f"{folder}/" if folder else ""
    paths = [p for p in snapshot.rows if p.startswith(inside)]
    if folder and not paths:
        raise NoEntry(snapshot, folder)
    deep = _flag(request, "recursive")
    shown = [p for p in [*shapes.folders(paths), *paths] if p.startswith(inside) and (deep or "/" not in p[len(inside) :])]
    return _entries(snapshot, shown, _flag(request, "expand"))


@door("POST", changes=False)
def paths_info(request: HttpRequest, owner: str, name: str, rev: str) -> list[Json]:
    """Show the entries with these paths; those that are not there are left out."""
    snapshot = repo.at(request, owner, name, rev)
    asked, expand = _asked(request)
    paths = [p.strip("/") for p in asked]
    if len(paths) > MAX_PATHS:
        raise HubError("too-many-paths", f"Ask for at most {MAX_PATHS} paths at once.")
    known = {*snapshot.rows, *shapes.folders(snapshot.rows)}
    return _entries(snapshot, [p for p in dict.fromkeys(paths) if p in known], expand)


@door("GET", "HEAD")
def all_refs(request: HttpRequest, owner: str, name: str) -> Json:
    """List branches and tags."""
    adapter = repo.find(request, owner, name)
    found: dict[str, list[Json]] = {Ref.Kind.BRANCH: [_ref("heads", refs.MAIN, Snapshot(adapter, adapter.head).sha)], Ref.Kind.TAG: []}
    for ref in adapter.refs.select_related("revision").defer("revision__facts", "revision__recipe", "revision__scores"):
        found[ref.kind].append(_ref("heads" if ref.kind == Ref.Kind.BRANCH else "tags", ref.name, Snapshot(adapter, ref.revision).sha))
    answer: Json = {"branches": found[Ref.Kind.BRANCH], "converts": [], "tags": found[Ref.Kind.TAG]}
    return {**answer, "pullRequests": []} if _flag(request, "include_prs") else answer


@door("GET", "HEAD")
def commits(request: HttpRequest, owner: str, name: str, rev: str) -> JsonResponse:
    """List the commits behind a revision, newest first."""
    snapshot = repo.at(request, owner, name, rev)
    page = _number(request.GET.get("p", ""), 0, 1_000_000)
    limit = max(1, _number(request.GET.get("limit", ""), COMMITS, 1000))
    rows: list[Revision] = []
    total = 0
    if snapshot.revision is not None:
        rows, total = history.ancestors(revision=snapshot.revision, skip=page * limit, limit=limit)
    formatted = "formatted" in request.GET.getlist("expand[]") + request.GET.getlist("expand")
    response = JsonResponse([shapes.commit(row, formatted) for row in rows], safe=False)
    response["X-Total-Count"] = str(total)
    if total > (page + 1) * limit:
        params = request.GET.copy()
        params["p"] = str(page + 1)
        response["Link"] = f'<{request.build_absolute_uri(request.path)}?{params.urlencode()}>; rel="next"'
    return response


def _asked(request: HttpRequest) -> tuple[list[str], bool]:
    """Return which paths are asked for, and whether with their last commits: Python clients send a form, the JavaScript client JSON."""
    if request.content_type != "application/json":
        return request.POST.getlist("paths"), request.POST.get("expand", "").lower() in ("true", "1")
    sent = body.json(request)
    paths = sent.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise HubError("body-invalid", 'The field "paths" must be a list of texts.')
    return paths, sent.get("expand") is True


def _entries(snapshot: Snapshot, paths: list[str], expand: bool) -> list[Json]:
    rows = snapshot.rows
    changed: Mapping[str, Revision] | None = None
    if expand and snapshot.revision is not None:
        changed = history.last_changes(revision=snapshot.revision, files={path: row.blob_id for path, row in rows.items()})
    return [shapes.file(rows[p], changed) if p in rows else shapes.folder(p, rows, changed) for p in paths]


def _ref(kind: str, name: str, sha: str) -> Json:
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}


def _flag(request: HttpRequest, name: str) -> bool:
    return request.GET.get(name, "").lower() in ("true", "1")


def _number(text: str, default: int, most: int) -> int:
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 10 else default
