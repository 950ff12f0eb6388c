"""The audit log: verbs append to it inside their transactions; owners read what concerns what is theirs.

Of the address of a request only its first part is kept (IPv4 /24, IPv6 /48), and only of events about an account: sign-ins, passwords, tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from hub.models import Adapter, Composition, Event, User

if TYPE_CHECKING:
    from hub.models.adapters import Actor

SHORTENED = {4: 24, 6: 48}  # bits of an address that are kept
LOOKED_AT = 64  # transactions that may be under way at once
NOISE = ("adapter.like", "adapter.unlike", "profile.end")  # public, and no owner's business to check

_source: ContextVar[tuple[str, str]] = ContextVar("audit_source", default=(Event.Door.SERVER, ""))


@contextmanager
def coming_through(door: str, address: str = "") -> Iterator[None]:
    """Note the door, and the address behind it, of whatever is recorded meanwhile."""
    token = _source.set((door, address))
    try:
        yield
    finally:
        _source.reset(token)


def record(actor: "Actor | None", verb: str, thing: Model | str, /, **data: Any) -> None:
    """Append one event about an adapter, an account, a composition or any other row; call it inside the verb's transaction.

    `verb` is the kind of object and what was done to it, such as "adapter.rename". `data` is small and holds nothing that is secret.
    """
    door, address = _source.get()
    kind, pk, subject, account = _described(thing)
    Event.objects.create(
        actor=actor if isinstance(actor, User) else None,
        verb=verb,
        subject=subject[:200],
        kind=kind,
        object_id=pk,
        account_id=account,
        door=door,
        network=_network(address) if isinstance(thing, User) and not thing.is_organization else "",
        data=data,
    )


def count(actor: User, verb: str, within: timedelta) -> int:
    """Count how often the actor did this within the time up to now. Unlike the things themselves, events cannot be deleted to begin anew."""
    return Event.objects.filter(actor=actor, verb=verb, at__gt=timezone.now() - within).count()


def latest() -> str:
    """Return what changes with every event: the last number, and the sum of the last few, because an earlier number may become visible later."""
    with connection.cursor() as cursor:  # asked for every page, and putting it into words takes Django longer than the database needs
        cursor.execute("SELECT MAX(id), SUM(id) FROM (SELECT id FROM hub_event ORDER BY id DESC LIMIT %s) AS newest", [LOOKED_AT])
        last, total = cursor.fetchone()
    return f"{last}-{total}"


def of_adapter(*, adapter: Adapter) -> QuerySet[Event]:
    """List what was done to an adapter, whatever its name and owner were then; for those who asked `access`."""
    return _shown().filter(kind=Adapter.Kind(adapter.kind).value, object_id=adapter.pk)


def of_account(*, account: User) -> QuerySet[Event]:
    """List what was done to an account, to what is under its name, and by it; for those who asked `access`."""
    return _shown().filter(Q(account=account) | Q(actor=account))


def _shown() -> QuerySet[Event]:
    return Event.objects.select_related("actor").exclude(verb__in=NOISE)


def _described(thing: Model | str) -> tuple[str, int | None, str, int | None]:
    """Return kind, key, name and owning account of an object."""
    if isinstance(thing, str):
        return "", None, thing, None
    if isinstance(thing, Adapter):
        return str(thing.kind), thing.pk, thing.repo_id, thing.owner_id
    if isinstance(thing, User):
        return "organization" if thing.is_organization else "user", thing.pk, f"user:{thing.username}", thing.pk
    if isinstance(thing, Composition):
        return "composition", thing.pk, f"composition:{thing.pk}", thing.owner_id
    kind = thing._meta.model_name or ""
    return kind, thing.pk, f"{kind}:{thing.pk}", None


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network(f"{found}/{SHORTENED[found.version]}", strict=False))
