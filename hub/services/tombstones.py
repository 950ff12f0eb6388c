"""What is left of an adapter that was taken down: a refusal that says so, to whoever could see it before."""

from typing import TYPE_CHECKING

from django.db.models import Q

from hub.errors import HubError
from hub.models import Adapter, Report
from hub.services import access, accounts

if TYPE_CHECKING:
    from hub.models.adapters import Actor


def refuse(*, actor: "Actor", owner: str, name: str) -> None:
    """Say that the adapter of this name was taken down, if it was; of a private one that is said to those alone who could see it."""
    people = accounts.ever_named(owner)
    here = Q(owner__in=people, name__iexact=name) | Q(former_names__owner__in=people, former_names__name__iexact=name)
    row = Adapter.with_deleted.filter(here, taken_down=True).select_related("owner", "takedown").first()
    if row is None:
        return
    is_concerned = bool(access.role_at(actor, row.owner)) or (actor.is_authenticated and actor.is_staff)
    if row.private and not is_concerned:
        return
    raise HubError("taken-down", _sentence(row, is_concerned), status=410, fields={"reason": row.takedown.reason})


def _sentence(row: Adapter, is_concerned: bool) -> str:
    at, label = row.takedown.created_at, Report.Reason(row.takedown.reason).label
    text = f"{row.repo_id} was taken down by the hub's moderators on {at.day} {at:%B %Y}. Reason: {label[:1].lower()}{label[1:]}."
    said = row.takedown.text
    return f"{text} {said}{'' if said.endswith('.') else '.'}" if is_concerned and said else text
