"""Writes the event log."""

from typing import TYPE_CHECKING, Any

from hub.models import Event, User

if TYPE_CHECKING:
    from hub.models.adapters import Actor


def record(actor: "Actor | None", verb: str, subject: str, **data: Any) -> None:
    """Append one event; call it inside the verb's transaction."""
    Event.objects.create(actor=actor if isinstance(actor, User) else None, verb=verb, subject=subject[:200], data=data)
