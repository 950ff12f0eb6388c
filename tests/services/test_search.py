"""Listing adapters: filters, sorts, and paging that stays in place."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hub.models import Adapter, Download, Parent, User
from hub.services import search, social
from tests.conftest import Upload
from tests.services.stage import refused

ANYONE = AnonymousUser()


def names(**more: Any) -> list[str]:
    """The names of the first page, in order."""
    return [a.name for a in search.adapters(actor=ANYONE, **more).items]


def rows(user: User, *columns: dict[str, Any]) -> list[Adapter]:
    """Published adapters without files, one per dict of columns: listings look at the columns alone."""
    made = []
    for number, values in enumerate(columns):
        adapter = Adapter.objects.create(owner=user, name=f"a{number}", **values)
        adapter.head = adapter.revisions.create(sha=f"{number:040x}", message="x", created_at=timezone.now())
        adapter.save()
        made.append(adapter)
    return made


def pages(**more: Any) -> list[str]:
    """All names, page by page."""
    found: list[str] = []
    cursor = ""
    while True:
        page = search.adapters(actor=ANYONE, cursor=cursor, **more)
        found += [a.name for a in page.items]
        cursor = page.next
        if not cursor:
            return found


def test_it_works(owner: User, friend: User, upload: Upload) -> None:
    upload(owner, "sports-lora", tags=("nlp",), card="# Sports\n\nTells whether a sentence about sports is plausible.\n")
    upload(friend, "other", base="other/base", targets=("q_proj",), card="# Other\n\nSomething else, in the long text: goalkeeper.\n")
    assert names() == ["other", "sports-lora"]
    assert names(q="SPORTS") == ["sports-lora"]
    assert names(q="plausible sentence") == ["sports-lora"]
    assert names(q="goalkeeper") == ["other"]
    assert names(q="owner") == ["sports-lora"]
    assert names(q="owner/sports") == ["sports-lora"] and names(q="friend/sports") == []
    assert names(q="nlp") == names(tag="NLP") == ["sports-lora"]
    assert names(base_model="other/base") == ["other"]
    assert names(owner="Friend") == ["other"]
    assert names(q="sports goalkeeper") == [], "every word must be there"


def test_made_and_composable(owner: User) -> None:
    rows(owner, {"composed": True, "composable": True}, {"composed": False}, {"composable": True})
    assert names(made="composed") == ["a0"]
    assert sorted(names(made="uploaded")) == ["a1", "a2"]
    assert sorted(names(composable=True)) == ["a0", "a2"] and names(composable=False) == ["a1"]


@pytest.mark.parametrize("q", ["%", "_", "a%", "a_", "\\", "'", '"', "[", "*"])
def test_a_wildcard_is_a_character(owner: User, q: str) -> None:
    rows(owner, {"summary": "plain"})
    assert names(q=q) == []
    Adapter.objects.update(summary=f"has {q} in it")
    assert names(q=q) == ["a0"]


@pytest.mark.parametrize("text", ["\x00", "pl\x00ain", "\ud800", "plain " * 50_000, "\u00e4\U0001f600"])
def test_texts_that_no_database_takes(owner: User, text: str) -> None:
    rows(owner, {"summary": "plain"})
    for field in ("q", "base_model", "tag", "owner"):
        assert set(names(**{field: text})) <= {"a0"}


def test_only_the_first_words_count(owner: User) -> None:
    rows(owner, {"summary": "a b c d e f g h"})
    assert names(q="a b c d e f g h nothing") == ["a0"]


@pytest.mark.parametrize("sort", ["", "name", "-likes", "owner__password", "recent\x00"])
def test_an_unknown_sort(owner: User, sort: str) -> None:
    with refused("sort-invalid", 400) as caught:
        names(sort=sort)
    assert "sort" in caught.value.fields


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_limit_out_of_range(owner: User, limit: int) -> None:
    with refused("limit-invalid", 400):
        names(limit=limit)


def test_sorts(owner: User) -> None:
    old = timezone.now() - timedelta(days=1)
    rows(owner, {"likes": 5, "downloads": 1, "updated_at": old}, {"likes": 1, "downloads": 5}, {"likes": 3, "downloads": 3})
    assert names(sort="likes") == ["a0", "a2", "a1"]
    assert names(sort="downloads") == ["a1", "a2", "a0"]
    assert names(sort="recent")[-1] == "a0"


def test_trending_counts_the_downloads_of_a_week(owner: User) -> None:
    first, second, third = rows(owner, {"downloads": 1000}, {}, {})
    for client in "abc":
        social.count_download(adapter=second, client=client)
    social.count_download(adapter=third, client="a")
    Download.objects.bulk_create([Download(adapter=first, client=str(i), day=timezone.now().date() - timedelta(days=30)) for i in range(9)])
    assert names(sort="trending") == ["a1", "a2", "a0"]


@pytest.mark.parametrize("sort", list(search.SORTS))
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_paging_shows_each_once(owner: User, sort: str, limit: int) -> None:
    made = rows(owner, *[{"likes": i % 2, "downloads": i % 3} for i in range(7)])
    same = timezone.now()
    Adapter.objects.update(updated_at=same)
    for adapter in made[:3]:
        social.count_download(adapter=adapter, client="x")
    assert sorted(pages(sort=sort, limit=limit)) == [f"a{i}" for i in range(7)]
    assert pages(sort=sort, limit=limit) == pages(sort=sort, limit=100)


def test_paging_is_stable_while_others_upload(owner: User, friend: User) -> None:
    rows(owner, *[{} for _ in range(6)])
    first = search.adapters(actor=ANYONE, limit=3)
    rows(friend, {}, {})
    second = search.adapters(actor=ANYONE, limit=3, cursor=first.next)
    seen = [a.repo_id for a in first.items + second.items]
    assert seen == [f"owner/a{i}" for i in (5, 4, 3, 2, 1, 0)] and second.next == ""


def test_paging_goes_on_where_the_last_row_was_deleted(owner: User) -> None:
    rows(owner, *[{} for _ in range(4)])
    first = search.adapters(actor=ANYONE, limit=2)
    first.items[-1].delete()
    assert [a.name for a in search.adapters(actor=ANYONE, limit=2, cursor=first.next).items] == ["a1", "a0"]


def test_no_cursor_at_the_end(owner: User) -> None:
    rows(owner, {}, {})
    assert search.adapters(actor=ANYONE, limit=2).next == ""
    assert search.adapters(actor=ANYONE, limit=1).next != ""


BAD = ["x", "%%%", "\u00e9", "\x00", "a" * 5000, "bnVsbA", "W10", "WzFd", "WyJ4IiwgMV0", "e30"]


@pytest.mark.parametrize("cursor", BAD)
@pytest.mark.parametrize("sort", ["recent", "likes", "trending"])
def test_a_cursor_that_is_none_of_ours(owner: User, cursor: str, sort: str) -> None:
    rows(owner, {})
    with refused("cursor-invalid", 400):
        names(cursor=cursor, sort=sort)


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", float("inf"), float("nan"), None, [1], {}, True])
def test_a_forged_cursor(owner: User, value: Any) -> None:
    rows(owner, {})
    with refused("cursor-invalid", 400):
        names(cursor=search._cursor(value, 1))


@pytest.mark.parametrize(("value", "pk"), [(10**60, 1), (-(10**60), 1), (1, 10**60), ("0001-01-01T00:00:00+00:00", 1), ("2024-01-01", 10**30)])
def test_a_cursor_beyond_every_row(owner: User, value: Any, pk: int) -> None:
    rows(owner, {})
    for sort in ("recent",) if isinstance(value, str) else ("likes", "trending"):
        assert set(names(cursor=search._cursor(value, pk), sort=sort)) <= {"a0"}


def test_a_listing_takes_a_fixed_number_of_queries(owner: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for count in (2, 8):
        Adapter.objects.all().delete()
        for adapter in rows(owner, *[{} for _ in range(count)]):
            adapter.tags.create(name=f"t{count}-{adapter.pk}")
            Parent.objects.create(revision=adapter.head, adapter=adapter, repo_id="x/y", sha="0", weight=1.0)
        with django_assert_num_queries(4):
            page = search.adapters(actor=owner)
            shown = [(a.repo_id, [t.name for t in a.tags.all()], a.head.sha, [p.repo_id for p in a.head.parents.all()]) for a in page.items]
        assert len(shown) == count


def test_a_tag_on_many_adapters_lists_each_once(owner: User, upload: Upload) -> None:
    upload(owner, "one", tags=("nlp", "nlp2"))
    upload(owner, "two", seed=1, tags=("nlp",))
    page = search.adapters(actor=ANYONE, q="nlp")
    assert page.total == 2 and len(page.items) == 2
