"""Listing adapters: filters, sorts, and paging that stays in place."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from compose_worker import tasks
from hub.models import Adapter, Download, Facet, Parent, SearchText, User
from hub.services import adapters, fulltext, index, lifecycle, search, social
from tests.conftest import Upload
from tests.services.stage import refused

ANYONE = AnonymousUser()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """The counts of the whole catalogue are kept for a minute."""
    cache.clear()


def names(**more: Any) -> list[str]:
    """The names of the first page, in order."""
    return [a.name for a in search.adapters(actor=ANYONE, **more).items]


def rows(user: User, *columns: dict[str, Any]) -> list[Adapter]:
    """Published adapters without files, one per dict of columns: listings look at the columns alone."""
    made = []
    for number, values in enumerate(columns):
        adapter = Adapter.objects.create(owner=user, **{"name": f"a{number}"} | values)
        adapter.head = adapter.revisions.create(sha=f"{number:040x}", message="x", created_at=timezone.now())
        adapter.save()
        index.refresh(adapter)
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


@pytest.mark.parametrize("q", ["%", "_", "\\", "'", '"', "[", "*", "()", "& |", "':*"])
def test_signs_are_not_words(owner: User, q: str) -> None:
    rows(owner, {"summary": f"adds {q} numbers"})
    assert names(q=q) == []
    assert names(q=f"adds {q}") == ["a0"], "and do not spoil a query"


@pytest.mark.parametrize(
    "q",
    ["AND", "OR addition", "NOT addition", "NEAR(addition)", "title:addition", "addition*", "addition:*A", "-addition", '"addition', "!addition", "a0 <-> x"],
)
def test_operators_are_words(owner: User, q: str) -> None:
    rows(owner, {"summary": "adds numbers"})
    assert names(q=q) == []


def test_other_forms_and_beginnings_of_words(owner: User) -> None:
    rows(owner, {"summary": "Translates sentences into questions."}, {"name": "SmolLM2NegationLoRA"})
    for q in ("translate", "translating", "question", "sent", "into the questions", "QUEST"):
        assert names(q=q) == ["a0"], q
    for q in ("negation", "smollm2", "lora", "neg", "Smol"):
        assert names(q=q) == ["SmolLM2NegationLoRA"], q
    assert names(q="slates") == []


@pytest.mark.parametrize("name", ["number-1", "trip-0-36-2", "v1.5", "a_b", "x-2e5"])
def test_numbers_and_signs_in_names(owner: User, name: str) -> None:
    rows(owner, {"name": name}, {"name": "other", "summary": f"about {name}, mail@example.org and https://example.org/path-7"})
    assert names(q=name)[0] == name and len(names(q=name)) == 2
    assert names(q="example path-7") == ["other"]


def test_words_that_say_nothing_are_passed_over(owner: User) -> None:
    rows(owner, {"summary": "judges claims"}, {"name": "the-who"})
    assert names(q="what judges the claims") == ["a0"]
    assert names(q="the who") == ["the-who"]


def test_the_most_relevant_comes_first(owner: User) -> None:
    made = rows(
        owner, {"name": "other", "card_text": "addition, once " + "and much else " * 50}, {"name": "addition"}, {"name": "tagged"}, {"name": "unrelated"}
    )
    made[2].tags.create(name="addition")
    index.refresh(made[2])
    assert names(q="addition") == ["addition", "tagged", "other"]
    assert names(q="addition", sort="recent") == ["tagged", "addition", "other"]
    Adapter.objects.filter(name="other").update(downloads=10**6)
    assert names(q="addition")[0] == "addition", "fame does not beat the name"


def test_very_many_matches_still_rank_a_name_first(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "RANKED", 3)
    rows(owner, {"name": "addition"}, *[{"name": f"b{i}", "summary": "addition", "downloads": 1} for i in range(6)])
    assert names(q="addition")[0] == "addition" and len(names(q="addition")) == 4


def test_the_index_follows_the_adapter(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "before", tags=("old",), card="# A\n\nParsnips.\n")
    assert names(q="parsnips") == names(q="old") == ["before"]
    adapters.update(actor=owner, adapter=adapter, tags=["new"])
    assert names(q="old") == [] and names(q="new") == ["before"] and names(tag="new") == ["before"]
    lifecycle.rename(actor=owner, adapter=adapter, name="after")
    assert names(q="before") == [] and names(q="after") == ["after"]
    adapters.commit(actor=owner, adapter=adapter, files=[adapters.Incoming("README.md", io.BytesIO(b"# A\n\nTurnips.\n"))])
    assert names(q="parsnips") == [] and names(q="turnips") == ["after"]
    lifecycle.delete(actor=owner, adapter=adapter)
    assert not SearchText.objects.exists() and not Facet.objects.exists()


def test_catching_up_after_an_upgrade(owner: User, upload: Upload) -> None:
    upload(owner, "one", card="# A\n\nParsnips.\n")
    SearchText.objects.all().delete()
    Facet.objects.all().delete()
    assert names(q="parsnips") == []
    assert (index.catch_up(), index.catch_up()) == (1, 0)
    assert names(q="parsnips") == ["one"] and dict(search.facets(actor=ANYONE, q="parsnips").counts)["made"] == [("uploaded", 1)]


def test_facets_count_what_is_left(owner: User, upload: Upload) -> None:
    front = "---\nlicense: mit\nlanguage: [en, de]\npipeline_tag: translation\n---\n# A\n"
    upload(owner, "one", tags=("nlp", "de"), card=front, rank=4)
    upload(owner, "two", seed=1, tags=("nlp",), card=front.replace("mit", "apache-2.0"), rank=8)
    upload(owner, "three", seed=2, base="other/base", card="# C\n", rank=8)
    everything = search.facets(actor=ANYONE).counts
    assert dict(everything["rank"]) == {"4": 1, "8": 2} and dict(everything["tag"]) == {"nlp": 2, "de": 1}
    assert dict(everything["licence"]) == {"mit": 1, "apache-2.0": 1} and dict(everything["language"]) == {"en": 2, "de": 2}
    assert dict(everything["task"])["translation"] == 2
    some = search.facets(actor=ANYONE, facets={"licence": ["mit"], "tag": ["nlp"]}).counts
    assert dict(some["licence"]) == {"mit": 1, "apache-2.0": 1}, "as if no licence were chosen"
    assert dict(some["rank"]) == {"4": 1} and dict(some["tag"]) == {"nlp": 1, "de": 1}
    assert sorted(names(facets={"licence": ["mit", "apache-2.0"]})) == ["one", "two"], "any of them"
    assert names(facets={"tag": ["nlp", "de"]}) == ["one"], "all of them"
    assert names(facets={"language": ["de"], "rank": ["8"]}) == ["two"]
    with refused("filter-invalid", 400):
        names(facets={"owner__password": ["x"]})
    with refused("too-many-filters", 400):
        names(facets={"tag": [f"t{i}" for i in range(21)]})


def test_counts_do_not_show_what_is_private(owner: User, friend: User, upload: Upload) -> None:
    upload(owner, "open", tags=("shared",))
    upload(owner, "hidden", seed=1, tags=("shared", "secret"), private=True)
    for narrowed in ({}, {"q": "shared"}, {"facets": {"made": ["uploaded"]}}):
        cache.clear()
        assert dict(search.facets(actor=owner, **narrowed).counts["tag"]) == {"shared": 2, "secret": 1}
        for actor in (ANYONE, friend):
            assert dict(search.facets(actor=actor, **narrowed).counts["tag"]) == {"shared": 1}


@pytest.mark.parametrize("text", ["\x00", "pl\x00ain", "\ud800", "plain " * 50_000, "\u00e4\U0001f600"])
def test_texts_that_no_database_takes(owner: User, text: str) -> None:
    rows(owner, {"summary": "plain"})
    for field in ("q", "base_model", "tag", "owner"):
        assert set(names(**{field: text})) <= {"a0"}


def test_only_the_first_words_count(owner: User) -> None:
    rows(owner, {"summary": "b c e f g h k l"})
    assert names(q="b c e f g h k l nothing") == ["a0"]


@pytest.mark.parametrize("sort", ["name", "-likes", "owner__password", "recent\x00"])
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
@pytest.mark.parametrize("sort", ["recent", "likes", "trending", "relevance"])
def test_a_cursor_that_is_none_of_ours(owner: User, cursor: str, sort: str) -> None:
    rows(owner, {})
    with refused("cursor-invalid", 400):
        names(cursor=cursor, sort=sort, q="a0")


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


def test_tags_are_suggested(owner: User, upload: Upload) -> None:
    upload(owner, "one", tags=("arithmetic", "digit sums"))
    upload(owner, "two", seed=1, tags=("arithmetic", "art"))
    assert search.tags(actor=ANYONE, q="ar") == [("arithmetic", 2), ("art", 1)]
    assert search.tags(actor=ANYONE, q="Maths") == [("arithmetic", 2)], "another word for it"
    assert search.tags(actor=ANYONE, q="sum") == [("arithmetic", 2), ("digit sums", 1)], "the beginning of any word"
    assert search.tags(actor=ANYONE, q="zz") == search.tags(actor=ANYONE, q="a%") == []
    assert search.tags(actor=ANYONE, q="", limit=1) == [("arithmetic", 2)]


def test_the_clock_catches_up_and_counts_trends(owner: User, upload: Upload) -> None:
    first = upload(owner, "one", card="# A\n\nParsnips.\n")
    Download.objects.create(adapter=first, client="a", day=timezone.now().date())
    Download.objects.create(adapter=first, client="b", day=timezone.now().date() - timedelta(days=8))
    SearchText.objects.all().delete()
    tasks.tidy()
    first.refresh_from_db()
    assert names(q="parsnips") == ["one"] and first.trend == 1
    assert Download.objects.get().client == "a", "who came before the last seven days is forgotten"
    Download.objects.all().delete()
    tasks.tidy()
    first.refresh_from_db()
    assert first.trend == 0
