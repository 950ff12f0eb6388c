"""Collections: order, notes, limits, and what nobody but its owner sees in them."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.models import Adapter, Collection, CollectionItem, User
from hub.services import adapters, collections, moderation, social
from tests.conftest import Upload
from tests.services.stage import refused, verbs


@pytest.fixture
def maths(friend: User) -> Collection:
    return collections.create(actor=friend, title="  Arith\nmetic ", description="Small numbers")


def names(collection: Collection, actor: Any) -> list[str]:
    """What somebody finds in a collection, in order."""
    return [item.adapter.name for item in collections.items(actor=actor, collection=collection)]


def test_it_works(maths: Collection, sums: Adapter, owner: User, friend: User, upload: Upload) -> None:
    assert maths.title == "Arith metic" and maths.slug == f"arith-metic-{maths.pk}" and collections.number_of(maths.slug) == maths.pk
    two = upload(owner, "two", seed=1)
    collections.add(actor=friend, collection=maths, adapter=sums, note="the first")
    item = collections.add(actor=friend, collection=maths, adapter=two)
    assert names(maths, AnonymousUser()) == ["sums", "two"]
    assert [item.adapter.name for item in collections.firsts(actor=owner, rows=[maths], number=1)[maths.pk]] == ["sums"]
    assert [(row.size, row.title) for row in collections.listing(actor=AnonymousUser(), owner="FRIEND", holding=two)] == [(2, "Arith metic")]
    collections.change_item(actor=friend, collection=maths, number=item.pk, position=0, note="better")
    assert names(maths, owner) == ["two", "sums"] and CollectionItem.objects.get(pk=item.pk).note == "better"
    collections.remove(actor=friend, collection=maths, number=item.pk)
    collections.update(actor=friend, collection=maths, title="Maths", private=True)
    assert Collection.objects.get().title == "Maths" and Collection.objects.get().description == "Small numbers"
    collections.delete(actor=friend, collection=maths)
    assert Adapter.objects.count() == 2 and verbs()[-1] == "collection.delete"


@pytest.mark.parametrize("move", [(0, 2, "bca"), (2, 0, "cab"), (1, 1, "abc"), (0, 99, "bca")])
def test_moving(maths: Collection, owner: User, friend: User, move: tuple[int, int, str]) -> None:
    rows = [collections.add(actor=friend, collection=maths, adapter=adapters.create(actor=owner, name=name)) for name in "abc"]
    collections.change_item(actor=friend, collection=maths, number=rows[move[0]].pk, position=move[1])
    assert names(maths, friend) == list(move[2])


def test_a_private_collection(sums: Adapter, maths: Collection, owner: User, friend: User, stranger: User) -> None:
    item = collections.add(actor=friend, collection=maths, adapter=sums)
    collections.update(actor=friend, collection=maths, private=True)
    staff = User.objects.create_user("moderator", email="m@example.org", is_staff=True)
    for actor in (AnonymousUser(), stranger, owner, staff):
        assert not collections.listing(actor=actor).exists() and not collections.listing(actor=actor, holding=sums).exists()
        with refused("not-found", 404):
            collections.find(actor=actor, number=maths.pk)
    for actor in (stranger, owner, staff):
        for call in (
            lambda a=actor: collections.update(actor=a, collection=maths, private=False),
            lambda a=actor: collections.delete(actor=a, collection=maths),
            lambda a=actor: collections.add(actor=a, collection=maths, adapter=sums),
            lambda a=actor: collections.remove(actor=a, collection=maths, number=item.pk),
            lambda a=actor: collections.change_item(actor=a, collection=maths, number=item.pk, note="x"),
        ):
            with refused("not-found", 404):
                call()
    assert names(maths, friend) == ["sums"]


def test_a_public_one_is_changed_by_its_owner_alone(maths: Collection, sums: Adapter, stranger: User) -> None:
    with refused("forbidden", 403):
        collections.add(actor=stranger, collection=maths, adapter=sums)
    with refused("login-required", 401):
        collections.delete(actor=AnonymousUser(), collection=maths)  # type: ignore[arg-type]


def test_what_is_private_in_it_is_nobody_elses(maths: Collection, sums: Adapter, owner: User, friend: User, stranger: User, upload: Upload) -> None:
    """One's own private adapter, one of others that was hidden later, and one that was taken down."""
    own = upload(friend, "own", private=True, seed=1)
    gone = upload(owner, "gone", seed=2)
    items = [collections.add(actor=friend, collection=maths, adapter=adapter) for adapter in (own, sums, gone)]
    adapters.update(actor=owner, adapter=sums, private=True)
    moderation.take_down(actor=User.objects.create_user("m", email="m@example.org", is_staff=True), adapter=gone, reason="spam")
    assert (names(maths, friend), names(maths, owner), names(maths, stranger)) == (["own"], ["sums"], [])
    assert [collections.listing(actor=a).get().size for a in (friend, owner, stranger, AnonymousUser())] == [1, 1, 0, 0]
    with refused("item-not-found", 404):
        collections.change_item(actor=friend, collection=maths, number=items[1].pk, note="x")
    with refused("not-found", 404):
        collections.add(actor=friend, collection=collections.create(actor=friend, title="other"), adapter=sums)


def test_items_belong_to_their_collection(maths: Collection, sums: Adapter, friend: User, stranger: User) -> None:
    item = collections.add(actor=friend, collection=maths, adapter=sums)
    theirs = collections.create(actor=stranger, title="theirs")
    with refused("item-not-found", 404):
        collections.remove(actor=stranger, collection=theirs, number=item.pk)


def test_limits(maths: Collection, sums: Adapter, friend: User, monkeypatch: pytest.MonkeyPatch) -> None:
    collections.add(actor=friend, collection=maths, adapter=sums)
    with refused("item-exists", 409):
        collections.add(actor=friend, collection=maths, adapter=sums)
    for title in ("", " \n", "x" * 81):
        with refused("title-invalid", 400):
            collections.create(actor=friend, title=title)
    monkeypatch.setattr(collections, "MAX_ITEMS", 1)
    with refused("too-many-items", 409):
        collections.add(actor=friend, collection=maths, adapter=adapters.create(actor=friend, name="more"))
    monkeypatch.setattr(collections, "MAX_COLLECTIONS", 1)
    with refused("too-many-collections", 409):
        collections.create(actor=friend, title="one more")


def test_likes_of_a_person(sums: Adapter, owner: User, friend: User, stranger: User, upload: Upload) -> None:
    two = upload(owner, "two", seed=1)
    for adapter in (sums, two):
        social.like(actor=friend, adapter=adapter, on=True)
    first = social.liked_by(actor=stranger, person=friend, limit=1)
    assert [a.name for a in first.items] == ["two"]
    assert [a.name for a in social.liked_by(actor=stranger, person=friend, limit=1, cursor=first.next).items] == ["sums"]
    adapters.update(actor=owner, adapter=two, private=True)
    assert [a.name for a in social.liked_by(actor=friend, person=friend, limit=9).items] == ["sums"]
