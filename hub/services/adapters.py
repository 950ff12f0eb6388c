"""The verbs of the catalogue: create, commit, find and change adapters. What ends or moves them is in `lifecycle`."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from hub import labels, storage
from hub.errors import HubError, not_found
from hub.models import Adapter, BaseModel, FormerName, Like, Parent, Revision, RevisionFile, Tag, User
from hub.models.accounts import NAMESPACE
from hub.models.adapters import ADAPTER_NAME, TAG
from hub.services import access, accounts, audit, gates, hosted, index, intake, names, notifications, profiles, quotas, refs, texts, tombstones, trees, uploads
from hub.services.trees import Incoming, Inspected, Known

if TYPE_CHECKING:
    from hub.models.adapters import Actor

logger = logging.getLogger(__name__)
CONFIG, WEIGHTS, CARD, RECIPE = "adapter_config.json", "adapter_model.safetensors", "README.md", "recipe.json"
MAX_TAGS = 20
ATTEMPTS = 8  # of a commit that others keep overtaking


@dataclass(frozen=True)
class Origin:
    """What only the worker knows of a composed revision."""

    recipe: Mapping[str, Any]
    scores: Mapping[str, Any]
    parents: Iterable[Parent]  # of another revision or of none yet; they are copied


@dataclass(frozen=True)
class Prepared:
    """Files that lie in the store and were inspected, so that the transaction that needs them is short."""

    stored: Mapping[str, storage.Stored]
    found: Inspected


def create(*, actor: "Actor", name: str, private: bool = False, tags: Iterable[str] = (), owner: User | None = None) -> Adapter:
    """Create an empty adapter under the actor's name, or under an organisation's."""
    account = access.require_create(actor, owner)
    return create_for(account, name=name, private=private, tags=tags, by=access.require_login(actor))


def create_for(
    account: User, *, name: str, private: bool = False, tags: Iterable[str] = (), kind: Adapter.Kind = Adapter.Kind.ADAPTER, by: User | None = None
) -> Adapter:
    """Create an empty repository under an account or a namespace, for verbs that have asked who may."""
    names.check(account, name)
    clean = clean_tags(tags)
    try:
        with transaction.atomic():
            names.refuse_claimed(account, name)
            FormerName.objects.filter(owner=account, name__iexact=name).delete()
            adapter = Adapter.objects.create(owner=account, name=name, private=private, kind=kind)
            adapter.tags.set(_tag_rows(clean))
            index.refresh(adapter)
            audit.record(by or account, f"{kind}.create", adapter, private=private)
    except IntegrityError as error:
        raise names.taken(account, name, can_add=True) from error
    return adapter


def find(*, actor: "Actor", repo_id: str, load: tuple[str, ...] = (), leave: tuple[str, ...] = (), with_like: bool = False) -> Adapter:
    """Return the adapter `owner/name`, or the same "not found" for a missing and for a hidden one.

    It comes with the rows that `load` names, without the columns that `leave` names, and `with_like` with `is_liked`: whether the actor likes it.
    """
    owner, _, name = repo_id.partition("/")
    adapter: Adapter | None = None
    if NAMESPACE.fullmatch(owner) and ADAPTER_NAME.fullmatch(name):
        rows = Adapter.objects.visible_to(actor).select_related("owner", "head", *load).defer(*leave)
        if with_like:
            rows = rows.annotate(is_liked=Exists(Like.objects.filter(adapter=OuterRef("pk"), user=actor.pk)))
        adapter = named(rows, accounts.named(owner), name) or named(rows, accounts.formerly(owner), name)
        if adapter is None:
            tombstones.refuse(actor=actor, owner=owner, name=name)
    if adapter is None:
        raise not_found()
    return adapter


def named(rows: QuerySet[Adapter], owners: QuerySet[User], name: str) -> Adapter | None:
    """Return the one of these adapters that has, or else had, this name under one of these owners."""
    return rows.filter(owner__in=owners, name__iexact=name).first() or rows.filter(former_names__owner__in=owners, former_names__name__iexact=name).first()


def find_revision(*, adapter: Adapter, ref: str = "main") -> Revision:
    """Return the revision that `ref` names: main (the head), a branch, a tag, a sha, or at least seven digits of one."""
    revision = refs.find(adapter=adapter, name=ref)
    if revision is None:
        raise HubError("no-revision", f"{adapter.repo_id} has no files yet.", status=404)
    return revision


def find_file(*, actor: "Actor", repo_id: str, path: str, ref: str = "main") -> RevisionFile:
    """Return one file of a revision."""
    adapter = find(actor=actor, repo_id=repo_id)
    revision = find_revision(adapter=adapter, ref=ref)
    row = revision.files.select_related("blob", "revision__adapter").filter(path=texts.storable(path)).first()
    if row is None or row.path != path:
        raise HubError("file-not-found", f"{adapter.repo_id} has no file {path[:200]!r} at {revision.short}.", status=404)
    return row


def update(*, actor: "Actor", adapter: Adapter, private: bool | None = None, gated: str | None = None, tags: Iterable[str] | None = None) -> Adapter:
    """Change who sees an adapter, who may have its files, or its tags."""
    user = access.require_write(actor, adapter) if tags is not None else access.require_manage(actor, adapter)
    if private is not None or gated is not None:
        access.require_manage(actor, adapter)
    clean = None if tags is None else clean_tags(tags)
    if gated not in (None, "", *Adapter.Gate.values):
        raise HubError("gated-invalid", "Files are for everyone, auto (whoever asks) or manual (whom you accept).", fields={"gated": "auto or manual."})
    with transaction.atomic():
        now = Adapter.objects.select_for_update(of=("self",)).select_related("owner", "head").filter(pk=adapter.pk).first()
        if now is None:
            raise not_found()
        adapter.private, adapter.gated = now.private, now.gated
        if private is not None and private != now.private:
            if not private:
                gates.refuse_to_reveal(adapter)
            elif adapter.owner.is_namespace:
                raise HubError("base-model-public", f"Base models under the name {adapter.owner.username} are public. Delete it, or leave it.", status=409)
            adapter.private = private
            adapter.save(update_fields=["private"])
            if adapter.is_base_model:
                hosted.announce(adapter)
            audit.record(user, "adapter.hide" if private else "adapter.publish", adapter)
            notifications.published(adapter=adapter)
        if gated is not None and gated != now.gated:
            adapter.gated = gated
            adapter.save(update_fields=["gated"])
            audit.record(user, "adapter.gate" if gated else "adapter.open", adapter, gated=gated)
        if clean is not None:
            adapter.tags.set(_tag_rows(clean))
            audit.record(user, "adapter.tag", adapter, tags=clean)
            index.refresh(now)
    return adapter


def commit(
    *,
    actor: "Actor",
    adapter: Adapter,
    files: Iterable[Incoming | Known] = (),
    deletions: Iterable[str] = (),
    message: str = "",
    parent: str = "",
    branch: str = refs.MAIN,
    in_parts: bool = False,
) -> Revision:
    """Add a revision: the head's files, changed by `files` and `deletions`. Blobs first, rows last; all or nothing is visible.

    `parent` is the sha that the sender saw as head; a stale one raises `parent-stale` (412). Without it the change goes on top of whatever is there.
    Another branch than main moves alone: what lists and pages show is main.
    With `in_parts`, config and weights of an adapter may come one after the other, as programs send them that upload file by file.
    """
    user = access.require_write(actor, adapter)
    return land(user, adapter, files=files, deletions=deletions, message=message, parent=parent, branch=branch, in_parts=in_parts)


def land(
    user: User,
    adapter: Adapter,
    *,
    files: Iterable[Incoming | Known],
    deletions: Iterable[str] = (),
    message: str = "",
    parent: str = "",
    branch: str = refs.MAIN,
    in_parts: bool = False,
) -> Revision:
    """Add a revision in the name of `user`, for verbs that have asked who may."""
    incoming, gone, branch = list(files), list(deletions), refs.branch_name(branch)
    _refuse_stale(adapter, refs.tip(adapter=adapter, branch=branch), parent)  # before anything is stored
    stored = intake.store_all(incoming, user, account=adapter.owner, may_be_empty=bool(gone))
    text = trees.message(message, list(stored), gone)
    for _ in range(ATTEMPTS):
        head = refs.tip(adapter=adapter, branch=branch)
        _refuse_stale(adapter, head, parent)
        before = trees.of(head)
        tree = trees.changed(before, stored, gone)
        if head is not None and tree == before:
            return head
        intake.refuse_models(user, tree, intake.differing(before, tree))
        found = trees.inspect(tree, head, before, in_parts=in_parts)
        with transaction.atomic():
            quotas.locked(adapter.owner)  # before the adapter, as everywhere
            if Adapter.with_deleted.select_for_update(of=("self",)).filter(pk=adapter.pk).first() is None:
                raise not_found()  # it was removed for good meanwhile, and its files with it
            revision = write(user, adapter, head, tree, text, found, _inherited(head, tree))
            if branch != refs.MAIN:
                landed = refs.advance(adapter=adapter, branch=branch, before=head, after=revision)
            else:
                landed = advance(adapter, head, revision, found, tree)
            if landed:
                audit.record(user, "adapter.commit", adapter, sha=revision.sha, files=sorted(stored), deleted=gone)
                return revision
            transaction.set_rollback(True)
    raise HubError("commit-busy", f"{adapter.repo_id} is changing faster than this commit could land. Send it again.", status=409)


def check_new(*, actor: "Actor", name: str, tags: Iterable[str] = (), owner: User | None = None) -> None:
    """Refuse what `publish` would refuse for its name or tags, before any file is sent."""
    names.check(access.require_create(actor, owner), name)
    clean_tags(tags)


def prepare(*, files: Iterable[Incoming | Known], sender: User | None = None, account: User | None = None, in_parts: bool = False) -> Prepared:
    """Store and inspect the files of a first revision, before the database is locked for it."""
    stored = intake.store_all(list(files), sender, account=account, may_be_empty=False)
    if sender is not None:
        intake.refuse_models(sender, stored, stored)
    return Prepared(stored, trees.inspect(stored, in_parts=in_parts))


def publish(
    *,
    actor: "Actor",
    name: str,
    private: bool = False,
    tags: Iterable[str] = (),
    files: "Iterable[Incoming | Known] | Prepared",
    message: str = "",
    origin: Origin | None = None,
    owner: User | None = None,
    in_parts: bool = False,
) -> Revision:
    """Create an adapter with its first revision, both or neither; under the actor's name, or under an organisation's. `in_parts` as for `commit`."""
    user, account = access.require_login(actor), access.require_create(actor, owner)
    names.check(account, name)
    clean = clean_tags(tags)
    ready = files if isinstance(files, Prepared) else prepare(files=files, sender=user, account=account, in_parts=in_parts)
    tree = dict(ready.stored)
    with transaction.atomic():
        adapter = create(actor=user, name=name, private=private, tags=clean, owner=owner)
        revision = write(user, adapter, None, tree, trees.message(message, list(tree), []), ready.found, origin)
        advance(adapter, None, revision, ready.found, tree)
        audit.record(user, "adapter.commit", adapter, sha=revision.sha, files=sorted(tree), deleted=[])
        notifications.composed(adapter=adapter, revision=revision)
    return revision


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Return tags in lower case, each once, or raise `tag-invalid`."""
    clean = list(dict.fromkeys(" ".join(str(tag).lower().split()) for tag in tags if str(tag).strip()))
    for tag in clean:
        if not TAG.fullmatch(tag):
            raise HubError(
                "tag-invalid", f"The tag {tag[:60]!r} is not usable: 1 to 50 letters, digits and ._:+- are.", fields={"tags": "Letters, digits and ._:+- only."}
            )
    if len(clean) > MAX_TAGS:
        raise HubError("too-many-tags", f"An adapter has at most {MAX_TAGS} tags.", fields={"tags": f"At most {MAX_TAGS}."})
    return clean


