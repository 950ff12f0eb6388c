"""Reads request bodies as they come: JSON that is small, lines that are bounded, bytes that are whole. Nothing large is held in memory."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from django.http import HttpRequest
from gunicorn.http.errors import ParseException

from hub import strict_json
from hub.errors import HubError
from hub.hf import errors

MAX_JSON = 2_000_000
CHUNK = 1 << 16


class Body:
    """The body of a request as a stream that breaks where the sender did: a server hands a cut connection on as an ordinary end."""

    def __init__(self, request: HttpRequest) -> None:
        self.length = _length(request)
        self.size = 0
        self._stream: BinaryIO = request  # type: ignore[assignment]
        if self.length is None:
            if not request.META.get("wsgi.input_terminated"):
                raise HubError("length-required", "Send the body with a Content-Length.", status=411)
            self._stream = request.META["wsgi.input"]

    def read(self, size: int = CHUNK) -> bytes:
        """Return up to `size` bytes; nothing at the end of a whole body."""
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise errors.cut_off() from error
        except ParseException as error:
            raise HubError("body-invalid", "The chunks of this request's body are malformed. Send it with a Content-Length.") from error
        self.size += len(data)
        if not data and self.length is not None and self.size < self.length:
            raise errors.cut_off()
        return data

    def lines(self, limit: int) -> Iterator[bytes]:
        """Yield the lines, none longer than `limit`; empty ones are left out."""
        rest = bytearray()
        while data := self.read():
            rest += data
            *whole, last = rest.split(b"\n") if b"\n" in data else [rest]
            yield from (bytes(line) for line in whole if line.strip())
            rest = last
            if len(rest) > limit:
                raise errors.too_large("A line of this request")
        if rest.strip():
            yield bytes(rest)


def json(request: HttpRequest, *, limit: int = MAX_JSON) -> dict[str, Any]:
    """Return the body as a JSON object, or refuse it."""
    stream = Body(request)
    if (stream.length or 0) > limit:
        raise errors.too_large("The body of this request")
    raw = bytearray()
    while data := stream.read():
        raw += data
        if len(raw) > limit:
            raise errors.too_large("The body of this request")
    value = parse(bytes(raw))
    if not isinstance(value, dict):
        raise HubError("body-invalid", "The body must be a JSON object.")
    return value


def parse(raw: bytes) -> Any:
    """Return the value of a JSON text, or refuse it."""
    try:
        return strict_json.loads(raw)
    except strict_json.JsonFault as fault:
        raise HubError("json-invalid", f"The body is not valid JSON: {fault}.") from fault


def text(body: dict[str, Any], name: str, default: str | None = None, *, limit: int = 1000) -> str:
    """Return a text of a JSON object; one that is missing or null is the default, or refused."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > limit:
        raise HubError("body-invalid", f'The field "{name}" must be a text of at most {limit} characters.')
    if any("\ud800" <= character <= "\udfff" for character in value):  # no address, no header and no database takes it
        raise HubError("body-invalid", f'The field "{name}" holds half of a surrogate pair.')
    return value


def _length(request: HttpRequest) -> int | None:
    """Return the announced length; None for a body that comes in chunks of unknown number."""
    given = str(request.META.get("CONTENT_LENGTH") or "")
    if given.isascii() and given.isdigit():
        return int(given)
    return None if request.headers.get("Transfer-Encoding") else 0
