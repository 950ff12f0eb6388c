"""What an address names: an adapter at a revision, where an adapter without files is at a commit of its own, as clients expect."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import prefetch_related_objects
from django.http import HttpRequest

from hub import adapter_format, card, labels, model_format, storage
from hub.errors import HubError
from hub.hf import errors
from hub.models import Adapter, Revision, RevisionFile
from hub.services import access, accounts, adapters, files, read_through, refs, search, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

CARD = "README.md"
OFF = ("", "0", "false")  # how an address says no


@dataclass
class Snapshot:
    """An adapter at one of its commits, as the asker may see it."""

    adapter: Adapter
    revision: Revision | None
    asker: "Actor" = field(default_factory=AnonymousUser)

    @property
    def sha(self) -> str:
        """The commit's id."""
        return self.revision.sha if self.revision else self.adapter.root_sha

    @cached_property
    def rows(self) -> dict[str, RevisionFile]:
        """The files by path."""
        return {row.path: row for row in self.revision.files.select_related("blob")} if self.revision else {}

    @property
    def is_head(self) -> bool:
        """Whether this is the newest commit of main."""
        return (self.revision.pk if self.revision else None) == self.adapter.head_id

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the weights are, as adapter_format.Facts."""
        return self.revision.facts_or_empty if self.revision else {}

    @cached_property
    def model(self) -> model_format.ModelFacts | None:
        """What a base model is."""
        return model_format.ModelFacts(**self.revision.model) if self.revision and self.revision.model else None

    @cached_property
    def parents(self) -> list[str]:
        """The ids of the adapters that a composed one was made from, without those that the asker may not see."""
        if self.revision is None:
            return []
        prefetch_related_objects([self.revision], "parents__adapter")
        return [parent.repo_id for parent in self.revision.parents.all() if not parent.is_hidden_from(self.asker)]

    @cached_property
    def card_data(self) -> dict[str, Any]:
        """The front matter of the card; of a composed adapter it names base and parents, whatever the card says."""
        stated = self.adapter.card_data if self.is_head else self._card.data
        if not self.parents:
            return stated
        return {**stated, "base_model": [self.facts["base_model"], *self.parents], "base_model_relation": "merge"}

    @cached_property
    def labels(self) -> list[str]:
        """The words that clients filter by: computed ones, those of parents, then the owner's tags."""
        facts = adapter_format.Facts(**self.facts) if self.facts and not self.is_head else None
        found = labels.unpack(self.adapter.labels) if self.is_head else labels.of(facts, self._card, self.model)
        return list(dict.fromkeys([*found, *(search.PARENT + name for name in self.parents), *(tag.name for tag in self.adapter.tags.all())]))

    @cached_property
    def _card(self) -> card.Card:
        return card.parse(storage.read_text(self.rows[CARD].blob_id) if CARD in self.rows else "")


def find(request: HttpRequest, owner: str, name: str) -> Adapter:
    """Return the adapter or base model that the asker may see, or "not found". A listed base model that is not here is taken in from another hub."""
    repo_id = f"{owner}/{name}"
    try:
        return adapters.find(actor=request.user, repo_id=repo_id)
    except HubError as error:
        if error.code != "not-found" or not read_through.take_in(repo_id):
            raise
    return adapters.find(actor=request.user, repo_id=repo_id)


def mine(request: HttpRequest, owner: str, name: str) -> Adapter:
    """Return an adapter that the asker may change, before a body is read."""
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    access.require_write(request.user, adapter)
    return adapter


def managed(request: HttpRequest, owner: str, name: str) -> Adapter:
    """Return an adapter that the asker may decide about, before a body is read."""
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    access.require_manage(request.user, adapter)
    return adapter


def mine_or_new(request: HttpRequest, owner: str, name: str) -> Adapter | None:
    """Return an adapter that the asker may change, or None where `create_repo=1` asks for a new one and its name and tags can be had.

    The upload page asks so: its adapter begins with its first commit, and an upload that ends early leaves none.
    """
    user = access.require_login(request.user)
    account = None if request.GET.get("create_repo", "") in OFF else accounts.find_owner(owner)
    if account is None or not access.may_create(user, account):
        return mine(request, owner, name)
    adapters.check_new(actor=user, name=name, tags=request.GET.getlist("tag"), owner=account)
    return None


def at(request: HttpRequest, owner: str, name: str, rev: str = refs.MAIN) -> Snapshot:
    """Return the adapter at a revision."""
    adapter = find(request, owner, name)
    try:
        return Snapshot(adapter, refs.find(adapter=adapter, name=rev), request.user)
    except HubError as error:
        if error.code != "revision-not-found" or not read_through.take_in_revision(adapter, rev):
            raise
    return Snapshot(adapter, refs.find(adapter=adapter, name=rev), request.user)


def file(request: HttpRequest, owner: str, name: str, rev: str, path: str) -> files.Found:
    """Return one file at a revision that the asker may have, or say what is not there or what is in the way."""
    if found := files.find(actor=request.user, owner=owner, name=name, path=path, ref=rev):
        return found
    snapshot, row = at(request, owner, name, rev), None
    if snapshot.revision is not None and path == texts.storable(path):
        row = snapshot.revision.files.select_related("blob").filter(path=path).first()
    if row is None:
        raise NoEntry(snapshot, path)
    access.require_file(request.user, snapshot.adapter, path)
    return files.Found(row.path, row.blob_id, row.blob.size, snapshot.sha, snapshot.adapter.pk)


class NoEntry(HubError):
    """There is no such file or folder in this commit; the client remembers that by the commit's id."""

    def __init__(self, snapshot: Snapshot, path: str) -> None:
        where = f"{snapshot.adapter.repo_id} at {snapshot.sha[:7]}"
        super().__init__("file-not-found", f"There is no {path[:200]!r} in {where}.", status=404)
        self.headers = {"X-Repo-Commit": snapshot.sha}


def refuse_pull_request(request: HttpRequest) -> None:
    """Say that changes go to branches only."""
    if request.GET.get("create_pr", "") not in OFF:
        raise errors.not_offered("Medley has no pull requests. Commit to a branch of your own, or to an adapter of your own.")
