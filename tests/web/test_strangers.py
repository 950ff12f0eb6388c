"""Pages for strangers are kept until anything happens, and never show what has become hidden."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hub.models import Adapter, Event, User
from hub.services import adapters, audit, comments, gates, lifecycle, social
from hub.web import browse
from tests.conftest import Upload
from tests.web.conftest import compose

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("memory")]


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


LISTS = ["/", "/adapters", "/adapters?q=sums", "/base-models", "/owner", "/owner?show=likes", "/owner?show=collections"]


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def main(client: Client, address: str) -> str:
    """What a page says between its header and its footer."""
    return client.get(address).content.decode().partition("<main")[2].partition("</main>")[0]


@pytest.mark.parametrize("address", LISTS)
def test_who_sees_no_more_than_strangers_shares_what_they_are_shown(sums: Adapter, friend: User, stranger: User, address: str) -> None:
    first, second = logged_in(friend), logged_in(stranger)
    drawn = asked(first, address)
    assert asked(second, address) <= 5 < drawn
    assert main(first, address) == main(second, address) == main(Client(), address)
    assert "friend" in first.get(address).content.decode() and "friend" not in second.get(address).content.decode()


@pytest.mark.parametrize("address", LISTS[:3])
def test_what_one_person_sees_alone_is_shown_to_nobody_else(sums: Adapter, friend: User, stranger: User, upload: Upload, address: str) -> None:
    first, second = logged_in(friend), logged_in(stranger)
    assert main(first, address) == main(second, address)
    secret = upload(friend, "sums-secret")
    adapters.update(actor=friend, adapter=secret, private=True)
    for _ in range(2):
        assert "sums-secret" in main(first, address) and "sums-secret" not in main(second, address) + main(Client(), address)


def test_the_page_of_an_adapter_is_drawn_once_but_for_what_is_ones_own(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    first, second, third = logged_in(friend), logged_in(stranger), logged_in(owner)
    drawn = asked(first, "/owner/sums")
    assert asked(second, "/owner/sums") <= 5 < drawn
    comments.add(actor=friend, adapter=sums, body="A word about it.")
    social.like(actor=friend, adapter=sums, on=True)
    liked = 'aria-pressed="true"'
    for _ in range(2):
        theirs, others, mine = (main(client, "/owner/sums") for client in (first, second, third))
        assert liked in theirs and liked not in others and liked not in mine and 'id="files"' in theirs and 'id="files"' in others
        assert "Edit<span" in theirs and "Edit<span" not in others
        assert "Settings" in mine and "Settings" not in theirs + others + main(Client(), "/owner/sums")
        assert "Report this adapter" in others and "Report this adapter" not in mine + main(Client(), "/owner/sums")


def test_an_owner_alone_is_told_to_write_a_card(owner: User, friend: User, upload: Upload) -> None:
    upload(owner, "bare")
    for client, is_mine in ((logged_in(friend), False), (logged_in(owner), True), (logged_in(friend), False), (Client(), False), (logged_in(owner), True)):
        assert ("Add a README.md" in main(client, "/owner/bare")) is is_mine


def test_private_relatives_show_to_whom_they_belong(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    kid = compose(friend, {sums: 1.0}, name="kid")
    adapters.update(actor=friend, adapter=kid, private=True)
    parent = compose(owner, {sums: 1.0}, name="open-kid")
    for client, sees in ((logged_in(friend), True), (logged_in(stranger), False), (Client(), False), (logged_in(friend), True), (logged_in(owner), False)):
        assert ("/friend/kid" in main(client, "/owner/sums")) is sees
        assert f"/owner/{parent.name}" in main(client, "/owner/sums")


def test_gated_files_are_offered_to_those_who_were_let_in(sums: Adapter, friend: User, stranger: User) -> None:
    adapters.update(actor=sums.owner, adapter=sums, gated="auto")
    gates.ask(actor=friend, adapter=sums)
    for client, is_in in ((logged_in(friend), True), (logged_in(stranger), False), (logged_in(friend), True), (Client(), False)):
        assert ("Ask for access first" not in main(client, "/owner/sums")) is is_in
        assert ('class="btn primary" href="/owner/sums/zip' in main(client, "/owner/sums")) is is_in


def test_a_long_list_goes_on(sums: Adapter, friend: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "PAGE", 1)
    units = adapters.create(actor=sums.owner, name="units")
    Adapter.objects.filter(pk=units.pk).update(head=sums.head)
    for client in (logged_in(friend), logged_in(friend), Client()):
        page = client.get("/adapters?sort=downloads&rank=").content.decode()
        assert page.count('rel="next"') == 1 and "sort=downloads&amp;" in page


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
