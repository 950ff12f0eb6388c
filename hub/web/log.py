"""The audit log in sentences, a page at a time."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from hub.models import Event

PAGE = 50
BRIEF = 6
SENTENCES = {
    "account.create": "made the account",
    "account.login": "logged in",
    "account.password": "changed the password",  # pragma: allowlist secret
    "account.email": "changed the e-mail addresses",
    "account.factor": "changed the second factors: {factor} {change}",
    "token.create": "made the token “{name}” ({scope})",
    "token.revoke": "revoked the token “{name}”",
    "organization.create": "created it",
    "organization.update": "changed what it says of itself",
    "organization.rename": "renamed it from {before}",
    "member.invite": "asked {user} to join as {role}",
    "member.withdraw": "took the invitation of {user} back",
    "member.join": "joined as {role}",
    "member.decline": "did not want to join",
    "member.role": "made {user} a {role}, from {before}",
    "member.leave": "left",
    "member.remove": "removed {user}",
    "adapter.create": "made it",
    "adapter.commit": "added revision {sha:.7}",
    "adapter.rename": "renamed it from {before}",
    "adapter.offer": "offered it to {to}",
    "adapter.decline": "ended the offer to {to}",
    "adapter.hand-over": "handed it over: it is {to} now",
    "adapter.transfer": "took it over: it was {before}",
    "adapter.hide": "made it private",
    "adapter.publish": "made it public",
    "adapter.gate": "gated its files ({gated})",
    "adapter.open": "opened its files",
    "adapter.tag": "changed its tags",
    "adapter.archive": "archived it",
    "adapter.unarchive": "took it out of the archive",
    "adapter.delete": "deleted it",
    "adapter.restore": "restored it",
    "adapter.purge": "removed it for good",
    "base-model.create": "made it",
    "base-model.delete": "deleted it",
    "branch.create": "made the branch {name}",
    "branch.delete": "deleted the branch {name}",
    "tag.create": "tagged a revision as {name}",
    "tag.delete": "deleted the tag {name}",
    "access.ask": "asked for its files",
    "access.accepted": "let {user} have its files",
    "access.rejected": "refused {user} its files",
    "access.pending": "put the request of {user} back",
    "composition.submit": "started it",
    "composition.cancel": "cancelled it",
    "composition.finish": "ended its search",
    "composition.succeed": "ended it: {verdict}",
    "composition.prioritise": "gave it another place in the queue: {priority}",
    "composition.fail": "ended it with an error: {code}",
    "account.change": "changed what it says of itself",
    "account.suspend": "suspended it",
    "account.reinstate": "opened it again",
    "adapter.take-down": "took it down: {reason}",
    "adapter.put-back": "brought it back",
    "collection.create": "made the collection",
    "collection.change": "changed the collection",
    "collection.delete": "deleted the collection “{title}”",
    "collection.add": "put {adapter} into the collection",
    "collection.remove": "took {adapter} out of the collection",
    "comment.create": "commented on {adapter}",
    "comment.edit": "changed a comment on {adapter}",
    "comment.delete": "deleted a comment of {author} on {adapter}",
    "comment.hide": "hid a comment of {author} on {adapter}: {reason}",
    "comment.show": "showed a hidden comment on {adapter} again",
    "import.submit": "began to import {repo_id}",
    "import.succeed": "imported {repo_id} as {adapter}",
    "import.fail": "an import ended with an error: {code}",
    "import.cancel": "cancelled an import",
    "namespace.create": "made it, to host base models",
    "organization.delete": "deleted it",
    "report.create": "reported it",
    "report.dismiss": "left what was reported as it is",
    "workertoken.create": "made the worker token “{name}”",
    "workertoken.revoke": "revoked the worker token “{name}”",
    "staff.add": "added it, as staff",
    "staff.change": "changed it, as staff",
    "staff.delete": "deleted it, as staff",
}

# What they decide is the hub's word to those whom it concerns; who of them it was stands in the audit log, for the operator.
MODERATORS = frozenset(("account.suspend", "account.reinstate", "adapter.take-down", "adapter.put-back", "comment.hide", "comment.show"))


@dataclass(frozen=True)
class Line:
    """One event, as a person reads it."""

    event: Event
    who: str
    said: str
    about: str  # what it was done to, where that is not clear from the page


@dataclass(frozen=True)
class Page:
    """Some lines, and the key of the last one where there are more."""

    lines: list[Line]
    before: int | None


def page(request: HttpRequest, rows: QuerySet[Event], *, brief: bool = False) -> Page:
    """Return a page of the log, from the event that the address names backwards; or, for another page, the last few."""
    given = request.GET.get("before", "")
    if not brief and given.isascii() and given.isdigit() and len(given) < 19:
        rows = rows.filter(pk__lt=int(given))
    size = BRIEF if brief else PAGE
    found = list(rows.order_by("-pk")[: size + 1])
    return Page([_line(event) for event in found[:size]], found[size - 1].pk if len(found) > size else None)


def _line(event: Event) -> Line:
    who = "The hub's moderators" if event.verb in MODERATORS else event.actor.username if event.actor else "The hub"
    return Line(event, who, _said(event), event.subject.removeprefix("user:"))


def _said(event: Event) -> str:
    known = SENTENCES.get(event.verb)
    values: dict[str, Any] = event.data
    try:
        return known.format(**values) if known else event.verb.replace(".", ": ").replace("-", " ")
    except (KeyError, ValueError):  # written by an older release
        return event.verb
