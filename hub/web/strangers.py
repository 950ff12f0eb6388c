"""Keeps the pages that strangers read, as they were last rendered, for as long as nothing has happened on the hub; and keeps others from keeping any."""

import hashlib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import Context
from django.template.loader import get_template
from django.utils.safestring import SafeString, mark_safe

from hub.services import audit, tallies
from hub.web import context

SECONDS = 60  # counts and "two minutes ago" may lag behind for so long
KEEP_OUT = ("messages",)  # cookies that make a page one person's own


def kept(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer strangers with the page that was rendered for another stranger since the last event, of any kind, that the audit log holds.

    For views that answer by the address alone. Every verb that changes what strangers see records its event in its own transaction, so a page never outlives
    what it shows.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "GET" or any(name in request.COOKIES for name in (settings.SESSION_COOKIE_NAME, *KEEP_OUT)):
            return view(request, *args, **kwargs)
        pages, key = caches["pages"], f"page:{_key(request, audit.latest())}"
        if (content := pages.get(key)) is not None:
            return HttpResponse(content)
        response = view(request, *args, **kwargs)
        # A page with a form holds a token for the cookie that it sets, and is nobody else's.
        if response.status_code == 200 and not response.cookies and not response.streaming and "CSRF_COOKIE_NEEDS_UPDATE" not in request.META:
            pages.set(key, response.content, SECONDS)
        return response

    return answer


def shared(request: HttpRequest, template: str, make: Callable[[str], dict[str, Any]]) -> SafeString:
    """Draw a part of a page that says what adapters there are: once for all who see no more of them than strangers do, anew for others.

    `make` gives its values, from the mark of the last event if that is known. It is drawn without knowing who asks, so nothing of theirs can stand in it.
    """
    return shared_parts(request, {"main": template}, make)["main"]


def shared_parts(
    request: HttpRequest, templates: Mapping[str, str], make: Callable[[str], dict[str, Any]], *, apart: bool = False, as_of: str = ""
) -> dict[str, SafeString]:
    """Draw several such parts of one page, of the same values; `apart` draws them for this asker and for nobody else."""

    def draw(last: str) -> dict[str, SafeString]:
        values = Context({"request": request, **context.of_all(), **make(last)})
        values.request = request  # type: ignore[attr-defined]  # as {% querystring %} wants it
        # Their templates have escaped what is in them.
        return {name: mark_safe(get_template(path).template.render(values)) for name, path in templates.items()}  # noqa: S308  # nosec B308 B703

    if apart:
        return draw(as_of)
    return tallies.shared(request.user, f"{':'.join(templates.values())}:{request.build_absolute_uri()}", draw, as_of)


class NotSharedMiddleware:
    """Keeps answers out of the caches of others: nearly all depend on who asks, and those that do not are kept here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Mark every answer that says nothing about caches itself."""
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response


def _key(request: HttpRequest, last: str) -> str:
    return f"{last}:{hashlib.sha256(request.build_absolute_uri().encode()).hexdigest()}"
