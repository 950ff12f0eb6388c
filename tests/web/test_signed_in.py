"""Sessions end when they should, and who is logged in is the account as it is now."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from hub.models import Notification, User
from hub.web.sessions import SessionStore

pytestmark = pytest.mark.django_db
MINE = "/compositions"


def lets_in(client: Client) -> bool:
    return client.get(MINE).status_code == 200


def test_a_session_ends_at_its_time(as_owner: Client) -> None:
    now = timezone.now()
    for seconds, lasts in ((60, True), (-1, False)):
        Session.objects.update(expire_date=now + timedelta(seconds=seconds))
        assert lets_in(as_owner) is lasts


def test_an_unknown_key_is_not_taken_over(as_owner: Client) -> None:
    for key in ("0" * 32, "", "' OR 1=1 --", "\u00e9" * 8):
        stranger = Client()
        stranger.cookies["sessionid"] = key
        assert not lets_in(stranger)
    store = SessionStore("0" * 32)
    store["a"] = 1
    store.save()
    assert store.session_key not in (None, "0" * 32)


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "!"}])
def test_a_closed_account_or_a_new_password_ends_it(as_owner: Client, owner: User, change: dict[str, object]) -> None:
    assert lets_in(as_owner)
    User.objects.filter(pk=owner.pk).update(**change)
    assert not lets_in(as_owner)


def test_it_is_the_account_as_it_is_now(as_owner: Client, owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_staff=True, display_name="Field Notes")
    request = HttpRequest()
    request.session = as_owner.session
    found = get_user(request)
    assert found == owner and found.is_staff and not found.is_superuser and not found.has_unread
    assert (found.display_name, found.date_joined, found.last_login) == ("Field Notes", owner.date_joined, User.objects.get(pk=owner.pk).last_login)
    Notification.objects.create(user=owner, kind=Notification.Kind.MODERATION, in_app=True, data={"text": "A word."})
    assert get_user(request).has_unread
    found.about = "Adapters."
    found.save()
    assert User.objects.get(pk=owner.pk).display_name == "Field Notes" and User.objects.get(pk=owner.pk).about == "Adapters."
