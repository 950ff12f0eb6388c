"""Counts and rankings of the public catalogue are kept, and what only the asker sees is added each time."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test.utils import CaptureQueriesContext

from hub.models import Adapter, User
from hub.services import adapters, lifecycle, search, tallies
from tests.conftest import Upload

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("memory")]
ANYONE = AnonymousUser()


def names(user: User | AnonymousUser, **more: object) -> list[str]:
    return [adapter.name for adapter in search.adapters(actor=user, **more).items]


def tags(user: User | AnonymousUser, **more: object) -> dict[str, int]:
    return dict(search.facets(actor=user, **more).counts.get("tag", ()))


def queries(call: object, *given: object, **more: object) -> int:
    from django.db import connection

    with CaptureQueriesContext(connection) as captured:
        call(*given, **more)  # type: ignore[operator]
    return len(captured)


@pytest.mark.parametrize("narrowed", [{}, {"q": "sums"}, {"facets": {"rank": ["8", "4"], "licence": ["mit"], "tag": ["shared"]}}])
def test_asking_again_costs_a_query_or_two(owner: User, upload: Upload, narrowed: dict[str, object]) -> None:
    upload(owner, "sums", tags=("shared",), rank=8, card="---\nlicense: mit\n---\n# Sums\n")
    assert 1 < queries(tags, ANYONE, **narrowed) <= 4
    assert (queries(tags, ANYONE, **narrowed), queries(tags, owner, **narrowed)) == (1, 2)
    assert tags(owner, **narrowed) == tags(ANYONE, **narrowed) == {"shared": 1}


def test_whatever_happens_is_seen_at_once(owner: User, stranger: User, upload: Upload) -> None:
    one = upload(owner, "sums-one", tags=("a",))
    assert (names(ANYONE, q="sums"), tags(ANYONE, q="sums"), search.facets(actor=ANYONE, q="sums").total) == (["sums-one"], {"a": 1}, 1)
    two = upload(owner, "sums-two", seed=1, tags=("b",))
    assert sorted(names(stranger, q="sums")) == ["sums-one", "sums-two"] and tags(stranger, q="sums") == {"a": 1, "b": 1}
    adapters.update(actor=owner, adapter=two, private=True)
    for who in (ANYONE, stranger):
        assert (names(who, q="sums"), tags(who, q="sums"), search.facets(actor=who).total) == (["sums-one"], {"a": 1}, 1)
    assert sorted(names(owner, q="sums")) == ["sums-one", "sums-two"] and tags(owner, q="sums") == tags(owner) == {"a": 1, "b": 1}
    lifecycle.delete(actor=owner, adapter=one)
    assert (names(ANYONE, q="sums"), tags(ANYONE, q="sums"), names(owner, q="sums")) == ([], {}, ["sums-two"])


def test_much_work_is_kept_for_a_while_but_shows_nothing_hidden(owner: User, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "SMALL", 1)
    one = upload(owner, "sums-one")
    assert names(ANYONE, q="sums") == ["sums-one"] and search.facets(actor=ANYONE, q="sums").total == 1
    upload(owner, "sums-two", seed=1)
    assert names(ANYONE, q="sums") == ["sums-one"] and search.facets(actor=ANYONE, q="sums").total == 1, "not counted yet"
    adapters.update(actor=owner, adapter=one, private=True)
    assert names(ANYONE, q="sums") == [], "who may see it is asked each time"
    now = tallies.time.time()
    monkeypatch.setattr(tallies.time, "time", lambda: now + tallies.KEPT_SECONDS + 1)
    assert names(ANYONE, q="sums") == ["sums-two"] and search.facets(actor=ANYONE, q="sums").total == 1


def test_what_only_the_asker_sees_is_counted_like_the_rest(owner: User, upload: Upload) -> None:
    upload(owner, "public", tags=("x",), rank=8)
    upload(owner, "hidden", seed=1, tags=("x", "y"), rank=4, private=True)
    adapters.create(actor=owner, name="empty", private=False)
    for narrowed, total, ranks, counted in (
        ({}, 3, {"4": 1, "8": 1}, {"x": 2, "y": 1}),
        ({"rank": ["4"]}, 1, {"4": 1, "8": 1}, {"x": 1, "y": 1}),
        ({"tag": ["y"]}, 1, {"4": 1}, {"x": 1, "y": 1}),
        ({"tag": ["x"], "rank": ["8", "4"]}, 2, {"4": 1, "8": 1}, {"x": 2, "y": 1}),
    ):
        found = search.facets(actor=owner, facets=narrowed)
        assert (found.total, dict(found.counts["rank"]), dict(found.counts["tag"])) == (total, ranks, counted), narrowed
    assert search.facets(actor=ANYONE).total == 1 == Adapter.objects.filter(private=False, head__isnull=False).count()
