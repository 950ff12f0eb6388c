"""Two verbs on one thing at the same moment: one of them wins, the other is told so in a sentence, and no row speaks of what is not there."""

from collections.abc import Callable
from typing import Any

import pytest

from hub.errors import HubError
from hub.models import Adapter, Collection, CollectionItem, Event, Invitation, Like, Membership, Revision, Transfer, User
from hub.services import accounts, adapters, collections, comments, gates, lifecycle, organizations, social
from tests import make
from tests.services.stage import at_once, incoming

pytestmark = pytest.mark.django_db(transaction=True)


def person(name: str) -> User:
    return accounts.create_user(username=name, email=f"{name}@example.org", password="correct horse battery")


def filled(user: User, name: str, seed: int = 0) -> Adapter:
    return adapters.publish(actor=user, name=name, private=False, files=incoming(make.adapter(seed=seed)), message="First").adapter


def fresh(row: Any) -> Any:
    """The row as another request reads it."""
    return type(row)._base_manager.get(pk=row.pk)


def outcomes(*calls: Callable[[], Any]) -> tuple[list[Any], list[HubError]]:
    """What came of calls that start together: successes and refusals. Nothing else may come of them."""
    found = at_once(*calls)
    assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, HubError)], found
    return [one for one in found if not isinstance(one, HubError)], [one for one in found if isinstance(one, HubError)]


def sound() -> None:
    """What must hold whatever happened."""
    for adapter in Adapter.with_deleted.select_related("head"):
        assert adapter.head is None or adapter.head.adapter_id == adapter.pk
        assert adapter.likes == Like.objects.filter(adapter=adapter).count()
    for revision in Revision.objects.select_related("parent"):
        assert revision.parent is None or revision.parent.adapter_id == revision.adapter_id
    for organization in User.objects.filter(is_organization=True):
        assert Membership.objects.filter(organization=organization, role="owner").exists(), "an organisation without an owner"


def commit(user: User, adapter: Adapter, path: str) -> Revision:
    return adapters.commit(actor=user, adapter=fresh(adapter), files=incoming({path: path.encode()}))


def test_a_commit_and_a_rename() -> None:
    user = person("owner")
    for turn in range(3):
        adapter = filled(user, f"one{turn}")
        won, _ = outcomes(lambda a=adapter: commit(user, a, "a.txt"), lambda a=adapter, n=turn: lifecycle.rename(actor=user, adapter=fresh(a), name=f"two{n}"))
        now = fresh(adapter)
        assert len(won) == 2 and now.name == f"two{turn}" and now.head.files.filter(path="a.txt").exists()
    sound()


def test_a_commit_and_a_deletion() -> None:
    user = person("owner")
    for turn in range(3):
        adapter = filled(user, f"one{turn}")
        outcomes(lambda a=adapter: commit(user, a, "a.txt"), lambda a=adapter: lifecycle.delete(actor=user, adapter=fresh(a)))
        assert not Adapter.objects.filter(pk=adapter.pk).exists(), "a commit that comes late does not bring it back"
        assert lifecycle.restore(actor=user, adapter=Adapter.with_deleted.get(pk=adapter.pk)).head is not None
    sound()


def test_a_commit_and_a_removal_for_good() -> None:
    user = person("owner")
    for turn in range(3):
        adapter = filled(user, f"one{turn}")
        held = fresh(adapter)
        lifecycle.delete(actor=user, adapter=fresh(adapter))
        gone = Adapter.with_deleted.get(pk=adapter.pk)
        outcomes(
            lambda h=held: adapters.commit(actor=user, adapter=h, files=incoming({"a.txt": b"a"})),
            lambda g=gone: lifecycle.purge(actor=user, adapter=g),
        )
        assert not Adapter.with_deleted.filter(pk=adapter.pk).exists() and not Revision.objects.filter(adapter=adapter.pk).exists()
    sound()


def test_a_like_and_its_taking_back_and_a_deletion() -> None:
    user, friend = person("owner"), person("friend")
    adapter = filled(user, "one")
    for turn in range(4):
        outcomes(*[lambda o=on: social.like(actor=friend, adapter=fresh(adapter), on=o) for on in (True, False, True, turn % 2 == 0)])
    sound()
    outcomes(lambda: social.like(actor=friend, adapter=fresh(adapter), on=True), lambda: lifecycle.delete(actor=user, adapter=fresh(adapter)))
    sound()


