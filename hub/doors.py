"""Tells the audit log through which door a request came."""

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import get_adapter
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from hub.models import Event
from hub.services import audit

DOORS = {"hub.api": Event.Door.API, "hub.hf": Event.Door.HF, "django.contrib.admin": Event.Door.ADMIN}


class DoorMiddleware:
    """Holds the door and the address of a request while it is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on; what only reads has nothing to record."""
        if request.method in ("GET", "HEAD"):
            return self.get_response(request)
        with audit.coming_through(_door(request), _address(request)):
            return self.get_response(request)


def _door(request: HttpRequest) -> Event.Door:
    try:
        view: Any = resolve(request.path_info).func
    except Resolver404:
        return Event.Door.WEB
    return next((door for room, door in DOORS.items() if view.__module__.startswith(f"{room}.")), Event.Door.WEB)


def _address(request: HttpRequest) -> str:
    """The client's address, as far as the operator trusts the proxies between."""
    try:
        return str(get_adapter().get_client_ip(request))
    except PermissionDenied:
        return ""
