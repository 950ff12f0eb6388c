"""Who is told what, how, and what nobody is told any more once they may not see it."""

from typing import Any

import pytest
from django.core import mail
from django.test import override_settings

from compose_worker import tasks
from hub.models import Adapter, Comment, Notification, User
from hub.services import adapters, comments, gates, mails, notices, notifications, organizations, runs, social
from tests.conftest import Upload, compose
from tests.services.stage import claimed, refused, result, submit


def told(user: User) -> list[str]:
    """What a person reads in their list, oldest first."""
    return [notices.told(row).text for row in notifications.listing(actor=user).order_by("pk")]


def test_comments_and_answers(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    first = comments.add(actor=friend, adapter=sums, body="Which seed?")
    comments.add(actor=stranger, adapter=sums, body="I wonder too", reply_to=first)
    comments.add(actor=owner, adapter=sums, body="Seven", reply_to=first)
    assert told(owner) == [f"{who} commented on owner/sums." for who in ("friend", "stranger")]
    assert told(friend) == [f"{who} answered in a conversation about owner/sums." for who in ("stranger", "owner")]
    assert told(stranger) == ["owner answered in a conversation about owner/sums."]
    assert notices.told(notifications.listing(actor=owner)[0]).path.endswith(f"#comment-{Comment.objects.order_by('pk')[1].pk}")


def test_likes_are_one_until_they_are_read(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    third = User.objects.create_user("third")
    for user in (owner, friend, stranger, third):
        social.like(actor=user, adapter=sums, on=True)
    assert told(owner) == ["third and 2 other people like owner/sums."]
    social.like(actor=third, adapter=sums, on=False)
    assert told(owner) == ["stranger and 1 other person like owner/sums."]
    notifications.read(actor=owner)
    social.like(actor=third, adapter=sums, on=True)
    assert notifications.unread(actor=owner) == 0, "giving a like again tells nobody"
    social.like(actor=User.objects.create_user("fifth"), adapter=sums, on=True)
    assert told(owner)[-1] == "fifth likes owner/sums." and notifications.unread(actor=owner) == 1


def test_ones_own_like_does_not_stand_for_those_of_others(sums: Adapter, owner: User, friend: User) -> None:
    social.like(actor=friend, adapter=sums, on=True)
    social.like(actor=owner, adapter=sums, on=True)
    assert told(owner) == ["friend likes owner/sums."]


def test_a_like_taken_back_leaves_nothing(sums: Adapter, owner: User, friend: User) -> None:
    for on in (True, False):
        social.like(actor=friend, adapter=sums, on=on)
    assert told(owner) == []


def test_a_published_mix(sums: Adapter, owner: User, friend: User, upload: Upload) -> None:
    compose(friend, {sums: 0.5, upload(friend, "own", seed=3): 0.5})
    assert told(owner) == ["friend published friend/mix, composed with owner/sums."] and told(friend) == []


def test_a_private_mix_is_told_when_it_is_public_and_once(sums: Adapter, owner: User, friend: User) -> None:
    mix = compose(friend, {sums: 1.0}, private=True)
    assert told(owner) == []
    for private in (False, True):
        adapters.update(actor=friend, adapter=mix, private=private)
    assert told(owner) == [], "it is hidden again"
    adapters.update(actor=friend, adapter=mix, private=False)
    assert told(owner) == ["friend published friend/mix, composed with owner/sums."]
    assert Notification.objects.filter(user=owner).count() == 1


def test_nothing_of_what_became_private(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    first = comments.add(actor=friend, adapter=sums, body="hello")
    comments.add(actor=stranger, adapter=sums, body="hello", reply_to=first)
    row = notifications.listing(actor=friend).get()
    adapters.update(actor=owner, adapter=sums, private=True)
    assert told(friend) == [] and notifications.unread(actor=friend) == 0 and len(told(owner)) == 2
    for call in (lambda: notifications.find(actor=friend, number=row.pk), lambda: notifications.read(actor=friend, number=row.pk)):
        with refused("not-found", 404):
            call()
    comments.add(actor=owner, adapter=sums, body="said in private", reply_to=first)
    adapters.update(actor=owner, adapter=sums, private=False)
    assert len(told(friend)) == 1, "nobody was told of what they could not see then"


def test_a_comment_that_goes_takes_its_notice_along(sums: Adapter, owner: User, friend: User) -> None:
    comment = comments.add(actor=friend, adapter=sums, body="hello")
    Comment.objects.update(gone=Comment.Gone.HIDDEN)
    assert told(owner) == [] and notifications.unread(actor=owner) == 0
    Comment.objects.update(gone="")
    comments.delete(actor=friend, comment=comment)
    assert not Notification.objects.exists()


def test_gates(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    adapters.update(actor=owner, adapter=sums, gated="manual")
    request = gates.ask(actor=friend, adapter=sums)
    gates.ask(actor=friend, adapter=sums)
    assert told(owner) == ["friend asks for the files of owner/sums."]
    gates.decide(actor=owner, adapter=sums, request=request, status="accepted")
    gates.decide(actor=owner, adapter=sums, request=request, status="pending")
    gates.decide(actor=owner, adapter=sums, request=request, status="rejected")
    assert told(friend) == ["You may have the files of owner/sums now.", "Your request for the files of owner/sums was rejected."]
    adapters.update(actor=owner, adapter=sums, gated="auto")
    gates.ask(actor=stranger, adapter=sums)
    assert told(stranger) == [] and len(told(owner)) == 1, "who is let in at once needs no answer"


def test_jobs(owner: User, modules: list[str], tmp_path: Any) -> None:
    job = claimed(submit(owner, modules, name="good"))
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/one": 1.0}), folder=tmp_path / "out")
    runs.fail(job=claimed(submit(owner, modules, name="bad")), code="x", message="Example 7 is too long.")
    assert told(owner) == ["Your composition good has finished.", "Your composition bad has failed."]


@pytest.mark.parametrize("who", ["stranger", "owner", "staff"])
def test_other_peoples_notifications_are_not_there(sums: Adapter, owner: User, friend: User, stranger: User, who: str) -> None:
    first = comments.add(actor=friend, adapter=sums, body="hello")
    comments.add(actor=owner, adapter=sums, body="hi", reply_to=first)
    row = Notification.objects.get(user=friend)
    actor = {"stranger": stranger, "owner": owner, "staff": User.objects.create_user("moderator", is_staff=True)}[who]
    for number in (row.pk, row.pk + 1000):
        with refused("not-found", 404):
            notifications.read(actor=actor, number=number)
    notifications.read(actor=actor)
    row.refresh_from_db()
    assert row.read_at is None


def test_wishes(sums: Adapter, owner: User, friend: User, django_capture_on_commit_callbacks: Any) -> None:
    assert notifications.wish(user=owner, kind="comment") == (True, False) and notifications.wish(user=owner, kind="moderation") == (True, True)
    notifications.set_wishes(actor=owner, in_app=["like"], mail=["comment"])
    assert notifications.wish(user=owner, kind="moderation") == (True, False), "the list tells of decisions in any case"
    comments.add(actor=friend, adapter=sums, body="hello")
    assert told(owner) == [] and notifications.unread(actor=owner) == 0
    assert mails.send_due() == 1 and "commented on owner/sums" in mail.outbox[0].subject
    notifications.set_wishes(actor=owner, in_app=["like"], mail=[])
    comments.add(actor=friend, adapter=sums, body="again")
    assert Notification.objects.count() == 1
    with refused("kind-invalid", 400):
        notifications.set_wishes(actor=owner, in_app=["nonsense"], mail=[])


def mailed(owner: User, friend: User, adapter: Adapter) -> Notification:
    """A notification whose mail is due."""
    notifications.set_wishes(actor=owner, in_app=["comment"], mail=["comment"])
    comments.add(actor=friend, adapter=adapter, body="Which seed?")
    return Notification.objects.get(user=owner)


def test_a_mail_goes_once(sums: Adapter, owner: User, friend: User) -> None:
    row = mailed(owner, friend, sums)
    with override_settings(PUBLIC_URL="https://hub.example"):
        assert tasks.mail(row.pk) is True
    assert tasks.mail(row.pk) is False and mails.send_due() == 0
    (sent,) = mail.outbox
    assert sent.to == ["owner@example.org"] and "Which seed?" in sent.body
    assert f"https://hub.example/owner/sums/comments#comment-{row.comment_id}" in sent.body and "https://hub.example/settings/notifications" in sent.body


@pytest.mark.parametrize("what", ["read", "hidden", "suspended"])
def test_no_mail_of_what_is_no_longer_news(sums: Adapter, owner: User, friend: User, what: str) -> None:
    row = mailed(owner, friend, sums)
    if what == "read":
        notifications.read(actor=owner)
    elif what == "hidden":
        Comment.objects.update(gone=Comment.Gone.HIDDEN)
    else:
        User.objects.filter(pk=owner.pk).update(is_active=False)
    assert mails.send(number=row.pk) is False and mail.outbox == []


def test_a_mail_that_was_not_taken_is_sent_later(sums: Adapter, owner: User, friend: User, monkeypatch: pytest.MonkeyPatch) -> None:
    row = mailed(owner, friend, sums)
    with monkeypatch.context() as broken:
        broken.setattr(mails, "send_mail", lambda *_: (_ for _ in ()).throw(ConnectionRefusedError()))
        assert mails.send(number=row.pk) is False
    assert mails.send_due() == 1 and len(mail.outbox) == 1


def test_the_doorbell_rings_on_commit(
    sums: Adapter, owner: User, friend: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    rung: list[int] = []
    monkeypatch.setattr("hub.celery.mail", rung.append)
    with django_capture_on_commit_callbacks(execute=True):
        row = mailed(owner, friend, sums)
        assert rung == []
    assert rung == [row.pk]


def test_an_organisations_people_are_told(owner: User, friend: User, stranger: User, upload: Upload) -> None:
    """Invitations go to whom they are for; what concerns its adapters to those who write there, and to nobody who has left."""
    club = organizations.create(actor=owner, name="sum-club")
    organizations.invite(actor=owner, organization=club, username="friend", role="writer")
    assert told(friend) == ["owner invites you to join sum-club as a writer."]
    organizations.answer(actor=friend, organization=club, accept=True)
    shared = adapters.create(actor=friend, name="shared", private=False, owner=club)
    comments.add(actor=stranger, adapter=shared, body="hello")
    for user in (owner, friend):
        assert told(user)[-1] == "stranger commented on sum-club/shared."
    adapters.update(actor=owner, adapter=shared, private=True)
    organizations.remove(actor=friend, organization=club, username="friend")
    assert told(friend) == ["owner invites you to join sum-club as a writer."] and len(told(owner)) == 1
