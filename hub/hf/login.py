"""The two addresses of RFC 8628 by which a program logs a person in through the browser. The person's page is `hub.web.device`."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.idp.oidc import views
from allauth.idp.oidc.models import Client
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from hub import files
from hub.errors import HubError
from hub.hf import errors, limits
from hub.services import logins

ASKS = 30, 60  # requests, seconds: how often one address may begin
PLAIN = re.compile(r"[ -~]{0,200}")
# What each request may hold. A scope in the request that fetches a token would overrule the person's answer.
ASK = frozenset(("client_id", "scope"))
FETCH = frozenset(("client_id", "grant_type", "device_code"))
RENEW = frozenset(("client_id", "grant_type", "refresh_token"))
FORM = "application/x-www-form-urlencoded"
Fault = tuple[str, str]
DAMAGED: Fault = ("invalid_request", "Send the fields that RFC 8628 names, and no others, as one plain form by POST.")
EXPIRED: Fault = ("expired_token", "The code was used, or has become too old. Start the login again.")
REVOKED: Fault = ("invalid_grant", "This login was revoked, has expired, or was renewed already. Log in again.")


def oauth(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Make a view that takes a plain form from anyone and says errors as OAuth does."""

    @csrf_exempt
    @never_cache
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        request.hub_door = True  # type: ignore[attr-defined]
        # Who has the code is who asks: neither a session nor a token that came along counts.
        request.META.pop("HTTP_AUTHORIZATION", None)
        try:
            limits.count(f"oauth:{files.address(request)}", 600, 60)
            response = view(request) if _plain(request) else _refuse(*DAMAGED)
        except limits.TooManyRequests as error:
            response = _refuse("slow_down", error.message, 429)
            for name, value in error.headers.items():
                response[name] = value
        except HubError as error:
            response = _refuse("slow_down", error.message)
        errors.stamp(request, response)
        return response

    return answer


@oauth
def device(request: HttpRequest) -> HttpResponse:
    """Give a program a code for itself and one to show to its person."""
    if not request.POST.keys() <= ASK:
        return _refuse(*DAMAGED)
    address = files.address(request)
    limits.count(f"device:{address}", *ASKS)
    logins.know_programs()
    response = views.device_code(request)
    if response.status_code == 200:
        logins.remember(device_code=json.loads(response.content)["device_code"], address=address)
    return response


@oauth
def token(request: HttpRequest) -> HttpResponse:
    """Tell a waiting program what its person said, or renew a token."""
    kind = request.POST.get("grant_type")
    known = {Client.GrantType.DEVICE_CODE: (FETCH, _first), Client.GrantType.REFRESH_TOKEN: (RENEW, _again)}
    if kind not in known:
        return _refuse("unsupported_grant_type", "Medley logs programs in by device code.")
    fields, view = known[kind]
    return view(request) if request.POST.keys() <= fields else _refuse(*DAMAGED)


def _first(request: HttpRequest) -> HttpResponse:
    code = request.POST.get("device_code", "")
    with logins.alone(code) as held:
        if not held:
            return _refuse("slow_down", "Ask one at a time.")
        if (record := logins.record(device_code=code)) is None:
            return _refuse(*EXPIRED)
        return _through(request, lambda answer: logins.begin(answer=answer, record=record))


@transaction.atomic
def _again(request: HttpRequest) -> HttpResponse:
    old = logins.renewable(refresh_token=request.POST.get("refresh_token", ""))
    return _refuse(*REVOKED) if old is None else _through(request, lambda answer: logins.renew(token=old, answer=answer))


@transaction.atomic
def _through(request: HttpRequest, then: Callable[[dict[str, Any]], dict[str, Any]]) -> HttpResponse:
    """Let allauth answer, and pass on what it granted as a token of ours; both or neither are kept."""
    response = views.token(request)
    answer = json.loads(response.content)
    return JsonResponse(then(answer)) if response.status_code == 200 and "access_token" in answer else response


def _plain(request: HttpRequest) -> bool:
    return (
        request.method == "POST"
        and request.content_type == FORM
        and not request.GET
        and all(len(values) == 1 and PLAIN.fullmatch(values[0]) for _, values in request.POST.lists())
    )


def _refuse(code: str, sentence: str, status: int = 400) -> HttpResponse:
    return JsonResponse({"error": code, "error_description": sentence}, status=status)
