"""Turns errors into pages that say what to do next, or into JSON for our own scripts."""

import sys
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from hub import storage
from hub.errors import HubError, database_away

TITLES = {
    400: "This cannot be done so",
    401: "Log in first",
    403: "You may not do this",
    404: "Nothing here",
    409: "This cannot be done right now",
    410: "Taken down",
    412: "Something changed meanwhile",
    413: "Too large",
    416: "No such part of the file",
    429: "Too many at once",
    500: "Something is broken on our side",
    503: "The hub is not answering in full",
    507: "The hub's disk is full",
}

STANDALONE = "500.html"  # asks the database nothing


class HubErrorMiddleware:
    """Answers a HubError that a view lets through."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on; the work is done in process_exception."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer the errors that a person can do something about; leave the others to the 500 page and the log."""
        error = known(exception)
        return answer(request, error) if error else None


def known(exception: BaseException | None) -> HubError | None:
    """Return the exception as a HubError, if it is one in other clothes."""
    if isinstance(exception, HubError):
        return exception
    if exception is not None and storage.is_full(exception):
        return storage.full(exception)
    if (away := database_away(exception)) is not None:
        return away
    if isinstance(exception, UnreadablePostError):
        return HubError("upload-incomplete", "The upload broke off before it was complete, and nothing was stored. Send it again.")
    if isinstance(exception, RequestDataTooBig):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1_000_000
        return HubError("request-too-large", f"The text in this request is larger than {limit} MB. Send less of it at once.", status=413)
    if isinstance(exception, TooManyFilesSent):
        return HubError("too-many-files", f"One request holds at most {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files. Leave some out.", status=413)
    if isinstance(exception, TooManyFieldsSent):
        return HubError("too-many-fields", "This request has too many fields. Send less at once.", status=413)
    return None


def answer(request: HttpRequest, error: HubError) -> HttpResponse:
    """Answer with a page, with JSON for scripts, or with the way to the login form."""
    if wants_json(request):
        return JsonResponse({"error": {"code": error.code, "message": error.message, "fields": error.fields}}, status=error.status)
    if error.status == 401:
        login = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': _way_back(request)})}"
        return HttpResponse(status=401, headers={"HX-Redirect": login}) if request.headers.get("HX-Request") else redirect(login)
    return page(request, error.status, error.message, STANDALONE if error.code == "database-unavailable" else "error.html")


def wants_json(request: HttpRequest) -> bool:
    """Say whether a program is asking: one of our scripts, or a client of the API. A browser that opens a page names text/html first."""
    return request.path.startswith("/api/") or request.headers.get("Accept", "").startswith("application/json")


def page(request: HttpRequest, status: int, message: str, template: str = "error.html") -> HttpResponse:
    """Render the error page."""
    title = TITLES.get(status) or ("Something is broken on our side" if status >= 500 else "This cannot be done")
    return render(request, template, {"status": status, "title": title, "message": message}, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 400, or 413 when the request was too large."""
    return answer(request, known(exception) or HubError("bad-request", "The request is damaged. Go back and send it again."))


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 403."""
    said = str(exception) if isinstance(exception, PermissionDenied) else ""
    return answer(request, HubError("forbidden", said or "Your account may not do this. Log in with another one if you have it.", status=403))


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 404, in the same words for missing and hidden things."""
    said = exception.args[0] if isinstance(exception, Http404) and exception.args and isinstance(exception.args[0], str) else ""
    return answer(request, HubError("not-found", said or "There is no such page, or you may not see it.", status=404))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 507 when the disk was full while the request was read."""
    error = known(sys.exc_info()[1])
    if error:
        return answer(request, error)
    message = "It is not your fault, and it has been written to the log. Try again in a minute; if it stays, tell the hub's operator the time and the address."
    if wants_json(request):
        return answer(request, HubError("internal", message, status=500))
    return page(request, 500, message, STANDALONE)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without a valid CSRF token."""
    message = "This form was open for too long, or cookies are off. Go back, reload the page, and send the form again."
    return answer(request, HubError("csrf-failed", message, status=403))


def _way_back(request: HttpRequest) -> str:
    """Return the page to show after logging in: this one, or the one whose form was sent."""
    if request.method == "GET" and not request.headers.get("HX-Request"):
        return request.get_full_path()
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        parts = urlsplit(referer)
        return parts.path + (f"?{parts.query}" if parts.query else "")
    return "/"
