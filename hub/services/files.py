"""Finds one file of a revision by one query, for downloads: what pages show of an adapter and its revisions is left in the database."""

from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, QuerySet
from django.db.models.functions import Lower

from hub.models import Adapter, Blob, RevisionFile, User
from hub.models.accounts import NAMESPACE
from hub.models.adapters import ADAPTER_NAME
from hub.services import accounts, prepared, refs, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

SHA_DIGITS = 40
Rows = QuerySet[RevisionFile, tuple[Any, ...]]


class Found(NamedTuple):
    """A file of a revision that the asker may have: what is sent of it, under which commit."""

    path: str
    blob_id: str
    size: int
    sha: str
    adapter_id: int

    @property
    def blob(self) -> Blob:
        """The bytes."""
        return prepared.load(Blob, sha256=self.blob_id, size=self.size)

    @property
    def adapter(self) -> Adapter:
        """The adapter; what is asked of it is read then."""
        return prepared.load(Adapter, id=self.adapter_id)


def find(*, actor: "Actor", owner: str, name: str, path: str, ref: str) -> Found | None:
    """Return a file that the actor may have, of main or of a whole sha. None says nothing: it may be missing, gated, or go by another name, branch or tag."""
    if not NAMESPACE.fullmatch(owner) or not ADAPTER_NAME.fullmatch(name) or path != texts.storable(path):
        return None
    values: dict[str, str | int] = {"owner": owner.lower(), "name": name.lower(), "path": path}
    if isinstance(actor, User):
        values["user"] = actor.pk
    if ref == refs.MAIN:
        row = prepared.first(_of_main, **values)
    elif len(ref) == SHA_DIGITS:
        row = prepared.first(_of_sha, sha=texts.storable(ref), **values)
    else:
        return None
    return Found(path, *row) if row else None


def _of_main(**values: Any) -> Rows:
    return _all(**values).filter(revision=F("revision__adapter__head"))


def _of_sha(*, sha: str, **values: Any) -> Rows:
    return _all(**values).filter(revision__sha=sha)


def _all(*, owner: str, name: str, path: str, user: int | None = None) -> Rows:
    actor = AnonymousUser() if user is None else User(pk=user)
    adapters = (
        Adapter.objects.visible_to(actor)
        .filter(gated="")
        .annotate(lower_name=Lower("name"))
        .filter(owner__in=accounts.named(owner).values("pk"), lower_name=name)
    )
    rows = RevisionFile.objects.filter(path=path, revision__adapter__in=adapters.values("pk"))
    return rows.order_by().values_list("blob_id", "blob__size", "revision__sha", "revision__adapter_id")
