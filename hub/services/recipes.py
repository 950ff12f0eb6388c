"""Gathers the files that a composed adapter was made of, so that it can be made again."""

import json
from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from hub import storage
from hub.errors import HubError
from hub.models import Adapter, Parent, Revision, User
from hub.services import accounts, adapters, refs, texts

FILES = (adapters.CONFIG, adapters.WEIGHTS)


def published(*, repo_id: str, ref: str, folder: Path, actor: User | None = None) -> dict[str, Any]:
    """Put the config and weights of a composed adapter into `folder` and return its recipe. Without an actor, private adapters count too: the operator asks."""
    adapter = _adapter(repo_id, actor)
    revision = refs.find(adapter=adapter, name=ref) if adapter else None
    if adapter is None or revision is None:
        raise HubError("not-found", f"There is no adapter {repo_id} here, or it has no files.", status=404)
    blobs = dict(revision.files.values_list("path", "blob_id"))
    if not {adapters.RECIPE, *FILES} <= set(blobs):
        raise HubError("recipe-missing", f"{adapter.repo_id} has no {adapters.RECIPE} with config and weights at {revision.short}: it was not composed here.")
    try:
        recipe = json.loads(storage.read_text(blobs[adapters.RECIPE]))
    except (ValueError, RecursionError) as error:
        raise HubError("recipe-invalid", f"The {adapters.RECIPE} of {adapter.repo_id} is no JSON.") from error
    _link(blobs, folder, FILES)
    return recipe if isinstance(recipe, dict) else {}


def parent(*, repo_id: str, sha: str, folder: Path, actor: User | None = None) -> None:
    """Put a parent's config and weights at its pinned revision into `folder`."""
    revision = _pinned(repo_id, texts.storable(sha), actor)
    if revision is None and (adapter := _adapter(repo_id, actor)) and not _then(repo_id, sha).exclude(adapter=adapter).exists():
        raise HubError("parent-changed", f"The parent {adapter.repo_id} no longer has the revision {sha[:12]} that the recipe names.")
    if revision is None:
        whose = "is not here any more" if actor is None else f"is not here any more, or is hidden from {actor.username}"
        raise HubError("parent-missing", f"The parent {repo_id} {whose}. Without it nothing can be rebuilt.")
    blobs = dict(revision.files.values_list("path", "blob_id"))
    if not set(FILES) <= set(blobs):
        raise HubError("parent-changed", f"The parent {repo_id} has no {' and '.join(FILES)} at the revision {sha[:12]} that the recipe names.")
    _link(blobs, folder, FILES)


def _pinned(repo_id: str, sha: str, actor: User | None) -> Revision | None:
    """The revision of the adapter that has, had, or had when it was composed this name: another one may have the name now."""
    adapter = _adapter(repo_id, actor)
    if adapter and (found := Revision.objects.filter(adapter=adapter, sha=sha).first()):
        return found
    then = _readable(actor).filter(pk__in=_then(repo_id, sha).values("adapter"))
    return Revision.objects.filter(adapter__in=then, sha=sha).first()


def _then(repo_id: str, sha: str) -> QuerySet[Parent]:
    """What is on record of the adapters that had this name when something was composed of them."""
    return Parent.objects.filter(repo_id=texts.storable(repo_id), sha=texts.storable(sha), adapter__isnull=False)


def _adapter(repo_id: str, actor: User | None) -> Adapter | None:
    owner, _, name = texts.storable(repo_id).partition("/")
    rows = _readable(actor)
    return adapters.named(rows, accounts.named(owner), name) or adapters.named(rows, accounts.formerly(owner), name)


def _readable(actor: User | None) -> QuerySet[Adapter]:
    return Adapter.objects.all() if actor is None else Adapter.objects.readable_by(actor)


def _link(blobs: dict[str, str], folder: Path, paths: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        storage.link(blobs[path], folder / path)