def test_an_invitation_that_is_accepted_twice_or_taken_back() -> None:
    owner, guest = person("owner"), person("guest")
    for turn in range(3):
        guild = organizations.create(actor=owner, name=f"guild{turn}")
        organizations.invite(actor=owner, organization=guild, username="guest", role="writer")
        answer: Callable[[], Any] = lambda g=guild: organizations.answer(actor=guest, organization=g, accept=True)  # noqa: E731
        withdraw: Callable[[], Any] = lambda g=guild: organizations.withdraw(actor=owner, organization=g, username="guest")  # noqa: E731
        won, lost = outcomes(answer, answer, withdraw)
        assert len(won) == 1 and {error.status for error in lost} == {404}
        assert Membership.objects.filter(organization=guild, user=guest).count() == (won[0] is not None)
        assert not Invitation.objects.filter(organization=guild).exists()
        assert Event.objects.filter(verb="member.join", object_id=guild.pk).count() == (won[0] is not None)
    sound()


def test_two_owners_who_leave_at_once() -> None:
    for turn in range(3):
        one, other = person(f"one{turn}"), person(f"other{turn}")
        guild = organizations.create(actor=one, name=f"guild{turn}")
        organizations.invite(actor=one, organization=guild, username=other.username, role="owner")
        organizations.answer(actor=other, organization=guild, accept=True)
        outcomes(
            lambda g=guild, o=one: organizations.remove(actor=o, organization=g, username=o.username),
            lambda g=guild, o=other: organizations.set_role(actor=o, organization=g, username=o.username, role="reader"),
        )
        sound()


def test_an_offer_that_is_accepted_twice_declined_and_deleted() -> None:
    owner, friend = person("owner"), person("friend")
    for turn in range(3):
        adapter = filled(owner, f"gift{turn}")
        lifecycle.transfer(actor=owner, adapter=adapter, to=friend)
        offer: Callable[[], Transfer] = lambda a=adapter: Transfer.objects.select_related("adapter__owner", "to", "by").get(adapter=a)  # noqa: E731
        first, second, third = offer(), offer(), offer()
        outcomes(
            lambda o=first: lifecycle.accept(actor=friend, offer=o),
            lambda o=second: lifecycle.accept(actor=friend, offer=o),
            lambda o=third: lifecycle.decline(actor=friend, offer=o),
            lambda a=adapter: commit(owner, a, "late.txt"),
        )
        now = fresh(adapter)
        assert now.owner in (owner, friend) and not Transfer.objects.filter(adapter=adapter).exists()
        assert Event.objects.filter(verb__in=("adapter.transfer", "adapter.hand-over"), object_id=adapter.pk).count() <= 2
    sound()


def test_a_collection_that_is_filled_and_deleted() -> None:
    user = person("owner")
    rows = [filled(user, f"one{n}", seed=n) for n in range(4)]
    listed = collections.create(actor=user, title="List")
    outcomes(*[lambda a=a: collections.add(actor=user, collection=listed, adapter=fresh(a)) for a in (*rows, rows[0])])
    places = list(CollectionItem.objects.filter(collection=listed).values_list("position", flat=True))
    assert sorted(places) == list(range(4)) or len(set(places)) == 4
    first = listed.items.order_by("pk").values_list("pk", flat=True)[0]
    outcomes(
        lambda: collections.delete(actor=user, collection=Collection.objects.get(pk=listed.pk)),
        lambda: collections.change_item(actor=user, collection=listed, number=first, note="x"),
    )
    assert not Collection.objects.exists() and not CollectionItem.objects.exists()


def test_comments_of_one_person_at_once_stay_within_their_number() -> None:
    user, friend = person("owner"), person("friend")
    adapter = filled(user, "one")
    for _ in range(comments.RATE - 2):
        comments.add(actor=friend, adapter=adapter, body="x")
    won, lost = outcomes(*[lambda: comments.add(actor=friend, adapter=adapter, body="x")] * 4)
    assert len(won) >= 2 and {error.status for error in lost} <= {429}


def test_two_who_ask_for_a_gated_adapter_while_it_opens() -> None:
    user, friend = person("owner"), person("friend")
    adapter = filled(user, "one")
    adapters.update(actor=user, adapter=adapter, gated="manual")
    ask: Callable[[], Any] = lambda: gates.ask(actor=friend, adapter=fresh(adapter))  # noqa: E731
    outcomes(ask, ask, lambda: adapters.update(actor=user, adapter=fresh(adapter), gated=""))
    assert fresh(adapter).gated == ""