def _tag_rows(names: Iterable[str]) -> list[Tag]:
    # In one order everywhere, so that two transactions which add the same tags wait for each other instead of locking each other out.
    return [Tag.objects.get_or_create(name=name)[0] for name in sorted(names)]


def _refuse_stale(adapter: Adapter, head: Revision | None, parent: str) -> None:
    if parent and (not (head.sha if head else adapter.root_sha).startswith(parent) or len(parent) < 7):
        raise HubError(
            "parent-stale", f"{adapter.repo_id} has changed since {parent[:40]}. Look at the newest revision, then send your change again.", status=412
        )


def _inherited(head: Revision | None, tree: Mapping[str, storage.Stored]) -> Origin | None:
    """Return the origin of the head's weights where the new tree still holds them: a better card does not change the lineage."""
    if head is None or head.recipe is None or WEIGHTS not in tree:
        return None
    if not head.files.filter(path=WEIGHTS, blob_id=tree[WEIGHTS].sha256).exists():
        return None
    return Origin(head.recipe, head.scores or {}, head.parents.all())


def write(
    user: User,
    adapter: Adapter,
    head: Revision | None,
    tree: Mapping[str, storage.Stored],
    message: str,
    found: Inspected,
    origin: Origin | None = None,
    *,
    sha: str = "",
) -> Revision:
    """Write the rows of a revision whose bytes are in the store. It is not the head yet. `sha` is its id where another hub has given it one."""
    quotas.charge(adapter.owner, tree.values())
    now = timezone.now()
    identity = [adapter.pk, head.sha if head else None, user.username, now.isoformat(), message, sorted((p, s.sha256) for p, s in tree.items())]
    revision = Revision.objects.create(
        adapter=adapter,
        sha=sha or hashlib.sha1(json.dumps(identity).encode(), usedforsecurity=False).hexdigest(),
        parent=head,
        author=user,
        message=message,
        created_at=now,
        facts=dataclasses.asdict(found.facts) if found.facts else None,
        model=dataclasses.asdict(found.model) if found.model else None,
        recipe=origin.recipe if origin else None,
        scores=origin.scores if origin else None,
    )
    uploads.keep(tree.values())
    RevisionFile.objects.bulk_create([RevisionFile(revision=revision, path=path, blob_id=s.sha256) for path, s in tree.items()])
    profiles.expect(revision, {path: s.sha256 for path, s in tree.items()})
    if origin:
        Parent.objects.bulk_create(
            [Parent(revision=revision, adapter_id=p.adapter_id, repo_id=p.repo_id, sha=p.sha, weight=p.weight, closed=p.closed) for p in origin.parents]
        )
    return revision


