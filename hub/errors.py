"""The one error the hub raises for what its user can mend."""

from collections.abc import Mapping


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
