"""The WSGI entry point."""

import errno
import os
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")


class WholeBody:
    """A request body that fails when it ends before the length its sender announced.

    Servers hand on a connection that was cut in the middle of an upload as an ordinary end, and Django's form parser then keeps the files before the cut.
    """

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream, self._left = stream, length

    def read(self, size: int = -1) -> bytes:
        """Read as the stream does."""
        return self._counted(self._stream.read(self._left if size is None or size < 0 else min(size, self._left)), size)

    def readline(self, size: int = -1) -> bytes:
        """Read a line as the stream does."""
        return self._counted(self._stream.readline(self._left if size is None or size < 0 else min(size, self._left)), size)

    def _counted(self, data: bytes, size: int) -> bytes:
        if not data and self._left > 0 and size != 0:
            raise OSError(errno.ECONNRESET, "the request's body ended before its announced length")
        self._left -= len(data)
        return data


def whole(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Wrap a WSGI application so that it sees only whole bodies."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isdigit():
            environ["wsgi.input"] = WholeBody(environ["wsgi.input"], int(length))
        return app(environ, start_response)

    return wrapped


application = whole(get_wsgi_application())
