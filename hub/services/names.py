"""Names of adapters under an account: which can be had, and what to say of those that cannot."""

from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError

from hub.errors import HubError
from hub.models import Adapter, Composition, User
from hub.models.adapters import validate_adapter_name

NOT_THERE = 400  # of a name that nobody can have now; 409 is for an adapter that is there: clients go on to send files to it


def check(account: User, name: str, *, but: Adapter | None = None) -> None:
    """Refuse a bad or taken name early; the constraint in the database has the last word."""
    check_adapters(account, name, but=but, can_add=but is None)
    refuse_claimed(account, name)


def check_adapters(account: User, name: str, *, but: Adapter | None = None, can_add: bool = False) -> None:
    """Refuse a bad name, and one that an adapter has, or had when it was deleted."""
    try:
        validate_adapter_name(name)
    except ValidationError as error:
        raise HubError("name-invalid", error.messages[0], fields={"name": error.messages[0]}) from error
    if Adapter.with_deleted.filter(owner=account, name__iexact=name).exclude(pk=but.pk if but else 0).exists():
        raise taken(account, name, can_add=can_add)


def refuse_claimed(account: User, name: str) -> None:
    """Refuse a name that a composition which waits or runs will need."""
    if is_claimed(account, name):
        raise taken(account, name)


def is_claimed(account: User, name: str) -> bool:
    """Say whether a composition that waits or runs will need the name."""
    return Composition.objects.claiming(account, name).exists()


def free(*, owner: User, name: str) -> str:
    """Return `name`, or `name-2`, `name-3`, ... where an adapter has it or a composition will."""
    candidate, number = name, 1
    while _is_taken(owner, candidate):
        number += 1
        candidate = f"{name[: 95 - len(str(number))]}-{number}"
    return candidate


def taken(account: User, name: str, *, can_add: bool = False) -> HubError:
    """Say that an adapter has the name, a deleted one keeps it, or a composition will need it; with `can_add` a revision of that adapter would do too."""
    there = Adapter.with_deleted.filter(owner=account, name__iexact=name).first()
    if there is not None and there.taken_down:
        return _refused("name-taken", f"{there.repo_id} was taken down by the hub's moderators, and its name stays taken. Choose another name.", NOT_THERE)
    if there is not None and there.deleted_at is not None:
        until = there.deleted_at + timedelta(days=settings.DELETED_DAYS)
        text = (
            f"{there.repo_id} was deleted; until {until:%Y-%m-%d %H:%M} UTC it can be restored, and its name waits. Under settings you can delete it for good."
        )
        return _refused("name-deleted", text, NOT_THERE)
    if there is None and is_claimed(account, name):
        return _refused("name-taken", f"A composition that waits or runs will become {account.username}/{name}. Choose another name.", NOT_THERE)
    instead = "Choose another name, or add a revision to that adapter." if can_add else "Choose another name."
    return _refused("name-taken", f"{account.username}/{name} exists already. {instead}", 409)


def _refused(code: str, text: str, status: int) -> HubError:
    return HubError(code, text, status=status, fields={"name": text})


def _is_taken(owner: User, name: str) -> bool:
    return Adapter.with_deleted.filter(owner=owner, name__iexact=name).exists() or is_claimed(owner, name)
