"""Turns every exception below /api/v1/ into the one shape of an error: {"error": {"code", "message", "fields"}}."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent, TooManyFilesSent
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.response import Response

from hub import storage
from hub.errors import HubError, database_away

logger = logging.getLogger(__name__)
MAX_MESSAGE = 1_000
MAX_FIELDS = 100
RETRY_AFTER = {429: "30", 503: "60"}  # seconds, where nothing knows better


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer for `error`; REST framework calls this inside the except block."""
    known = _as_hub_error(error)
    if known is None:
        logger.error("an API call failed: %s", _address(context), exc_info=error)
        known = HubError("internal", "Something broke on our side, and it was logged. Try again; if it stays, tell the hub's operator.", status=500)
    body = {
        "code": known.code,
        "message": _printable(known.message)[:MAX_MESSAGE],
        "fields": {_printable(name): _printable(text)[:MAX_MESSAGE] for name, text in list(known.fields.items())[:MAX_FIELDS]},
    }
    return Response({"error": body}, status=known.status, headers=_headers(error, known))


def upload_incomplete() -> HubError:
    """Say that a body ended before its announced length."""
    return HubError("upload-incomplete", "The upload was cut off before its end, and nothing was stored. Send it again.")


def _as_hub_error(error: Exception) -> HubError | None:
    if isinstance(error, HubError):
        return error
    if isinstance(error, exceptions.APIException):
        return _from_framework(error)
    if isinstance(error, Http404):
        return HubError("not-found", "There is nothing at this address.", status=404)
    if isinstance(error, PermissionDenied):
        return HubError("forbidden", "You may not do this.", status=403)
    if isinstance(error, UnreadablePostError):
        return upload_incomplete()
    if storage.is_full(error):
        return storage.full(error)
    if isinstance(error, SuspiciousOperation):
        return _from_suspicion(error)
    return database_away(error)


def _from_framework(error: exceptions.APIException) -> HubError:
    if isinstance(error, exceptions.ValidationError):
        return invalid(dict(_flat(error.detail)))
    if isinstance(error, exceptions.Throttled):
        return HubError("too-many-requests", f"You have sent too many requests. Wait {int(error.wait or 0) + 1} seconds.", status=429)
    if isinstance(error, exceptions.UnsupportedMediaType):
        text = "This call does not take a body of this kind: send JSON as application/json, or for a commit multipart/form-data."
        return HubError("unsupported-media-type", text, status=415)
    if isinstance(error, exceptions.MethodNotAllowed):
        return HubError("method-not-allowed", "This address does not take this method. See /api/v1/docs.", status=405)
    if isinstance(error, exceptions.AuthenticationFailed | exceptions.NotAuthenticated):
        return HubError("login-required", "Log in, or send an access token, to do this.", status=401)
    code = {400: "body-invalid", 403: "forbidden", 404: "not-found", 406: "not-acceptable"}.get(error.status_code, "refused")
    return HubError(code, str(error.detail), status=error.status_code)


def _from_suspicion(error: SuspiciousOperation) -> HubError:
    if isinstance(error, RequestDataTooBig):
        return HubError("body-too-large", "The text of this request is too large. Send files as files, and fewer examples.", status=413)
    if isinstance(error, TooManyFilesSent):
        return HubError("too-many-files", "There are too many files in one request. Leave out checkpoints and caches, or send several commits.")
    if isinstance(error, TooManyFieldsSent):
        return HubError("too-many-fields", "There are too many fields in one request.")
    return HubError("bad-request", "This request cannot be understood.")


def invalid(problems: Mapping[str, str]) -> HubError:
    """Say which fields of a body are wrong; `problems` holds clauses such as "it must be a text."."""
    path, problem = next(iter(problems.items()))
    message = f'The field "{path}" cannot be used: {problem}' if path else f"The body cannot be used: {problem}"
    return HubError("body-invalid", message, fields={name: text[:1].upper() + text[1:] for name, text in problems.items()})


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each problem of a nested ValidationError with the path of its field."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            part = "" if key == "non_field_errors" else str(key)
            yield from _flat(value, f"{path}.{part}".strip("."))
    elif isinstance(detail, list) and not all(isinstance(item, str) for item in detail):
        for number, value in enumerate(detail, 1):
            yield from _flat(value, f"{path}.{number}".strip("."))
    else:
        yield path, " ".join(map(str, detail)) if isinstance(detail, list) else str(detail)


def _headers(error: Exception, known: HubError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if known.status == 401:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if known.code == "token-invalid" else "Bearer"
    if known.status in RETRY_AFTER:
        wait = getattr(error, "wait", None)
        headers["Retry-After"] = RETRY_AFTER[known.status] if wait is None else str(int(wait) + 1)
    return headers


def _printable(text: str) -> str:
    """Return `text` as something UTF-8 can carry: what strangers sent may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _address(context: Mapping[str, Any]) -> str:
    request = context.get("request")
    return f"{request.method} {request.path}" if request is not None else "before the request was read"
