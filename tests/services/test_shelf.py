"""Counting on the shelf gives what counting in the database gives."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from pytest import MonkeyPatch

from hub.models import User
from hub.services import adapters, lifecycle, search, shelf, tallies
from hub.services.narrowing import Wanted, wanted
from tests.conftest import Upload

pytestmark = pytest.mark.django_db
ANYONE = AnonymousUser()
CARD = "---\nlicense: {}\nlanguage: {}\n---\n# {}\n"
CHOICES: list[dict[str, Any]] = [
    {"q": "sums"},
    {"q": "sums nowhere"},
    {"q": "!"},
    {"q": "adapter"},
    {"facets": {"rank": ["8"]}},
    {"facets": {"rank": ["8", "4"], "licence": ["mit"]}},
    {"facets": {"rank": ["8"], "licence": ["mit"], "language": ["en"]}},
    {"facets": {"rank": ["8"], "tag": ["shared", "even"]}},
    {"facets": {"rank": ["8"], "tag": ["shared", "nobody's"]}},
    {"facets": {"rank": ["999"], "licence": ["mit"]}},
    {"facets": {"made": ["uploaded"], "licence": ["mit", "gone"]}},
    {"q": "sums", "facets": {"rank": ["8"], "licence": ["mit"]}},
    {"q": "differences", "facets": {"rank": ["4"], "tag": ["odd"]}},
]


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    shelf._Latest.shelf = None


@pytest.fixture
def catalogue(owner: User, upload: Upload) -> None:
    """Eight public adapters, and a private one."""
    for number in range(9):
        tags = ("shared", "even" if number % 2 == 0 else "odd", f"only-{number}")
        card = CARD.format(("mit", "apache-2.0")[number // 2 % 2], ("en", "de")[number // 4 % 2], "Sums" if number % 3 else "Differences")
        adapter = upload(owner, f"adapter-{number}", seed=number, tags=tags, rank=(4, 8)[number % 2], card=card)
        if number == 8:
            adapters.update(actor=owner, adapter=adapter, private=True)


def both(what: Wanted) -> tuple[tallies.Facets, tallies.Facets]:
    """The counts of the database, and those of a shelf."""
    return tallies._counted(what), tallies._on_the_shelf(shelf.fill(), what)


@pytest.mark.parametrize(("setting", "value"), [("VALUES", 200), ("VALUES", 1), ("ASKED", 0)])
def test_it_counts_as_the_database_does(catalogue: None, setting: str, value: int, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, setting, value)
    for given in CHOICES:
        in_database, on_shelf = both(wanted(**given))
        assert on_shelf == in_database, given


def test_of_too_many_a_part_is_counted(catalogue: None, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "ASKED", 0)
    monkeypatch.setattr(tallies, "COUNTED", 3)
    found = tallies._on_the_shelf(shelf.fill(), wanted(q="adapter"))
    assert found.sampled and found.total == 4 and 3 <= dict(found.counts["made"])["uploaded"] <= 4
    found = tallies._on_the_shelf(shelf.fill(), wanted(q="adapter", facets={"licence": ["mit"], "rank": ["4"]}))
    assert found.sampled and found.total == 2


def test_a_large_catalogue_is_counted_on_the_shelf(catalogue: None, owner: User, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LARGE", 8)
    monkeypatch.setattr(tallies, "_on_the_shelf", lambda *_: pytest.fail("there is no shelf yet"))
    monkeypatch.setattr(shelf, "_renew", lambda: None)
    shelf._Latest.making.acquire()
    try:
        assert search.facets(actor=ANYONE, q="sums").total == 5
        monkeypatch.undo()
        monkeypatch.setattr(shelf, "LARGE", 8)
        shelf.fill()
        monkeypatch.setattr(tallies, "_values", lambda *_: pytest.fail("there is a shelf"))
        assert search.facets(actor=ANYONE, q="sums").total == 5
        assert search.facets(actor=owner, q="sums").total == 6, "their private adapter is counted for its owner"
        assert dict(search.facets(actor=ANYONE, facets={"rank": ["8"]}).counts["rank"]) == {"4": 4, "8": 4}
    finally:
        shelf._Latest.making.release()


def test_what_became_private_is_gone_with_the_next_shelf(catalogue: None, owner: User) -> None:
    what = wanted(facets={"tag": ["only-3"]})
    assert both(what)[1].total == 1
    adapter = adapters.find(actor=owner, repo_id="owner/adapter-3")
    adapters.update(actor=owner, adapter=adapter, private=True)
    assert both(what)[1].total == 0
    adapters.update(actor=owner, adapter=adapter, private=False)
    lifecycle.delete(actor=owner, adapter=adapter)
    assert both(what)[1].total == 0


def test_a_shelf_is_made_beside_what_goes_on(monkeypatch: MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()

    def fill() -> None:
        started.set()
        assert go_on.wait(30)

    monkeypatch.setattr(shelf, "fill", fill)
    assert shelf.current() is None
    assert started.wait(30)
    assert shelf.current() is None, "one is being made"
    go_on.set()
    assert shelf._Latest.making.acquire(timeout=30)
    shelf._Latest.making.release()


def test_an_old_shelf_serves_until_there_is_a_new_one(catalogue: None, monkeypatch: MonkeyPatch) -> None:
    made = shelf.fill()
    monkeypatch.setattr(shelf, "_renew", shelf._Latest.making.release)
    now = time.monotonic()
    for age, served in ((0, True), (70, True), (599, True), (601, False)):
        monkeypatch.setattr(shelf.time, "monotonic", lambda age=age: now + age)
        assert (shelf.current() is made) is served


def test_one_that_cannot_be_made_is_told(monkeypatch: MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise OperationalError("no connection")

    monkeypatch.setattr(shelf, "fill", fails)
    monkeypatch.setattr(shelf, "connection", type("Closed", (), {"close": staticmethod(lambda: None)}))
    monkeypatch.setattr(shelf, "close_old_connections", lambda: None)
    shelf._Latest.making.acquire()
    shelf._renew()
    assert "no connection" in caplog.text and shelf._Latest.making.acquire(blocking=False)
    shelf._Latest.making.release()
