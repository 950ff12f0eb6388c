"""Counts downloads a second over connections that are kept open: python -m benchmarks.load_downloads URL SECONDS."""

import selectors
import socket
import sys
import time
from contextlib import suppress
from urllib.parse import urlsplit

CONNECTIONS = 16


class Closed(Exception):
    """The server closed the connection between two answers, as nginx does after so many."""


class Connection:
    """One connection that asks for the same file again and again."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self.ask()

    def ask(self) -> None:
        """Send the request."""
        self._head, self._left = b"", -1
        with suppress(BrokenPipeError, ConnectionResetError):  # noticed when the answer does not come
            self.socket.sendall(self._request)

    def is_done(self, buffer: bytearray) -> bool:
        """Read what came, and say whether the answer is whole."""
        is_between = self._left < 0 and not self._head
        try:
            count = self.socket.recv_into(buffer)
        except ConnectionResetError:
            count = 0
        if not count and is_between:
            raise Closed
        if not count:
            raise RuntimeError("the connection was closed in the middle of an answer")
        if self._left < 0:
            self._head += buffer[:count]
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return False
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"answered {head[:300]!r}")
            self._left = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")).split(b":")[1]) - len(body)
        else:
            self._left -= count
        return self._left == 0


def rate(url: str, seconds: float) -> float:
    """Return the whole downloads in a second."""
    address = urlsplit(url)
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    poller, buffer, done = selectors.DefaultSelector(), bytearray(1 << 18), 0

    def connect() -> None:
        one = Connection(str(address.hostname), address.port or 80, request)
        poller.register(one.socket, selectors.EVENT_READ, one)

    for _ in range(CONNECTIONS):
        connect()
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        for key, _ in poller.select(1):
            try:
                if key.data.is_done(buffer):
                    done += 1
                    key.data.ask()
            except Closed:
                poller.unregister(key.fileobj)
                key.data.socket.close()
                connect()
    return done / (now - start)


if __name__ == "__main__":
    print(rate(sys.argv[1], float(sys.argv[2])))
