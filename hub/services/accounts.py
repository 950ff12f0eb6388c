"""Accounts and access tokens."""

import re
from typing import TYPE_CHECKING, Any

from allauth.idp.oidc.models import Token
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django.utils import timezone
from knox.crypto import hash_token

from hub.errors import HubError
from hub.models import AccessToken, Adapter, User
from hub.models.accounts import validate_username
from hub.services import access, audit, prepared, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_TOKENS = 50
MAX_EMAIL = 254
PROFILE = {"display_name": 60, "about": 500, "website": 200}  # characters
_TOKEN = re.compile(r"[!-~]{1,200}")


def create_user(*, username: str, email: str, password: str) -> User:
    """Create an account as the sign-up page does, without a mail to confirm."""
    username = username.strip().lower()
    if is_namespace(username):
        raise HubError("name-taken", namespace_sentence(username), status=409, fields={"username": namespace_sentence(username)})
    fields: dict[str, str] = {}
    for name, value, check in (("username", username, validate_username), ("email", email, validate_email)):
        try:
            check(value)
        except ValidationError as error:
            fields[name] = " ".join(error.messages)
    if len(email) > MAX_EMAIL:
        fields["email"] = f"The address has more than {MAX_EMAIL} characters."
    try:
        validate_password(password, User(username=username, email=email))
    except ValidationError as error:
        fields["password"] = " ".join(error.messages)
    if fields:
        raise HubError("account-invalid", " ".join(fields.values()), fields=fields)
    _refuse_taken(username, email)
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, email=email, password=password)
            audit.record(user, "account.create", user)
    except IntegrityError:
        _refuse_taken(username, email)
        raise
    return user


@transaction.atomic
def change_profile(*, actor: "Actor", display_name: str, about: str, website: str) -> User:
    """Keep what a person says of themself."""
    user = access.require_login(actor)
    given = {"display_name": display_name, "about": about, "website": website}
    clean = {name: " ".join(texts.storable(value).split()) for name, value in given.items()}
    for name, limit in PROFILE.items():
        if len(clean[name]) > limit:
            raise HubError("profile-invalid", f"This has at most {limit} characters.", fields={name: f"At most {limit} characters."})
    if clean["website"]:
        try:
            URLValidator(schemes=["http", "https"])(clean["website"])
        except ValidationError as error:
            text = "A website's address begins with https:// or http://."
            raise HubError("profile-invalid", text, fields={"website": text}) from error
    User.objects.filter(pk=user.pk).update(**clean)
    audit.record(user, "account.change", user, fields=sorted(clean))
    return user


@transaction.atomic
def create_token(*, actor: "Actor", name: str, scope: str) -> tuple[AccessToken, str]:
    """Make an access token; the second value is its text, which is kept nowhere."""
    user = access.require_login(actor)
    name = check_token(user=user, name=name, scope=scope)
    token, text = AccessToken.objects.create(user=user, name=name, scope=scope)
    audit.record(user, "token.create", user, name=name, scope=scope)
    return token, text


def check_token(*, user: User, name: str, scope: str) -> str:
    """Return the name as it is kept, or say why there can be no such token."""
    name = texts.storable(name).strip()
    if not 1 <= len(name) <= 60:
        raise HubError("token-invalid", "Give the token a name of 1 to 60 characters.", fields={"name": "1 to 60 characters."})
    if scope not in AccessToken.Scope.values:
        raise HubError("token-invalid", "The scope of a token is read or write.", fields={"scope": "read or write."})
    if tokens(user=user).count() >= MAX_TOKENS:
        raise HubError("too-many-tokens", f"You have {MAX_TOKENS} tokens. Revoke one you no longer use.", status=409)
    return name


def tokens(*, user: User) -> QuerySet[AccessToken]:
    """Return what the user's programs hold now: without tokens that another one has taken the place of, and those that have ended for good."""
    secrets = Token.objects.valid().filter(user=user, type=Token.Type.REFRESH_TOKEN)
    ended = Q(expiry__lte=timezone.now()) & ~Q(refresh_digest__in=secrets.values("hash"))
    return AccessToken.objects.filter(user=user, renewed_by=None).exclude(ended)


def named(name: str) -> QuerySet[User]:
    """Find the account or namespace of this name, in whatever case it is written."""
    return User.objects.annotate(key=Lower("username")).filter(key=texts.storable(name).lower())


