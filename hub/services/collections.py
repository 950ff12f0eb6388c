"""The verbs of collections: create, find, change, delete, and what is in them. What is private in a public one is there for nobody else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Prefetch, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from hub.errors import HubError, not_found
from hub.models import Adapter, Collection, CollectionItem, User
from hub.services import access, accounts, audit, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_COLLECTIONS, MAX_ITEMS = 200, 500
MAX_TITLE, MAX_TEXT = 80, 500


@transaction.atomic
def create(*, actor: "Actor", title: str, description: str = "", private: bool = False) -> Collection:
    """Make an empty collection."""
    user = access.require_login(actor)
    columns = _clean(title=title, description=description)
    if Collection.objects.filter(owner=user).count() >= MAX_COLLECTIONS:
        raise HubError("too-many-collections", f"You have {MAX_COLLECTIONS} collections. Delete one that nobody needs.", status=409)
    row = Collection.objects.create(owner=user, private=private, **columns)
    audit.record(user, "collection.create", row, private=private)
    return row


def find(*, actor: "Actor", number: int, owner: str = "") -> Collection:
    """Return a collection that the actor may see, or "not found"; with `owner`, of nobody else."""
    rows = Collection.objects.visible_to(actor).select_related("owner").filter(pk=number)
    row = rows.filter(owner__in=accounts.named(owner)).first() if owner else rows.first()
    if row is None:
        raise not_found("collection")
    return row


def number_of(slug: str) -> int:
    """Return the number at the end of a collection's address; 0, which no collection has, where there is none."""
    tail = slug.rpartition("-")[2]
    return int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 19 else 0


@transaction.atomic
def update(*, actor: "Actor", collection: Collection, private: bool | None = None, **given: str) -> Collection:
    """Change title, description, or who sees it; what is left out stays."""
    user = _require_own(actor, collection)
    columns: dict[str, Any] = _clean(**given)
    if private is not None:
        columns["private"] = private
    for name, value in columns.items():
        setattr(collection, name, value)
    collection.save(update_fields=list(columns))
    _touch(collection)
    audit.record(user, "collection.change", collection, fields=sorted(columns))
    return collection


@transaction.atomic
def delete(*, actor: "Actor", collection: Collection) -> None:
    """Delete a collection; what was in it stays."""
    user = _require_own(actor, collection)
    _lock(collection)
    audit.record(user, "collection.delete", collection, title=collection.title)
    collection.delete()


@transaction.atomic
def add(*, actor: "Actor", collection: Collection, adapter: Adapter, note: str = "") -> CollectionItem:
    """Put an adapter at the end."""
    user = _require_own(actor, collection)
    _lock(collection)
    if not Adapter.objects.visible_to(user).filter(pk=adapter.pk).exists():
        raise not_found()
    text = _note(note)
    if collection.items.count() >= MAX_ITEMS:
        raise HubError("too-many-items", f"A collection holds at most {MAX_ITEMS}.", status=409)
    last = collection.items.aggregate(last=Max("position"))["last"]
    try:
        with transaction.atomic():
            item = CollectionItem.objects.create(collection=collection, adapter=adapter, note=text, position=0 if last is None else last + 1)
    except IntegrityError as error:
        raise HubError("item-exists", f"{adapter.repo_id} is in this collection already.", status=409) from error
    _touch(collection)
    audit.record(user, "collection.add", collection, adapter=adapter.repo_id)
    return item


@transaction.atomic
def remove(*, actor: "Actor", collection: Collection, number: int) -> None:
    """Take an adapter out."""
    user = _require_own(actor, collection)
    _lock(collection)
    item = _item(user, collection, number)
    item.delete()
    _touch(collection)
    audit.record(user, "collection.remove", collection, adapter=item.adapter.repo_id)


@transaction.atomic
def change_item(*, actor: "Actor", collection: Collection, number: int, note: str | None = None, position: int | None = None) -> CollectionItem:
    """Write a note on an adapter of the collection, or move it to the place of the item whose `position` that is; the others make room."""
    user = _require_own(actor, collection)
    _lock(collection)
    item = _item(user, collection, number)
    if note is not None:
        item.note = _note(note)
        item.save(update_fields=["note"])
    if position is not None:
        order = [row for row in collection.items.all() if row.pk != item.pk]
        # Positions have holes where something was taken out.
        before = sum(row.position < position or (row.position == position and position > item.position) for row in order)
        order.insert(before, item)
        for place, row in enumerate(order):
            row.position = place
        CollectionItem.objects.bulk_update(order, ["position"])
    _touch(collection)
    return item


