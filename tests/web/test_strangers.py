"""Pages for strangers are kept until anything happens, and never show what has become hidden."""

from collections.abc import Callable

import pytest
from django.core.cache import caches
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from hub.models import Adapter, Event, User
from hub.services import adapters, audit, comments, lifecycle, social
from tests.conftest import Upload

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def memory(settings: Settings) -> None:
    """Pages are kept, as on a real hub."""
    settings.CACHES = {**settings.CACHES, "pages": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "kept-in-tests"}}
    caches["pages"].clear()


def asked(client: Client, address: str) -> int:
    """How many queries a page takes."""
    from django.db import connection

    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


@pytest.mark.parametrize("address", ["/", "/adapters", "/adapters?q=sums", "/owner/sums", "/owner", "/base-models"])
def test_the_second_stranger_costs_one_query(sums: Adapter, address: str) -> None:
    first = asked(Client(), address)
    assert first > 1 and asked(Client(), address) == 1
    again, fresh = Client().get(address), Client().get(address)
    assert again.content == fresh.content and again["Content-Security-Policy"] and again["Content-Type"].startswith("text/html")


def test_who_is_logged_in_gets_a_page_of_their_own(sums: Adapter, owner: User) -> None:
    for address in ("/", "/owner/sums"):
        asked(Client(), address)
        mine = Client()
        mine.force_login(owner)
        assert asked(mine, address) > 1 and b"Log out" in mine.get(address).content
        assert b"Log out" not in Client().get(address).content


CHANGES: dict[str, Callable[[User, User, Adapter], object]] = {
    "private": lambda owner, staff, sums: adapters.update(actor=owner, adapter=sums, private=True),
    "deleted": lambda owner, staff, sums: lifecycle.delete(actor=owner, adapter=sums),
    "renamed": lambda owner, staff, sums: lifecycle.rename(actor=owner, adapter=sums, name="totals"),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_what_has_gone_is_gone_at_once(sums: Adapter, owner: User, admin_user: User, change: str) -> None:
    addresses = ("/", "/adapters", "/adapters?q=sums", "/owner", "/owner/sums")
    for address in addresses:
        assert b"owner/sums" in Client().get(address).content or b"sums" in Client().get(address).content
    CHANGES[change](owner, admin_user, sums)
    for address in addresses[:-1]:
        assert b'href="/owner/sums"' not in Client().get(address).content, address
    assert Client().get("/owner/sums").status_code in (302, 404)


def test_what_is_new_is_there_at_once(sums: Adapter, owner: User, friend: User, upload: Upload) -> None:
    for address in ("/adapters", "/owner/sums"):
        Client().get(address)
    upload(friend, "fresh")
    comment = comments.add(actor=friend, adapter=sums, body="A word about it.")
    social.like(actor=friend, adapter=sums, on=True)
    assert b"fresh" in Client().get("/adapters").content
    assert b"A word about it." in Client().get("/owner/sums").content
    comments.delete(actor=friend, comment=comment)
    assert b"A word about it." not in Client().get("/owner/sums").content


def test_an_event_whose_number_was_drawn_earlier_counts_too(owner: User) -> None:
    early = Event.objects.create(actor=owner, verb="adapter.change", subject="a")
    Event.objects.create(actor=owner, verb="adapter.change", subject="b")
    early.delete()  # as if its transaction were still under way
    before = audit.latest()
    Event.objects.create(pk=early.pk, actor=owner, verb="adapter.change", subject="a")
    assert audit.latest() != before


def test_a_page_with_a_form_is_nobody_elses(sums: Adapter) -> None:
    first, second = Client(), Client()
    for client in (first, second):
        assert client.get("/accounts/login/").cookies["csrftoken"]
    assert first.get("/accounts/login/").content != second.get("/accounts/login/").content
