"""Logging in a program through the browser: what it asked for, what a person answered, and the access token that comes of it.

django-allauth speaks the protocol and keeps the codes; its part for that is internal, so requirements name one release of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from allauth.core.internal.ratelimit import cache_lock
from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.internal.oauthlib import device_codes
from allauth.idp.oidc.models import Client, Token
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from hub.errors import HubError
from hub.models import AccessToken
from hub.services import access, accounts, audit

if TYPE_CHECKING:
    from hub.models.adapters import Actor

HF = "26be6b09-91c5-47da-9861-d2d2bb7a7e36"  # the id that every Hugging Face client has built in; it is public
HF_NAME = "The Hugging Face client (hf)"
GRACE = timedelta(hours=1)  # what a program is sending when it renews its token still goes through with the old one
READ, WRITE = AccessToken.Scope.READ, AccessToken.Scope.WRITE
Answer = dict[str, Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a program that waits asked for."""

    program: str
    user_code: str
    scope: str
    address: str
    at: datetime


def know_programs() -> None:
    """Register the programs that may ask: public ones, by device code alone, and never for an id token."""
    Client.objects.update_or_create(
        id=HF,
        defaults={
            "name": HF_NAME,
            "type": Client.Type.PUBLIC,
            "scopes": f"{READ}\n{WRITE}",
            "default_scopes": WRITE,
            "grant_types": f"{Client.GrantType.DEVICE_CODE}\n{Client.GrantType.REFRESH_TOKEN}",
            "response_types": "",
            "redirect_uris": "",
            "secret": "!",  # no hash, so that no secret matches
        },
    )


def remember(*, device_code: str, address: str) -> None:
    """Note where a program asked from, for the person who has to judge it."""
    with _held(device_code) as found:
        if found is not None:
            device_codes.update_device_state(device_code, {**found, "address": address})


def asked(*, device_code: str) -> Asked | None:
    """Return what the program that holds this code asked for; None when it is unknown, answered and fetched, or too old."""
    if (found := record(device_code=device_code)) is None:
        return None
    client = Client.objects.get(pk=found["client_id"])
    at = datetime.fromtimestamp(found["expires_at"] - settings.IDP_OIDC_DEVICE_CODE_EXPIRES_IN, UTC)
    return Asked(client.name, found["device"]["user_code"], _scope(found["scope"] or client.get_default_scopes()), found.get("address", ""), at)


def grant(*, actor: "Actor", device_code: str, name: str, scope: str) -> None:
    """Let the program in as the actor, with at most what it asked for."""
    user = access.require_login(actor)
    name = accounts.check_token(user=user, name=name, scope=scope)
    wanted = asked(device_code=device_code)
    if wanted is not None and scope == WRITE != wanted.scope:
        raise HubError("token-invalid", "The program did not ask for that much.", fields={"scope": "It asked to read only."})
    _answer(device_code, granted=True, user=str(user.pk), scope=[scope], name=name)


def deny(*, actor: "Actor", device_code: str) -> None:
    """Send the program away."""
    user = access.require_login(actor)
    _answer(device_code, granted=False, user=str(user.pk))


def record(*, device_code: str) -> Record | None:
    """Return what is kept of a program that waits; None when the code is unknown, used or too old."""
    found: Record | None = cache.get(device_codes.cache_device_code_key(device_code))
    return found


@contextmanager
def alone(device_code: str) -> Iterator[bool]:
    """Keep everyone else from this code; the value says whether that worked. Each change of its record is a read and a write."""
    with cache_lock(f"login:{device_code}") as held:
        yield held


@transaction.atomic
def begin(*, answer: Answer, record: Record) -> Answer:
    """Put a token of ours in the place of allauth's, which is forgotten: doors and the settings page know one kind."""
    name, scope = record["name"], _scope(record["scope"])
    secret = Token.objects.lookup(Token.Type.REFRESH_TOKEN, answer["refresh_token"])
    assert secret is not None and secret.user is not None and secret.client is not None
    assert secret.get_scopes() == [scope] and str(secret.user.pk) == record["user"]
    _forget_dead(secret.user)
    _, text = AccessToken.objects.create(user=secret.user, name=name, scope=scope, expiry=_lifetime(answer), refresh_digest=secret.hash)
    audit.record(secret.user, "token.create", secret.user, name=name, scope=scope, program=secret.client.name)
    return _ours(answer, text, scope)


def renewable(*, refresh_token: str) -> AccessToken | None:
    """Return the token that may be renewed with this secret, and keep others from renewing it until the transaction ends."""
    digest = get_adapter().hash_token(refresh_token)
    return AccessToken.objects.select_for_update().filter(refresh_digest=digest).first()


@transaction.atomic
def renew(*, token: AccessToken, answer: Answer) -> Answer:
    """Put a new token in the place of one that ends soon."""
    secret = Token.objects.lookup(Token.Type.REFRESH_TOKEN, answer["refresh_token"])
    assert secret is not None and secret.user_id == token.user_id
    scope = _scope(secret.get_scopes())
    AccessToken.objects.filter(renewed_by=token).delete()
    fresh, text = AccessToken.objects.create(user=token.user, name=token.name, scope=scope, expiry=_lifetime(answer))
    ends = min(timezone.now() + GRACE, token.expiry or timezone.now())
    AccessToken.objects.filter(pk=token.pk).update(refresh_digest="", renewed_by=fresh, expiry=ends)
    AccessToken.objects.filter(pk=fresh.pk).update(refresh_digest=secret.hash, created=token.created)
    return _ours(answer, text, scope)


def _answer(device_code: str, **change: Any) -> None:
    with _held(device_code) as found:
        if found is None or found["granted"] is not None or not device_codes.update_device_state(device_code, {**found, **change}):
            raise HubError("code-unknown", "The code was answered already, or has become too old. Start the program's login again.", status=409)


@contextmanager
def _held(device_code: str) -> Iterator[Record | None]:
    with alone(device_code) as held:
        if not held:
            raise HubError("busy", "The program is asking at this very moment. Try again.", status=409)
        yield record(device_code=device_code)


def _scope(names: list[str]) -> str:
    return WRITE if WRITE in names else READ


def _lifetime(answer: Answer) -> timedelta:
    return timedelta(seconds=answer["expires_in"])


def _ours(answer: Answer, text: str, scope: str) -> Answer:
    Token.objects.by_value(answer["access_token"]).filter(type=Token.Type.ACCESS_TOKEN).delete()
    return {**answer, "access_token": text, "scope": scope}


def _forget_dead(user: Any) -> None:
    Token.objects.expired().filter(user=user).delete()
    AccessToken.objects.filter(user=user, expiry__lte=timezone.now(), renewed_by=None).exclude(pk__in=accounts.tokens(user=user)).delete()