def advance(adapter: Adapter, head: Revision | None, revision: Revision, found: Inspected, tree: Mapping[str, storage.Stored]) -> bool:
    """Make `revision` the head if the head is still the one it was built on."""
    facts, parsed = found.facts, found.card
    is_base = found.model is not None or (adapter.owner.is_namespace and facts is None)
    base_model = facts.base_model if facts else "" if is_base else parsed.base_model
    columns = {
        "kind": Adapter.Kind.BASE_MODEL if is_base else Adapter.Kind.ADAPTER,
        "head": revision,
        "updated_at": revision.created_at,
        "base_model": base_model[:200],
        "peft_type": facts.peft_type[:40] if facts else "",
        "rank": facts.rank if facts else None,
        "targets": labels.targets(facts.target_modules) if facts else "",
        "composable": bool(facts and facts.composable),
        "composed": revision.recipe is not None,
        "summary": parsed.summary[:300],
        "card_text": parsed.body[:100_000],
        "licence": parsed.licence[:80],
        "card_data": parsed.data,
        "labels": labels.pack(labels.of(facts, parsed, found.model)),
        "size": sum(s.size for s in tree.values()),
    }
    if Adapter.objects.filter(pk=adapter.pk, head=head).update(**columns) == 0:
        return False
    for name, value in columns.items():
        setattr(adapter, name, value)
    if is_base:
        hosted.announce(adapter)
    if columns["base_model"]:
        BaseModel.objects.get_or_create(name=columns["base_model"])
    if head is None and not adapter.tags.exists():
        adapter.tags.set(_tag_rows([tag for tag in (t.lower() for t in parsed.tags) if TAG.fullmatch(tag)][:MAX_TAGS]))
    index.refresh(adapter)
    return True