def items(*, actor: "Actor", collection: Collection) -> QuerySet[CollectionItem]:
    """List what the actor may see of a collection, in its order."""
    return _seen(actor).filter(collection=collection).prefetch_related(Prefetch("adapter", Adapter.objects.for_listing()))


def firsts(*, actor: "Actor", rows: Iterable[Collection], number: int) -> dict[int, list[CollectionItem]]:
    """Return the first things that the actor may see of each of these collections, by its key."""
    place = Window(RowNumber(), partition_by=F("collection"), order_by=["position", "pk"])
    seen = _seen(actor).filter(collection__in=[row.pk for row in rows]).annotate(place=place).filter(place__lte=number)
    found: dict[int, list[CollectionItem]] = {}
    for item in seen.select_related("adapter__owner").order_by("collection", "position", "pk"):
        found.setdefault(item.collection_id, []).append(item)
    return found


def listing(*, actor: "Actor", owner: str = "", holding: Adapter | None = None) -> QuerySet[Collection]:
    """List collections that the actor may see with `size`, the number of things in each that the actor may see; all, one person's, or those with an adapter."""
    seen = Q(items__adapter__in=Adapter.objects.visible_to(actor))
    rows = Collection.objects.visible_to(actor).select_related("owner").annotate(size=Count("items", filter=seen))
    if owner:
        rows = rows.filter(owner__in=accounts.named(owner))
    if holding is not None:
        rows = rows.filter(Exists(CollectionItem.objects.filter(collection=OuterRef("pk"), adapter=holding)))
    return rows.order_by("-pk")


def of_mine(*, actor: "Actor", adapter: Adapter) -> list[tuple[Collection, int | None]]:
    """List the actor's own collections, each with the number of the item that the adapter is in it, or None."""
    user = access.require_login(actor)
    there = dict(CollectionItem.objects.filter(collection__owner=user, adapter=adapter).values_list("collection_id", "pk"))
    return [(row, there.get(row.pk)) for row in Collection.objects.filter(owner=user).order_by("title", "pk")]


def _seen(actor: "Actor") -> QuerySet[CollectionItem]:
    return CollectionItem.objects.filter(adapter__in=Adapter.objects.visible_to(actor))


def _item(user: User, collection: Collection, number: int) -> CollectionItem:
    item = _seen(user).filter(collection=collection, pk=number).select_related("adapter__owner").first()
    if item is None:
        raise HubError("item-not-found", "This is not in the collection, or you may not see it.", status=404)
    return item


def _require_own(actor: "Actor", collection: Collection) -> User:
    user = access.require_login(actor)
    if collection.owner_id == user.pk:
        return user
    if collection.private:
        raise not_found("collection")
    raise HubError("forbidden", f"Only {collection.owner.username} can change this collection.", status=403)


def _lock(collection: Collection) -> None:
    """Let changes of one collection's order wait for each other."""
    if Collection.objects.select_for_update().filter(pk=collection.pk).first() is None:
        raise not_found("collection")


def _touch(collection: Collection) -> None:
    collection.updated_at = timezone.now()
    Collection.objects.filter(pk=collection.pk).update(updated_at=collection.updated_at)


def _clean(**given: str) -> dict[str, str]:
    found = {name: " ".join(texts.storable(value).split()) for name, value in given.items()}
    if "title" in found and not 1 <= len(found["title"]) <= MAX_TITLE:
        raise HubError("title-invalid", f"Give the collection a title of 1 to {MAX_TITLE} characters.", fields={"title": f"1 to {MAX_TITLE} characters."})
    if len(found.get("description", "")) > MAX_TEXT:
        raise HubError("description-invalid", f"The description has at most {MAX_TEXT} characters.", fields={"description": f"At most {MAX_TEXT} characters."})
    return found


def _note(note: str) -> str:
    text = " ".join(texts.storable(note).split())
    if len(text) > MAX_TEXT:
        raise HubError("note-invalid", f"A note has at most {MAX_TEXT} characters.", fields={"note": f"At most {MAX_TEXT} characters."})
    return text
