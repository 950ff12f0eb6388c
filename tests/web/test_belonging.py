"""Pages of organisations, offers, deleted adapters and logs, and an adapter's settings, for each who may and may not."""

from tempfile import NamedTemporaryFile

import pytest
from django.test import Client

from hub.models import Adapter, Invitation, Membership, User
from hub.services import adapters, lifecycle, organizations
from tests.conftest import Upload, person
from tests.services.stage import incoming
from tests.web.conftest import client as browser
from tests.web.conftest import page

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(owner: User, friend: User) -> User:
    """An organisation of the owner, with a writer (friend) and a reader."""
    made = organizations.create(actor=owner, name="acme", about="Sums <b>for everyone</b>.")
    for user, role in ((friend, "writer"), (person("reader"), "reader")):
        organizations.invite(actor=owner, organization=made, username=user.username, role=role)
        organizations.answer(actor=user, organization=made, accept=True)
    adapter = adapters.create(actor=owner, name="secret-plan", private=True, owner=made)
    adapters.commit(actor=owner, adapter=adapter, files=incoming({"README.md": b"# Plan\n\nNobody knows.\n"}))
    return made


def test_an_organisations_page(owner: User, friend: User, stranger: User, acme: User):
    for client in (Client(), browser(stranger)):
        html = page(client.get("/acme"))
        assert "Sums &lt;b&gt;for everyone&lt;/b&gt;." in html and "secret-plan" not in html and "0 adapters" in html
        assert 'href="/friend"' in html and "/acme/settings" not in html and "?owner=acme" not in html
        assert client.get("/acme/secret-plan").status_code == 404
    reader = page(browser(User.objects.get(username="reader")).get("/acme"))
    assert "secret-plan" in reader and "You are a reader" in reader and "?owner=acme" not in reader
    assert "?owner=acme" in page(browser(friend).get("/acme"))
    assert "/acme/settings" in page(browser(owner).get("/acme"))
    assert "acme" in page(Client().get("/friend")), "a person's page says where they belong"


def test_only_owners_have_the_settings(owner: User, friend: User, stranger: User, acme: User):
    calls = {"settings": {"about": "x"}, "settings/name": {"name": "x"}, "settings/invite": {"user": "stranger", "role": "owner"}}
    calls |= {"settings/withdraw": {"user": "x"}, "settings/member": {"user": "owner"}, "settings/delete": {"confirm": "acme"}}
    before = [list(model.objects.order_by("pk").values()) for model in (Membership, Invitation)]
    for client in (browser(friend), browser(stranger)):
        assert client.get("/acme/settings").status_code == client.get("/acme/settings/log").status_code == 403
        for path, body in calls.items():
            assert client.post(f"/acme/{path}", body).status_code == 403
    for path, body in calls.items():
        assert Client().post(f"/acme/{path}", body)["Location"].startswith("/accounts/login/")
    assert [list(model.objects.order_by("pk").values()) for model in (Membership, Invitation)] == before
    assert User.objects.get(pk=acme.pk).about == acme.about
    html = page(browser(owner).get("/acme/settings"))
    assert "asked friend to join as writer" in page(browser(owner).get("/acme/settings/log")) and "joined as" in html


def test_an_organisation_from_page_to_page(owner: User, stranger: User):
    mine, theirs = browser(owner), browser(stranger)
    assert "The name stranger is taken." in page(mine.post("/settings/organizations", {"name": "stranger"}), 400)
    assert mine.post("/settings/organizations", {"name": "ajax", "about": "New."})["Location"] == "/ajax/settings"
    assert "There is no account" in page(mine.post("/ajax/settings/invite", {"user": "nobody", "role": "reader"}), 400)
    assert mine.post("/ajax/settings/invite", {"user": "stranger", "role": "reader"}).status_code == 302
    assert "owner asks you to join as reader" in page(theirs.get("/ajax")) and "asks you" not in page(mine.get("/ajax"))
    assert "ajax" in page(theirs.get("/settings/organizations"))
    assert theirs.post("/settings/organizations/ajax/answer", {"accept": "1"})["Location"] == "/ajax"
    assert "last owner" in page(mine.post("/ajax/settings/member", {"user": "owner", "role": "reader"}), 400)
    assert mine.post("/ajax/settings/member", {"user": "stranger", "role": "owner"}).status_code == 302
    assert theirs.post("/ajax/settings/name", {"name": "ajax-two"})["Location"] == "/ajax-two/settings"
    assert mine.get("/ajax")["Location"] == "/ajax-two"
    assert mine.post("/ajax-two/settings/member", {"user": "owner"})["Location"] == "/settings/organizations"
    assert "not its name" in page(theirs.post("/ajax-two/settings/delete", {"confirm": "ajax"}), 400)
    assert theirs.post("/ajax-two/settings/delete", {"confirm": "ajax-two"})["Location"] == "/settings/organizations"
    assert not User.objects.filter(is_organization=True).exists()


