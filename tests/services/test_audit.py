"""The audit log: what is kept of an event, who may read it, and that it stays as it was written."""

import pytest
from django.test import Client

from hub.models import Adapter, Event, User
from hub.services import accounts, audit, lifecycle, social
from tests.conftest import PASSWORD, Upload

pytestmark = pytest.mark.django_db


def test_it_follows_an_object_through_its_names(owner: User, sums: Adapter, upload: Upload):
    upload(owner, "other")
    lifecycle.rename(actor=owner, adapter=sums, name="total")
    social.like(actor=owner, adapter=sums, on=True)
    found = audit.of_adapter(adapter=sums)
    assert [(e.verb, e.subject, e.account, e.door) for e in found] == [
        ("adapter.rename", "owner/total", owner, "server"),
        ("adapter.commit", "owner/sums", owner, "server"),
        ("adapter.create", "owner/sums", owner, "server"),
    ]


def test_of_an_account(owner: User, friend: User, sums: Adapter):
    """What happened to it and its things, and what it did elsewhere; likes of others are no business of this log."""
    social.like(actor=friend, adapter=sums, on=True)
    accounts.create_token(actor=friend, name="laptop", scope="read")
    assert {e.verb for e in audit.of_account(account=friend)} == {"account.create", "token.create"}
    assert {e.verb for e in audit.of_account(account=owner)} == {"account.create", "adapter.create", "adapter.commit"}


@pytest.mark.parametrize(
    ("address", "kept"), [("198.51.100.77", "198.51.100.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("somewhere", "")], ids=["v4", "v6", "none"]
)
def test_only_the_first_part_of_an_address_is_kept(owner: User, sums: Adapter, address: str, kept: str):
    with audit.coming_through(Event.Door.API, address):
        audit.record(owner, "account.test", owner)
        audit.record(owner, "adapter.test", sums)
    about_adapter, about_account = Event.objects.all()[:2]
    assert (about_account.door, about_account.network) == ("api", kept)
    assert (about_adapter.door, about_adapter.network) == ("api", "")


def test_doors(owner: User):
    """A request says which door it came through, until it is answered."""
    token = accounts.create_token(actor=owner, name="t", scope="write")[1]
    client = Client(headers={"Authorization": f"Bearer {token}"}, REMOTE_ADDR="203.0.113.9")
    assert client.post("/api/v1/adapters", {"name": "by-api"}, "application/json").status_code == 201
    assert client.post("/api/repos/create", {"name": "by-hf"}, "application/json").status_code == 200
    page = Client(REMOTE_ADDR="203.0.113.9")
    assert page.post("/accounts/login/", {"login": "owner", "password": PASSWORD}).status_code == 302
    page.post("/settings/tokens", {"name": "made here", "scope": "read"})
    audit.record(owner, "account.test", owner)
    doors = {(e.verb, e.subject): (e.door, e.network) for e in Event.objects.order_by("pk")}
    assert doors["adapter.create", "owner/by-api"] == ("api", "")
    assert doors["adapter.create", "owner/by-hf"] == ("hf", "")
    assert doors["account.login", "user:owner"] == doors["token.create", "user:owner"] == ("web", "203.0.113.0/24")
    assert doors["account.test", "user:owner"] == ("server", "")


def test_passwords(owner: User):
    page = Client()
    page.force_login(owner)
    fresh = {"oldpassword": PASSWORD, "password1": "another horse battery", "password2": "another horse battery"}
    assert page.post("/accounts/password/change/", fresh).status_code == 302
    event = Event.objects.latest("pk")
    assert (event.verb, event.actor, event.door, event.data) == ("account.password", owner, "web", {"reset": False})
    assert "horse" not in str(Event.objects.values())


def test_staff(owner: User, friend: User):
    """What staff do on the admin pages is there, and nobody changes the log, staff neither."""
    User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    token = accounts.create_token(actor=friend, name="leaked", scope="write")[0]
    page = Client()
    page.force_login(owner)
    assert page.post(f"/admin/hub/accesstoken/{token.pk}/delete/", {"post": "yes"}).status_code == 302
    event = Event.objects.latest("pk")
    assert (event.verb, event.actor, event.account, event.door, event.data) == ("token.revoke", owner, friend, "admin", {"name": "leaked"})
    assert token.digest not in str(Event.objects.values())
    assert page.post("/admin/hub/tag/add/", {"name": "arithmetic"}).status_code == 302
    assert (Event.objects.latest("pk").verb, Event.objects.latest("pk").kind) == ("staff.add", "tag")
    assert page.get("/admin/hub/event/").status_code == 200
    for address in ("add/", f"{event.pk}/delete/"):
        assert page.post(f"/admin/hub/event/{address}", {"post": "yes"}).status_code == 403
    assert page.post(f"/admin/hub/event/{event.pk}/change/", {"verb": "nothing"}).status_code == 403
    assert Event.objects.get(pk=event.pk).verb == "token.revoke"
