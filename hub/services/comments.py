"""The verbs of comments: say, edit, delete, find, list. Who may see an adapter may see and add to what is said about it."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hub.errors import HubError, not_found
from hub.models import Adapter, Comment, User
from hub.services import access, audit, notifications, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_BODY = 5_000
RATE, WINDOW = 20, timedelta(minutes=10)  # comments of one person


@transaction.atomic
def add(*, actor: "Actor", adapter: Adapter, body: str, reply_to: Comment | None = None) -> Comment:
    """Say something about an adapter, or answer somebody who did; an answer to an answer joins the same conversation."""
    user = access.require_login(actor)
    now = Adapter.objects.visible_to(user).select_related("owner").filter(pk=adapter.pk).first()
    if now is None:
        raise not_found()
    text = _clean(body)
    if reply_to is not None and (reply_to.adapter_id != adapter.pk or reply_to.gone):
        raise HubError("comment-gone", "The comment that you answer is no longer there.", status=409)
    if audit.count(user, "comment.create", WINDOW) >= RATE:
        raise HubError("too-many-comments", "You have written many comments in a short time. Wait ten minutes.", status=429)
    comment = Comment.objects.create(adapter=now, author=user, parent_id=_root(reply_to), body=text)
    audit.record(user, "comment.create", comment, adapter=now.repo_id)
    notifications.commented(comment=comment)
    return comment


@transaction.atomic
def edit(*, actor: "Actor", comment: Comment, body: str) -> Comment:
    """Change one's own words; readers see that they were changed."""
    user = access.require_login(actor)
    comment = _held(user, comment)
    if comment.author_id != user.pk:
        raise HubError("forbidden", f"Only {comment.author.username} can change this comment.", status=403)
    text = _clean(body)
    if text != comment.body:
        comment.body, comment.edited_at = text, timezone.now()
        comment.save(update_fields=["body", "edited_at"])
        audit.record(user, "comment.edit", comment, adapter=comment.adapter.repo_id)
    return comment


@transaction.atomic
def delete(*, actor: "Actor", comment: Comment) -> None:
    """Delete one's own comment, or one under an adapter of one's own. Where it has answers, its place stays without its words."""
    user = access.require_login(actor)
    comment = _held(user, comment)
    if not may_delete(user, comment):
        raise HubError("forbidden", f"Only {comment.author.username} and {comment.adapter.owner.username} can delete this comment.", status=403)
    audit.record(user, "comment.delete", comment, adapter=comment.adapter.repo_id, author=comment.author.username)
    if comment.replies.exists():
        Comment.objects.filter(pk=comment.pk).update(gone=Comment.Gone.DELETED, body="", edited_at=None)
        return
    root = comment.parent
    comment.delete()
    if root is not None and root.gone == Comment.Gone.DELETED and not root.replies.exists():
        root.delete()


def find(*, actor: "Actor", adapter: Adapter, number: int) -> Comment:
    """Return a comment under an adapter that the actor sees, or "not found"."""
    rows = Comment.objects.visible_to(actor).filter(adapter=adapter, pk=number).exclude(gone=Comment.Gone.DELETED)
    comment = rows.select_related("author", "adapter__owner").first()
    if comment is None or (comment.gone and not (actor.is_authenticated and actor.is_staff)):
        raise not_found("comment")
    return comment


def page(*, actor: "Actor", adapter: Adapter, limit: int, cursor: str = "") -> tuple[list[Comment], str]:
    """Return comments by conversation, the newest first, and the cursor of the page after; hidden words are left out."""
    rows = Comment.objects.visible_to(actor).filter(adapter=adapter).threads()
    if cursor:
        thread, _, last = cursor.partition("-")
        if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (thread, last)):
            raise HubError("cursor-invalid", "This cursor is not one of ours. Start from the first page.", fields={"cursor": "Not one of ours."})
        rows = rows.filter(Q(thread__lt=int(thread)) | Q(thread=int(thread), pk__gt=int(last)))
    found = list(rows[: limit + 1])
    for comment in found:
        if comment.gone:
            comment.body = ""
    last_one = found[limit - 1] if len(found) > limit else None
    return found[:limit], f"{last_one.parent_id or last_one.pk}-{last_one.pk}" if last_one else ""


def may_delete(actor: "Actor", comment: Comment) -> bool:
    """Say whether the actor may delete the comment."""
    return actor.is_authenticated and (comment.author_id == actor.pk or actor.is_staff or access.may_manage(actor, comment.adapter))


def _held(user: User, comment: Comment) -> Comment:
    """Return the comment as it is now, and keep others from changing it until the transaction ends."""
    rows = Comment.objects.visible_to(user).select_for_update(of=("self",)).select_related("author", "adapter__owner", "parent")
    now = rows.filter(pk=comment.pk, gone="").first()
    if now is None:
        raise not_found("comment")
    return now


def _root(comment: Comment | None) -> int | None:
    return None if comment is None else comment.parent_id or comment.pk


def _clean(body: str) -> str:
    text = texts.storable(body).strip()
    if not texts.is_visible(text):
        raise HubError("comment-invalid", "Write something first.", fields={"body": "It is empty."})
    if len(text) > MAX_BODY:
        raise HubError(
            "comment-invalid",
            f"A comment has at most {MAX_BODY:,} characters; this one has {len(text):,}.",
            fields={"body": f"At most {MAX_BODY:,} characters."},
        )
    return text
