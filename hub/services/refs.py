"""Branches and tags of an adapter, and which revision a name means."""

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from hub.errors import HubError, not_found
from hub.models import Adapter, Ref, Revision
from hub.models.refs import REF_NAME
from hub.services import access, audit, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAIN = "main"
MAX_REFS = 200
_HEX = frozenset("0123456789abcdef")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


def find(*, adapter: Adapter, name: str) -> Revision | None:
    """Return the revision that `name` means: main, a branch, a tag, a sha or at least seven digits of one. None is an adapter or branch without files."""
    short = name.removeprefix(_HEADS).removeprefix(_TAGS)
    if short in ("", MAIN, "HEAD") or short == adapter.root_sha:
        return adapter.head if short != adapter.root_sha else None
    if 7 <= len(short) <= 40 and set(short) <= _HEX:
        found = list(adapter.revisions.filter(sha__startswith=short)[:2])
        if len(found) == 1:
            return found[0]
    elif ref := adapter.refs.select_related("revision").filter(name=texts.storable(short)).first():
        return ref.revision
    raise HubError("revision-not-found", f"{adapter.repo_id} has no revision {name[:60]!r}.", status=404)


def branch_name(given: str) -> str:
    """Return the short name of a branch; nothing means main."""
    return given.removeprefix(_HEADS) or MAIN


def create_branch(*, actor: "Actor", adapter: Adapter, name: str, start: str = MAIN) -> Ref:
    """Create a branch that begins at the revision `start`."""
    return _create(actor, adapter, Ref.Kind.BRANCH, name, find(adapter=adapter, name=start), "")


def create_tag(*, actor: "Actor", adapter: Adapter, name: str, at: str = MAIN, message: str = "") -> Ref:
    """Give the revision `at` a name that stays."""
    access.require_write(actor, adapter)
    revision = find(adapter=adapter, name=at)
    if revision is None:
        raise HubError("no-revision", f"{adapter.repo_id} has no files yet, so there is nothing to tag. Upload something first.", status=404)
    return _create(actor, adapter, Ref.Kind.TAG, name, revision, message)


def delete(*, actor: "Actor", adapter: Adapter, kind: str, name: str) -> None:
    """Delete a branch or tag; revisions stay and can be had by their sha."""
    user = access.require_write(actor, adapter)
    short = name.removeprefix(_HEADS).removeprefix(_TAGS)
    if kind == Ref.Kind.BRANCH and short == MAIN:
        raise HubError("branch-main", "The branch main cannot be deleted.", status=403)
    with transaction.atomic():
        if not adapter.refs.filter(kind=kind, name=texts.storable(short)).delete()[0]:
            raise HubError("revision-not-found", f"{adapter.repo_id} has no {kind} {name[:60]!r}.", status=404)
        audit.record(user, f"{kind}.delete", adapter, name=short)


def tip(*, adapter: Adapter, branch: str) -> Revision | None:
    """Return the newest revision of a branch, read afresh; None is a branch without files."""
    if branch == MAIN:
        try:
            adapter.refresh_from_db(fields=["head"])
        except Adapter.DoesNotExist as error:
            raise not_found() from error
        return adapter.head
    ref = Ref.objects.select_related("revision").filter(adapter=adapter, name=texts.storable(branch)).first()
    if ref is None:
        raise HubError("revision-not-found", f"{adapter.repo_id} has no branch {branch[:60]!r}. Create it first.", status=404)
    if ref.kind != Ref.Kind.BRANCH:
        raise HubError("not-a-branch", f"{branch[:60]!r} is a tag of {adapter.repo_id}, and tags do not move. Commit to a branch.", status=409)
    return ref.revision


def advance(*, adapter: Adapter, branch: str, before: Revision | None, after: Revision) -> bool:
    """Move a branch other than main, if it still stands where the new revision was built on."""
    rows = Ref.objects.filter(adapter=adapter, kind=Ref.Kind.BRANCH, name=branch, revision=before)
    return rows.update(revision=after) == 1


def _create(actor: "Actor", adapter: Adapter, kind: Ref.Kind, name: str, revision: Revision | None, message: str) -> Ref:
    user = access.require_write(actor, adapter)
    _check_name(kind, name)
    if name == MAIN:
        raise _taken(adapter, name)
    if adapter.refs.count() >= MAX_REFS:
        raise HubError("too-many-refs", f"An adapter has at most {MAX_REFS} branches and tags. Delete some that nobody needs.", status=409)
    try:
        with transaction.atomic():
            ref = Ref.objects.create(adapter=adapter, kind=kind, name=name, revision=revision, message=texts.storable(message, 500))
            audit.record(user, f"{kind}.create", adapter, name=name, sha=revision.sha if revision else None)
    except IntegrityError as error:
        raise _taken(adapter, name) from error
    return ref


def _check_name(kind: Ref.Kind, name: str) -> None:
    if not REF_NAME.fullmatch(name) or ".." in name or name.endswith(".lock") or name == "HEAD":
        raise HubError("ref-invalid", f"The {kind} name {name[:60]!r} is not usable: 1 to 100 letters, digits and . _ - are, without a slash.")
    if 7 <= len(name) <= 40 and set(name) <= _HEX:
        raise HubError("ref-invalid", f"The {kind} name {name[:60]!r} looks like the sha of a revision. Choose another one.")


def _taken(adapter: Adapter, name: str) -> HubError:
    return HubError("ref-taken", f"{adapter.repo_id} has a branch or tag {name!r} already.", status=409)
