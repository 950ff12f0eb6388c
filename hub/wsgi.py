"""The WSGI entry point."""

import errno
import io
import os
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")

BLOCK = 1 << 20  # bytes of a body that are asked for at once


class WholeBody(io.RawIOBase):
    """A request body that fails when it ends before the length its sender announced.

    Servers hand on a connection that was cut in the middle of an upload as an ordinary end, and Django's form parser then keeps the files before the cut.
    """

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream, self._left = stream, length

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the stream does."""
        size = min(self._left, len(buffer))
        data = self._stream.read(size)
        if not data and size:
            raise OSError(errno.ECONNRESET, "the request's body ended before its announced length")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def whole(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Wrap a WSGI application so that it sees only whole bodies."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isascii() and length.isdigit():
            # gunicorn moves all that it has read ahead with every read: small ones cost several times what the bytes cost.
            environ["wsgi.input"] = io.BufferedReader(WholeBody(environ["wsgi.input"], int(length)), max(1, min(int(length), BLOCK)))
        return app(environ, start_response)

    return wrapped


application = whole(get_wsgi_application())
