"""Comments: saying, editing, deleting, listing, and who may."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.models import Adapter, Comment, User
from hub.services import adapters, comments
from tests.services.stage import refused, verbs


def said(actor: User, adapter: Adapter, body: str = "Works for me.", **more: Any) -> Comment:
    """A comment."""
    return comments.add(actor=actor, adapter=adapter, body=body, **more)


def bodies(adapter: Adapter, actor: Any = None, **more: Any) -> list[str]:
    """What a reader finds, in order."""
    found, _ = comments.page(actor=actor or AnonymousUser(), adapter=adapter, limit=50, **more)
    return [comment.body or comment.gone for comment in found]


def test_it_works(sums: Adapter, owner: User, friend: User) -> None:
    first = said(friend, sums, "  Which seed?\n")
    said(owner, sums, "Later thread")
    answer = said(owner, sums, "Seven", reply_to=first)
    said(friend, sums, "Thanks", reply_to=answer)
    assert bodies(sums) == ["Later thread", "Which seed?", "Seven", "Thanks"]
    assert set(first.replies.values_list("body", flat=True)) == {"Seven", "Thanks"}, "answers to answers join the conversation"
    comments.edit(actor=friend, comment=first, body="Which seed was it?")
    first.refresh_from_db()
    assert first.edited_at and first.body == "Which seed was it?"
    assert verbs().count("comment.create") == 4 and verbs()[-1] == "comment.edit"


def test_saying_the_same_again_is_no_edit(sums: Adapter, friend: User) -> None:
    comment = said(friend, sums)
    assert comments.edit(actor=friend, comment=comment, body=comment.body).edited_at is None


@pytest.mark.parametrize("body", ["", " \n\t", "x" * 5001, "\x00\ud800"], ids=["empty", "blank", "long", "unstorable"])
def test_what_cannot_be_said(sums: Adapter, friend: User, body: str) -> None:
    with refused("comment-invalid", 400):
        said(friend, sums, body)
    comment = said(friend, sums, "x" * 5000)
    with refused("comment-invalid", 400):
        comments.edit(actor=friend, comment=comment, body=body)


def test_who_may_not(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    comment = said(friend, sums)
    with refused("login-required", 401):
        said(AnonymousUser(), sums)  # type: ignore[arg-type]
    for actor in (owner, stranger, User.objects.create_user("moderator", is_staff=True)):
        with refused("forbidden", 403):
            comments.edit(actor=actor, comment=comment, body="Something else")
    with refused("forbidden", 403):
        comments.delete(actor=stranger, comment=comment)
    comment.refresh_from_db()
    assert comment.body == "Works for me."


@pytest.mark.parametrize("who", ["author", "adapter's owner", "staff"])
def test_who_may_delete(sums: Adapter, owner: User, friend: User, who: str) -> None:
    comment = said(friend, sums)
    actor = {"author": friend, "adapter's owner": owner, "staff": User.objects.create_user("moderator", is_staff=True)}[who]
    comments.delete(actor=actor, comment=comment)
    assert not Comment.objects.exists()


def test_a_deleted_comment_leaves_its_place_as_long_as_it_has_answers(sums: Adapter, owner: User, friend: User) -> None:
    first = said(friend, sums, "words to forget")
    answer = said(owner, sums, "Answered", reply_to=first)
    comments.delete(actor=friend, comment=first)
    assert bodies(sums) == ["deleted", "Answered"]
    assert Comment.objects.get(pk=first.pk).body == "", "the words are gone from the database too"
    for call in (lambda: comments.find(actor=friend, adapter=sums, number=first.pk), lambda: comments.delete(actor=friend, comment=first)):
        with refused("not-found", 404):
            call()
    with refused("comment-gone", 409):
        said(owner, sums, reply_to=Comment.objects.get(pk=first.pk))
    comments.delete(actor=owner, comment=answer)
    assert not Comment.objects.exists()


def test_hidden_words_are_for_moderators(sums: Adapter, owner: User, friend: User) -> None:
    comment = said(friend, sums, "rude words")
    Comment.objects.update(gone=Comment.Gone.HIDDEN)
    assert bodies(sums, owner) == ["hidden"]
    for actor in (friend, owner):
        with refused("not-found", 404):
            comments.find(actor=actor, adapter=sums, number=comment.pk)
        with refused("not-found", 404):
            comments.delete(actor=actor, comment=comment)
    staff = User.objects.create_user("moderator", is_staff=True)
    assert comments.find(actor=staff, adapter=sums, number=comment.pk).body == "rude words"


def test_a_private_adapter_takes_its_comments_with_it(sums: Adapter, owner: User, friend: User, stranger: User) -> None:
    comment = said(friend, sums)
    adapters.update(actor=owner, adapter=sums, private=True)
    assert bodies(sums, owner) == ["Works for me."]
    for actor in (friend, stranger):
        assert bodies(sums, actor) == []
        for call in (
            lambda a=actor: said(a, sums),
            lambda a=actor: comments.find(actor=a, adapter=sums, number=comment.pk),
            lambda a=actor: comments.edit(actor=a, comment=comment, body="x"),
            lambda a=actor: comments.delete(actor=a, comment=comment),
        ):
            with refused("not-found", 404):
                call()


def test_a_comment_is_found_under_its_own_adapter_only(sums: Adapter, owner: User, friend: User) -> None:
    other = adapters.create(actor=owner, name="other")
    comment = said(friend, sums)
    with refused("not-found", 404):
        comments.find(actor=friend, adapter=other, number=comment.pk)
    with refused("comment-gone", 409):
        said(friend, other, reply_to=comment)


def test_pages_go_on_inside_a_conversation(sums: Adapter, owner: User) -> None:
    first = said(owner, sums, "0")
    for n in range(1, 4):
        said(owner, sums, str(n), reply_to=first)
    said(owner, sums, "new")
    found, cursor, pages = [], "", 0
    while cursor or not pages:
        rows, cursor = comments.page(actor=owner, adapter=sums, limit=2, cursor=cursor)
        found += [row.body for row in rows]
        pages += 1
    assert (found, pages) == (["new", "0", "1", "2", "3"], 3)
    for wrong in ("x", "1", "1-", "1-x", "-1", f"{'9' * 30}-1"):
        with refused("cursor-invalid", 400):
            comments.page(actor=owner, adapter=sums, limit=2, cursor=wrong)


def test_deleting_does_not_lift_the_limit(sums: Adapter, friend: User, owner: User) -> None:
    for _ in range(comments.RATE):
        comments.delete(actor=friend, comment=said(friend, sums))
    with refused("too-many-comments", 429):
        said(friend, sums)
    said(owner, sums)
