"""Names of adapters under an account: which can be had, and what to say of those that cannot."""

from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError

from hub.errors import HubError
from hub.models import Adapter, Composition, User
from hub.models.adapters import validate_adapter_name


def check(account: User, name: str, *, but: Adapter | None = None) -> None:
    """Refuse a bad or taken name early; the constraint in the database has the last word."""
    try:
        validate_adapter_name(name)
    except ValidationError as error:
        raise HubError("name-invalid", error.messages[0], fields={"name": error.messages[0]}) from error
    if Adapter.with_deleted.filter(owner=account, name__iexact=name).exclude(pk=but.pk if but else 0).exists():
        raise taken(account, name)
    refuse_claimed(account, name)


def refuse_claimed(account: User, name: str) -> None:
    """Refuse a name that a running composition will need."""
    if Composition.objects.claiming(account, name).exists():
        raise taken(account, name)


def free(*, owner: User, name: str) -> str:
    """Return `name`, or `name-2`, `name-3`, ... where an adapter has it or a composition will."""
    candidate, number = name, 1
    while _is_taken(owner, candidate):
        number += 1
        candidate = f"{name[: 95 - len(str(number))]}-{number}"
    return candidate


def taken(account: User, name: str) -> HubError:
    """Say that the name is taken, or waits for a deleted adapter."""
    there = Adapter.with_deleted.filter(owner=account, name__iexact=name).first()
    if there is not None and there.taken_down:
        text = f"{there.repo_id} was taken down by the hub's moderators, and its name stays taken. Choose another name."
        return HubError("name-taken", text, status=409, fields={"name": "This name stays taken."})
    if there is None or there.deleted_at is None:
        text = f"{account.username}/{name} exists already. Choose another name, or add a revision to that adapter."
        return HubError("name-taken", text, status=409, fields={"name": "This name is taken."})
    until = there.deleted_at + timedelta(days=settings.DELETED_DAYS)
    text = f"{there.repo_id} was deleted; until {until:%Y-%m-%d %H:%M} UTC it can be restored, and its name waits. Under settings you can delete it for good."
    # Not 409: clients take that for "it is there", and go on to send files.
    return HubError("name-deleted", text, fields={"name": "A deleted adapter has this name."})


def _is_taken(owner: User, name: str) -> bool:
    return Adapter.with_deleted.filter(owner=owner, name__iexact=name).exists() or Composition.objects.claiming(owner, name).exists()
