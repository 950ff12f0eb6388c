"""Says who asks: by access token, or by the browser's session so that the docs page can try calls; and which machine, by worker token."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import PermissionDenied, Throttled
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import AnonRateThrottle

from hub.errors import HubError
from hub.models import AccessToken, User, WorkerToken
from hub.services import accounts, workers


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; a token of scope read changes nothing."""

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        """Return the token's user, nothing where no token was sent, or refuse."""
        scheme, *rest = get_authorization_header(request).split() or [b""]
        if scheme.lower() != b"bearer":
            return None
        token = accounts.find_token(text=rest[0].decode("latin-1")) if len(rest) == 1 else None
        if token is None:
            _count_guess(request)
            raise HubError(
                "token-invalid", "This access token is not valid: it was mistyped, revoked, or has expired. Make a new one on the settings page.", status=401
            )
        if request.method not in SAFE_METHODS and token.scope != AccessToken.Scope.WRITE:
            raise HubError("scope-too-narrow", "This access token may only read. Make one with the scope write to change something.", status=403)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return what an answer 401 asks for."""
        return "Bearer"


class WorkerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <worker token>`; it is nobody's, and no person's token is one."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, WorkerToken] | None:
        """Return the worker token, nothing where no token was sent, or refuse."""
        scheme, *rest = get_authorization_header(request).split() or [b""]
        if scheme.lower() != b"bearer":
            return None
        token = workers.find_token(text=rest[0].decode("latin-1")) if len(rest) == 1 else None
        if token is None:
            _count_guess(request)
            text = "This is no worker token, or it was revoked. Workers have tokens of their own, which the hub's operators make."
            raise HubError("worker-token-invalid", text, status=401)
        return AnonymousUser(), token

    def authenticate_header(self, request: Request) -> str:
        """Return what an answer 401 asks for."""
        return "Bearer"


class _Guesses(AnonRateThrottle):
    """Counts tokens that are none like requests of strangers: the framework counts nobody whom it could not tell."""

    def get_cache_key(self, request: Request, view: Any) -> str:
        """Count by the asker's address."""
        return str(self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)})


def _count_guess(request: Request) -> None:
    guesses = _Guesses()
    if not guesses.allow_request(request, None):
        raise Throttled(guesses.wait())


class BrowserAuthentication(SessionAuthentication):
    """The session of someone who is logged in on the site; unsafe calls need the CSRF token."""

    def enforce_csrf(self, request: Request) -> None:
        """Refuse a call that another site may have triggered."""
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            text = "This call came with a browser's session but without its CSRF token. Send the header X-CSRFToken, or use an access token."
            raise HubError("csrf-failed", text, status=403) from error
