"""The one error the hub raises for what its user can mend."""

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class HubError(Exception):
    """A request that cannot be carried out, and why.

    `code` is stable and meant for programs; `message` is one sentence for people; `fields` maps a field's name to its own sentence.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = dict(fields or {})


def not_found(what: str = "adapter") -> HubError:
    """Say that something does not exist, in the same words whether it is missing or hidden from the asker."""
    return HubError("not-found", f"There is no such {what}, or you may not see it.", status=404)


def database_away(error: BaseException | None) -> HubError | None:
    """Return what people are told where the database does not answer, or not now; None for every other error. It is logged."""
    from django.db import InterfaceError, OperationalError  # what reads cards and configs needs no Django

    if not isinstance(error, OperationalError | InterfaceError):
        return None
    logger.error("the database does not answer: %s", error, exc_info=error)
    return HubError("database-unavailable", "The hub's database does not answer right now. Try again in a minute.", status=503)
