"""Says in words what a notification tells, for the list, the API and the mail alike."""

from dataclasses import dataclass

from hub import card
from hub.models import Composition, Notification

Kind = Notification.Kind
EXCERPT = 140


@dataclass(frozen=True)
class Told:
    """A sentence, the beginning of what was said where something was, and the path of the page that shows it."""

    text: str
    excerpt: str
    path: str


def told(row: Notification) -> Told:
    """Return what a row of `notifications.listing` tells."""
    who = row.actor.username if row.actor else "Somebody"
    name = row.adapter.repo_id if row.adapter else ""
    page = f"/{name}"
    if row.kind == Kind.COMPOSED:
        used = row.used.repo_id if row.used else "an adapter of yours"
        return Told(f"{who} published {name}, composed with {used}.", "", page)
    if row.comment is not None:
        text = f"{who} commented on {name}." if row.kind == Kind.COMMENT else f"{who} answered in a conversation about {name}."
        return Told(text, _excerpt(row.comment.body), f"{page}/comments#comment-{row.comment_id}")
    if row.kind == Kind.LIKE:
        return Told(_liked(who, getattr(row, "people", 0) or 0, name), "", page)
    if row.kind == Kind.ACCESS_ASKED:
        return Told(f"{who} asks for the files of {name}.", "", f"{page}/settings#access")
    if row.kind == Kind.ACCESS_ANSWERED:
        good = row.data.get("accepted")
        return Told(f"You may have the files of {name} now." if good else f"Your request for the files of {name} was rejected.", "", page)
    if row.composition is not None:
        return Told(_ended(row.composition), "", f"/compositions/{row.composition_id}")
    return Told(str(row.data.get("text", "")), str(row.data.get("excerpt", "")), str(row.data.get("path", "")))


def _liked(who: str, people: int, name: str) -> str:
    if people < 2:
        return f"{who} likes {name}."
    return f"{who} and {people - 1} other {'person' if people == 2 else 'people'} like {name}."


def _ended(job: Composition) -> str:
    if job.status == Composition.Status.FAILED:
        return f"Your composition {job.name} has failed."
    if job.result_id is None:
        return f"Your composition {job.name} has ended, and nothing was published."
    return f"Your composition {job.name} has finished."


def _excerpt(text: str) -> str:
    line = card.plain(text)
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"
