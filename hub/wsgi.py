"""The WSGI entry point."""

import errno
import io
import os
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from django.core.wsgi import get_wsgi_application
from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import SocketUnreader

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")

BLOCK = 1 << 20  # bytes of a body that are asked for at once


class WholeBody(io.RawIOBase):
    """A request body that fails when it ends before the length its sender announced.

    Servers hand on a connection that was cut in the middle of an upload as an ordinary end, and Django's form parser then keeps the files before the cut.
    """

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream, self._left = stream, length
        reader = getattr(stream, "reader", None)
        is_on_a_socket = isinstance(reader, LengthReader) and isinstance(reader.unreader, SocketUnreader)
        self._reader: LengthReader | None = reader if is_on_a_socket else None

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the stream does."""
        size = min(self._left, len(buffer))
        count = self._receive(memoryview(buffer)[:size])
        if not count and size:
            raise OSError(errno.ECONNRESET, "the request's body ended before its announced length")
        self._left -= count
        return count

    def _receive(self, buffer: memoryview) -> int:
        if self._reader is None:
            data = self._stream.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        if held := self._reader.unreader.buf.seek(0, os.SEEK_END):
            # Not by the stream's own read: it takes 1 KiB where less is asked for, and keeps what is left where nothing here would find it.
            data = self._reader.read(min(len(buffer), held))
            buffer[: len(data)] = data
            return len(data)
        # gunicorn has nothing left that it read ahead. Its own reader copies every byte seven times, which takes as long as all the rest of an upload.
        count = self._reader.unreader.sock.recv_into(buffer) if buffer else 0
        self._reader.length -= count  # what is left of it is dropped before the next request of the connection
        return count


def whole(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Wrap a WSGI application so that it sees only whole bodies."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isascii() and length.isdigit():
            environ["wsgi.input"] = io.BufferedReader(WholeBody(environ["wsgi.input"], int(length)), max(1, min(int(length), BLOCK)))
        return app(environ, start_response)

    return wrapped


application = whole(get_wsgi_application())
