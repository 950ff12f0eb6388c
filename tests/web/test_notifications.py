"""The list of notifications, the count in the navigation, and the settings."""

from django.test import Client

from hub.models import Adapter, Notification, User
from hub.services import adapters, comments, notifications
from tests.web.conftest import page, text


def test_it_works(as_owner: Client, as_friend: Client, sums: Adapter, friend: User, owner: User) -> None:
    assert "Nothing has happened yet" in text(as_owner.get("/notifications"))
    comment = comments.add(actor=friend, adapter=sums, body="<b>Which</b> seed?")
    assert 'aria-label="Notifications, 1 new"' in page(as_owner.get("/adapters"))
    html = page(as_owner.get("/notifications"))
    assert "friend commented on owner/sums." in html and "&lt;b&gt;Which" in html
    number = Notification.objects.get().pk
    assert as_owner.get(f"/notifications/{number}")["Location"] == f"/owner/sums/comments#comment-{comment.pk}"
    assert 'aria-label="Notifications"' in page(as_owner.get("/adapters"))
    assert notifications.unread(actor=owner) == 0


def test_mark_all_as_read(as_owner: Client, sums: Adapter, friend: User, owner: User) -> None:
    for body in "ab":
        comments.add(actor=friend, adapter=sums, body=body)
    as_owner.post("/notifications/read", {"number": Notification.objects.order_by("pk")[0].pk})
    assert notifications.unread(actor=owner) == 1
    as_owner.post("/notifications/read")
    assert notifications.unread(actor=owner) == 0


def test_strangers(as_stranger: Client, anonymous: Client, sums: Adapter, friend: User, owner: User) -> None:
    comments.add(actor=friend, adapter=sums, body="a")
    path = f"/notifications/{Notification.objects.get().pk}"
    assert text(as_stranger.get(path)) == text(as_stranger.get("/notifications/99999")) and as_stranger.get(path).status_code == 404
    for address in (path, "/notifications", "/settings/notifications"):
        assert anonymous.get(address).status_code == 302
    as_stranger.post("/notifications/read", {"number": Notification.objects.get().pk})
    assert notifications.unread(actor=owner) == 1


def test_nothing_private_is_counted_or_shown(as_friend: Client, sums: Adapter, friend: User, owner: User) -> None:
    first = comments.add(actor=friend, adapter=sums, body="a")
    comments.add(actor=owner, adapter=sums, body="b", reply_to=first)
    adapters.update(actor=owner, adapter=sums, private=True)
    html = page(as_friend.get("/notifications"))
    assert "owner/sums" not in html and 'aria-label="Notifications"' in html


def test_settings(as_owner: Client, owner: User) -> None:
    page(as_owner.get("/settings/notifications"))
    as_owner.post("/settings/notifications", {"in_app": ["like"], "mail": ["comment"]})
    assert notifications.wishes(user=owner)["like"] == (True, False) and notifications.wishes(user=owner)["comment"] == (False, True)
    assert as_owner.post("/settings/notifications", {"in_app": ["x"]}).status_code == 400