def formerly(name: str) -> QuerySet[User]:
    """Find the organisation that had this name before; what lay under it is found by both."""
    return User.objects.filter(former_account_names__name__iexact=texts.storable(name))


def name_now(name: str) -> str:
    """Return the name that the organisation which had this one before has now; every other name as it is."""
    return formerly(name).values_list("username", flat=True).first() or name


def ever_named(name: str) -> QuerySet[User]:
    """Find the account or namespace of this name, and the organisation that had it before."""
    return User.objects.filter(Q(pk__in=named(name).values("pk")) | Q(pk__in=formerly(name).values("pk")))


def is_taken(name: str) -> bool:
    """Say whether an account has this name, or had it and is still found by it."""
    return ever_named(name).exists()


def find_owner(name: str) -> User | None:
    """Return the person or organisation of this name that adapters may be handed to."""
    rows = [named(name).filter(Q(is_active=True) | Q(is_organization=True)), formerly(name)]
    return next((found for row in rows if (found := row.filter(is_namespace=False).first())), None)


def find_closed(name: str) -> User | None:
    """Return the closed account of this name under which there is still something for everybody to see."""
    shown = Adapter.objects.filter(private=False, taken_down=False).values("owner")
    return named(name).filter(is_active=False, is_namespace=False, is_organization=False, pk__in=shown).first()


def publisher(*, actor: "Actor", name: str) -> User | None:
    """Return the account under which the actor wants to make something; None, which is the actor, where no name is given."""
    user = access.require_login(actor)
    found = find_owner(name) if name else user
    if found is None or not access.may_create(user, found):
        raise access.foreign(user, name)
    return found if name else None


def is_namespace(name: str) -> bool:
    """Say whether base models are hosted under this name, or are read through from another hub."""
    reserved = {pattern.partition("/")[0].lower() for pattern in settings.READ_THROUGH_MODELS} if settings.READ_THROUGH else set()
    return name.lower() in reserved or named(name).filter(is_namespace=True).exists()


def namespace_sentence(name: str) -> str:
    """Say why nobody can have the name of a namespace."""
    return f"This hub hosts base models under the name {name[:39]}. Choose another user name."


def find_token(*, text: str) -> AccessToken | None:
    """Return the token that a client sent, with its user; None for one that is unknown, expired, or of an account that is closed."""
    if not _TOKEN.fullmatch(text):
        return None
    digest = hash_token(text)
    if row := prepared.first(_lasting, digest=digest):
        return _token(digest, *row)
    token: AccessToken | None = AccessToken.objects.select_related("user").filter(digest=digest).first()
    if token is None or not token.user.is_active or (token.expiry is not None and token.expiry <= timezone.now()):
        return None
    return token


def _lasting(digest: str) -> QuerySet[AccessToken, tuple[Any, ...]]:
    """Say what almost every call asks of almost every token: one that never expires, of an account that is open."""
    rows = AccessToken.objects.filter(digest=digest, expiry=None, user__is_active=True).order_by()
    return rows.values_list("scope", "name", "user_id", "user__username", "user__email")


def _token(digest: str, scope: str, name: str, user: int, username: str, email: str) -> AccessToken:
    token = prepared.load(AccessToken, digest=digest, user_id=user, expiry=None, name=name, scope=scope)
    token.user = prepared.load(User, id=user, is_active=True, username=username, email=email)
    return token


@transaction.atomic
def revoke_token(*, actor: "Actor", digest: str) -> None:
    """Delete one of the actor's tokens."""
    user = access.require_login(actor)
    token = AccessToken.objects.filter(user=user, digest=texts.storable(digest)).first()
    if token is None:
        raise HubError("not-found", "There is no such token.", status=404)
    audit.record(user, "token.revoke", user, name=token.name)
    if token.refresh_digest:
        Token.objects.filter(user=user, hash=token.refresh_digest).delete()
    token.delete()


def _refuse_taken(username: str, email: str) -> None:
    if is_taken(username):
        raise HubError("name-taken", f"The user name {username} is taken.", status=409, fields={"username": "This user name is taken."})
    if User.objects.filter(email__iexact=email).exists():
        raise HubError("email-taken", f"An account with the address {email} exists.", status=409, fields={"email": "This address has an account."})