def test_what_a_writer_decides(owner: User, friend: User, acme: User):
    """Tags and files; the form offers no more, and what is sent besides changes nothing."""
    writer = browser(friend)
    html = page(writer.get("/acme/secret-plan/settings"))
    assert 'name="tags"' in html and 'name="private"' not in html and "plan/settings/delete" not in html and "settings/transfer" not in html
    assert writer.post("/acme/secret-plan/settings", {"private": "", "gated": "auto", "tags": "sums"}).status_code == 302
    adapter = Adapter.objects.get()
    assert (adapter.private, adapter.gated, [t.name for t in adapter.tags.all()]) == (True, "", ["sums"])
    posts = {"delete": {"confirm": "secret-plan"}, "name": {"name": "x"}, "transfer": {"to": "friend"}, "archive": {"on": "1"}, "withdraw": {}, "access": {}}
    for path, body in posts.items():
        assert writer.post(f"/acme/secret-plan/settings/{path}", body).status_code == 403
    assert writer.get("/acme/secret-plan/settings/log").status_code == 403
    reader = browser(User.objects.get(username="reader"))
    assert reader.get("/acme/secret-plan").status_code == 200 and reader.get("/acme/secret-plan/settings").status_code == 403
    assert reader.get("/upload?to=acme/secret-plan").status_code == 403


def test_the_owner_is_chosen_where_one_uploads(friend: User, stranger: User, acme: User):
    files = {"name": "fresh", "private": "", "owner": "acme"}
    assert 'name="owner"' not in page(browser(stranger).get("/upload")) and browser(stranger).post("/upload", files).status_code == 400
    assert '<option value="acme" selected>' in page(browser(friend).get("/upload?owner=acme"))
    with NamedTemporaryFile(suffix=".md") as card:
        card.write(b"# Fresh\n")
        card.seek(0)
        assert browser(friend).post("/upload", {**files, "files": card})["Location"] == "/acme/fresh"
    assert not Adapter.objects.filter(owner=stranger).exists()


def test_delete_restore_and_gone(owner: User, stranger: User, sums: Adapter):
    mine, theirs = browser(owner), browser(stranger)
    assert mine.post("/owner/sums/settings/delete", {"confirm": "sums"})["Location"] == "/settings/deleted"
    assert mine.get("/owner/sums").status_code == 404 and "owner/sums" in page(mine.get("/settings/deleted"))
    assert "owner/sums" not in page(theirs.get("/settings/deleted"))
    for path in ("restore", "purge"):
        assert theirs.post(f"/settings/deleted/owner/sums/{path}").status_code == 404
    assert mine.post("/settings/deleted/owner/sums/restore")["Location"] == "/owner/sums"
    assert "restored it" in page(mine.get("/owner/sums/settings/log"))
    mine.post("/owner/sums/settings/delete", {"confirm": "sums"})
    assert mine.post("/settings/deleted/owner/sums/purge").status_code == 302 and not Adapter.with_deleted.exists()


def test_rename_archive_and_hand_over(owner: User, friend: User, stranger: User, sums: Adapter, upload: Upload):
    mine, theirs = browser(owner), browser(friend)
    upload(owner, "other")
    refused = page(mine.post("/owner/sums/settings/name", {"name": "other"}), 400)
    assert "exists already" in refused and 'name="name" maxlength="96" required autocomplete="off" spellcheck="false" value="other"' in refused
    assert mine.post("/owner/sums/settings/name", {"name": "total"})["Location"] == "/owner/total/settings"
    assert mine.get("/owner/sums")["Location"] == "/owner/total"
    assert mine.post("/owner/total/settings/archive", {"on": "1"}).status_code == 302
    assert "Archived" in page(Client().get("/owner/total")) and "New revision" not in page(mine.get("/owner/total"))
    assert mine.get("/upload?to=owner/total").status_code == 403 and "archived" in page(Client().get("/adapters"))
    assert "There is no account" in page(mine.post("/owner/total/settings/transfer", {"to": "nobody"}), 400)
    mine.post("/owner/total/settings/transfer", {"to": "friend"})
    assert "Offered to" in page(mine.get("/owner/total/settings")) and "owner/total" in page(theirs.get("/settings/deleted"))
    assert browser(stranger).post("/settings/offers/owner/total", {"accept": "1"}).status_code == 404
    mine.post("/owner/total/settings/withdraw")
    assert theirs.post("/settings/offers/owner/total", {"accept": "1"}).status_code == 404
    mine.post("/owner/total/settings/transfer", {"to": "friend"})
    assert theirs.post("/settings/offers/owner/total", {"accept": "1"})["Location"] == "/friend/total"
    assert mine.get("/friend/total/settings").status_code == 403 and "took it over" in page(theirs.get("/friend/total/settings"))


def test_ones_own_log(owner: User, friend: User, sums: Adapter):
    lifecycle.rename(actor=owner, adapter=sums, name="total")
    mine = page(browser(owner).get("/settings/log"))
    assert "renamed it from owner/sums" in mine and "logged in" in mine
    assert "owner/sums" not in page(browser(friend).get("/settings/log"))
    assert Client().get("/settings/log").status_code == 302
