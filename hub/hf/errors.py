"""Says errors in the headers that Hugging Face clients turn into their exceptions."""

import logging

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase

from hub import logs, storage
from hub.errors import HubError, database_away

logger = logging.getLogger(__name__)
# Our codes that a client has a class of its own for; all others go out as they are.
CODES = {
    "not-found": "RepoNotFound",
    "revision-not-found": "RevisionNotFound",
    "no-revision": "RevisionNotFound",
    "file-not-found": "EntryNotFound",
    "gated": "GatedRepo",
    "taken-down": "DisabledRepo",
}
NOT_OFFERED, NOT_OFFERED_STATUS = "NotImplemented", 501
# The client takes a 401 of a repository's address for a missing repository, unless the message is this one.
BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105
# With this one it raises DisabledRepoError, and shows our sentence from the body.
DISABLED = "Access to this resource is disabled."
FIXED = {"token-invalid": BAD_TOKEN, "taken-down": DISABLED}
RETRY_AFTER = {429: "30", 503: "60"}  # seconds
MAX_HEADER = 500


def answer(request: HttpRequest, error: HubError, **body: object) -> JsonResponse:
    """Answer with an error; `body` joins the JSON that old clients read."""
    status = error.status
    if error.code == "not-found" and not request.user.is_authenticated:
        status = 401  # it may be there for someone who says who they are
    fields = {"fields": error.fields} if error.fields else {}
    response = JsonResponse({"error": _printable(error.message), "code": error.code, **fields, **body}, status=status)
    response["X-Error-Code"] = CODES.get(error.code, error.code)
    response["X-Error-Message"] = FIXED.get(error.code) or header(error.message)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if status in RETRY_AFTER:
        response["Retry-After"] = RETRY_AFTER[status]
    for name, value in getattr(error, "headers", {}).items():
        response[name] = value
    if status == NOT_OFFERED_STATUS:
        response._has_been_logged = True  # type: ignore[attr-defined] # Django logs every 5xx as an error, and newer clients ask for such things each time
    return response


def known(error: Exception) -> HubError | None:
    """Return the exception as a HubError, if it is one in other clothes."""
    if isinstance(error, HubError):
        return error
    if isinstance(error, UnreadablePostError):
        return cut_off()
    if storage.is_full(error):
        return storage.full(error)
    if isinstance(error, RequestDataTooBig | TooManyFieldsSent):
        return too_large("The body of this request")
    if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError):
        return HubError("bad-request", "This request cannot be understood. Check its address, its headers and the form of its body.")
    return database_away(error)


def broken(request: HttpRequest, error: Exception) -> JsonResponse:
    """Log a fault of ours and answer for it."""
    route = request.resolver_match.route if request.resolver_match else "?"  # some addresses are permissions, which no log shall hold
    logger.error("a call of the hub protocol failed: %s %s", request.method, route, exc_info=error)
    text = "Something broke on our side, and it was logged. Try again; if it stays, tell the hub's operator."
    return answer(request, HubError("internal", text, status=500))


def stamp(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Give the answer an id that its receiver can name, and to a HEAD its headers alone: a server warns of each body there."""
    response[logs.HEADER] = logs.request_id()
    if request.method == "HEAD" and isinstance(response, HttpResponse) and response.content:
        response["Content-Length"] = str(len(response.content))
        response.content = b""
    return response


def not_offered(what: str) -> HubError:
    """Say that Medley does not do this; `what` is a sentence."""
    return HubError(NOT_OFFERED, what, status=NOT_OFFERED_STATUS)


def cut_off() -> HubError:
    """Say that a body ended before its announced length."""
    return HubError("upload-incomplete", "The upload was cut off before its end, and nothing was stored. Send it again.")


def too_large(what: str) -> HubError:
    """Say that something is larger than it may be."""
    return HubError("body-too-large", f"{what} is too large.", status=413)


def header(text: str) -> str:
    """Return `text` as a header can carry it."""
    return " ".join(text.split()).encode("ascii", "replace").decode()[:MAX_HEADER]


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
