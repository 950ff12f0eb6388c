"""What every address of this door shares: who asks, how often, and errors in the client's terms."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from rest_framework.authentication import CSRFCheck

from hub.errors import HubError
from hub.hf import errors, limits
from hub.models import AccessToken
from hub.services import accounts

SAFE = frozenset(("GET", "HEAD"))
JAVASCRIPT_PREFIX = "hf_"  # the JavaScript client refuses tokens without it, so it may stand before ours
View = Callable[..., Any]


def door(*methods: str, changes: bool | None = None, signed: bool = False) -> Callable[[View], View]:
    """Make a view of this door: it returns a response, or what goes into one as JSON.

    `changes` says whether the call changes something, where the method does not tell; such a call needs a token of scope write,
    or a session together with the CSRF token of our own pages.
    A `signed` address is its own permission: whoever has it may use it, and no token is looked at.
    """

    def wrap(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def answer(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            request.hub_door = True  # type: ignore[attr-defined]
            try:
                if request.method not in methods:
                    raise HubError("method-not-allowed", "This address does not take this method.", status=405)
                _who(request, changes=request.method not in SAFE if changes is None else changes, signed=signed)
                result = view(request, **kwargs)
                response = result if isinstance(result, HttpResponseBase) else JsonResponse(result, safe=False)
            except (HubError, OSError) as error:
                if (fault := errors.known(error)) is None:
                    raise
                response = errors.answer(request, fault)
            return errors.stamp(request, response)

        answer.hub_door = True  # type: ignore[attr-defined]
        return answer

    return wrap


class RefusalMiddleware:
    """Answers for this door what was refused before its view was reached, such as a forged Host, in the door's own form; it comes first of all."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on, and look at the answer."""
        response = self.get_response(request)
        if response.status_code < 400 or "X-Request-Id" in response or not _is_ours(request):
            return response
        request.user = getattr(request, "user", AnonymousUser())
        text = "This request cannot be understood. Check its address, its host and its headers."
        return errors.stamp(request, errors.answer(request, HubError("bad-request", text, status=response.status_code)))


class FaultMiddleware:
    """Answers what a view of this door did not expect in the door's own form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on; the work is done in process_exception."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Log and answer, if the request was for this door."""
        if not getattr(request, "hub_door", False):
            return None
        fault = errors.known(error)
        return errors.stamp(request, errors.answer(request, fault) if fault else errors.broken(request, error))


def _is_ours(request: HttpRequest) -> bool:
    try:
        return hasattr(resolve(request.path_info).func, "hub_door")
    except Resolver404:
        return False


def _who(request: HttpRequest, *, changes: bool, signed: bool) -> None:
    """Set the asker: the user of a token, someone logged in who reads or asks from a page of ours, or nobody."""
    scheme, _, text = ("" if signed else request.headers.get("Authorization", "")).partition(" ")
    token: AccessToken | None = None
    sent = scheme.lower() == "bearer"
    if sent:
        token = accounts.find_token(text=text.strip().removeprefix(JAVASCRIPT_PREFIX))
    forged = not sent and not signed and changes and request.user.is_authenticated and _is_forged(request)
    if token is not None:
        request.user = token.user
    elif sent or signed or forged or settings.SESSION_COOKIE_NAME not in request.COOKIES:  # where no session is sent, none is looked for
        request.user = AnonymousUser()
    limits.check(request)
    if forged:
        text = "A browser's session changes something only from a page of this hub. Reload the page, log in again if it asks you to, and send it once more."
        raise HubError("csrf-failed", text, status=403)
    if sent and token is None:
        text = "This access token is not valid: it was mistyped, revoked, or has expired. Make a new one on the settings page."
        raise HubError("token-invalid", text, status=401)
    if changes and token is not None and token.scope != AccessToken.Scope.WRITE:
        raise HubError("scope-too-narrow", "This access token may only read. Make one with the scope write to change something.", status=403)
    request.access_token = token  # type: ignore[attr-defined]


def _is_forged(request: HttpRequest) -> bool:
    """Say whether a call with a session lacks what only our own pages can send. A browser sends its session along whoever asks it to."""
    if request.method in SAFE or not request.META.get(settings.CSRF_HEADER_NAME):
        return True  # Django takes every GET for harmless, and would look for the token in the body, which belongs to the view
    check = CSRFCheck(lambda _: HttpResponse())
    check.process_request(request)
    return check.process_view(request, lambda: None, (), {}) is not None
