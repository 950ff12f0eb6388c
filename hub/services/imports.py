"""The verbs people have over imports from another hub: submit, find, cancel. What the worker does with them is in `importing`."""

import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hub import celery
from hub.errors import HubError, not_found
from hub.models import Import, User
from hub.models.adapters import is_adapter_name
from hub.services import access, adapters, audit

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_ACTIVE = 5  # of one person
MAIN = "main"
PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
REPO_ID = re.compile(rf"{PART}/{PART}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


def submit(*, actor: "Actor", repo_id: str, revision: str = "", name: str = "", private: bool = False, owner: str = "") -> Import:
    """Queue the import of a public adapter by its id on the other hub, under a name of the actor's."""
    user = access.require_login(actor)
    if not settings.IMPORTS:
        raise HubError("imports-off", "This hub does not import from other hubs. Download the adapter, then upload its folder.", status=403)
    if owner and owner.lower() != user.username:
        text = f"You can import adapters to your own name, {user.username}."
        raise HubError("forbidden", text, status=403, fields={"owner": text})
    repo_id, revision = repo_id.strip(), revision.strip() or MAIN
    _check_repo(repo_id, revision)
    name = name.strip() or repo_id.partition("/")[2]
    if not is_adapter_name(name):
        text = "Give it a name of letters, digits, hyphens, underscores and dots: the one it has there cannot be used here."
        raise HubError("name-invalid", text, fields={"name": text})
    adapters.check_new(actor=user, name=name)
    _check_room(user, name)
    with transaction.atomic():
        row = Import.objects.create(owner=user, repo_id=repo_id, revision=revision, name=name, private=private, rung_at=timezone.now())
        audit.record(user, "import.submit", row, repo_id=repo_id, revision=revision)
        transaction.on_commit(lambda: celery.ring_import(row.pk), robust=True)
    return row


def find(*, actor: "Actor", import_id: int) -> Import:
    """Return the actor's import, or "not found"."""
    row = Import.objects.visible_to(actor).select_related("owner", "adapter__owner").filter(pk=import_id).first()
    if row is None:
        raise not_found("import")
    return row


def cancel(*, actor: "Actor", row: Import) -> Import:
    """End an import that waits or runs; the worker notices at its next bytes."""
    user = access.require_login(actor)
    if row.owner_id != user.pk:
        raise not_found("import")
    with transaction.atomic():
        ended = Import.objects.active().filter(pk=row.pk).update(status=Import.Status.CANCELLED, finished_at=timezone.now(), claim="")
        if ended:
            audit.record(user, "import.cancel", row)
    row.refresh_from_db()
    if not ended and row.status != Import.Status.CANCELLED:
        raise HubError("already-over", f"This import has already {row.status}.", status=409)
    return row


def _check_repo(repo_id: str, revision: str) -> None:
    if not REPO_ID.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        text = "Give the id alone, as owner/name: it is what stands at the top of the adapter's page there. Addresses are not taken."
        raise HubError("repo-id-invalid", text, fields={"repo_id": text})
    if not REVISION.fullmatch(revision) or ".." in revision or "//" in revision:
        text = "The revision is a branch, a tag or a commit there, such as main."
        raise HubError("revision-invalid", text, fields={"revision": text})


def _check_room(user: User, name: str) -> None:
    active = Import.objects.active().filter(owner=user)
    if active.filter(name__iexact=name).exists():
        text = f"An import to {user.username}/{name} is on its way already."
        raise HubError("name-taken", text, status=409, fields={"name": text})
    if active.count() >= MAX_ACTIVE:
        raise HubError("too-many-imports", f"{MAX_ACTIVE} of your imports wait or run already. Wait for one to end, or cancel one.", status=429)
