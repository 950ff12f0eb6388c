"""Bodies of requests reach the site whole and end where they were announced to end, in whatever pieces they come."""

import io
from typing import Any

import pytest
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader
from hypothesis import given
from hypothesis import strategies as st

from hub.wsgi import whole

PIECES = st.lists(st.integers(1, 3000), min_size=1, max_size=6)


class Pieces:
    """A socket on which the pieces arrive one by one; who asks for more than was sent would wait for ever, and fails here."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def recv(self, size: int) -> bytes:
        assert self.pieces, "it waits for bytes that nobody sends"
        piece, self.pieces[0] = self.pieces[0][:size], self.pieces[0][size:]
        if not self.pieces[0]:
            del self.pieces[0]
        return piece

    def recv_into(self, buffer: Any) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def opened(early: bytes, pieces: list[bytes], length: int) -> tuple[Any, Body]:
    """The body as a view sees it, and the server's own, of which `early` came in one piece with the headers."""
    unreader = SocketUnreader(Pieces(*pieces))
    unreader.unread(early)
    body = Body(LengthReader(unreader, length))
    return wrapped(body, length), body


def wrapped(stream: Any, length: int) -> Any:
    """The stream as the site's views get it."""
    seen: dict[str, Any] = {}
    whole(lambda environ, _: seen.update(environ) or [])({"CONTENT_LENGTH": str(length), "wsgi.input": stream}, None)  # type: ignore[func-returns-value]
    return seen["wsgi.input"]


@given(early=st.integers(0, 3000), sizes=PIECES, reads=PIECES)
def test_a_body_in_any_pieces(early: int, sizes: list[int], reads: list[int]):
    sent = bytes(number % 251 for number in range(early + sum(sizes)))
    pieces, start = [], early
    for size in sizes:
        pieces.append(sent[start : start + size])
        start += size
    stream, body = opened(sent[:early], pieces, len(sent))
    got = b"".join(stream.read(size) for size in reads)
    assert got == sent[: len(got)]
    assert got + stream.read() == sent
    assert stream.read() == b""
    assert body.read() == b"", "the server would take the next request for the rest of this one"


@given(length=st.integers(1, 3000), following=st.integers(1, 3000))
def test_the_next_request_of_the_connection_stays_where_it_is(length: int, following: int):
    sent, after = b"b" * length, b"n" * following
    stream, body = opened(sent + after, [], length)
    assert stream.read() == sent
    assert body.reader.unreader.take_buffered() == after


def test_a_body_that_is_cut_fails():
    stream, _ = opened(b"", [b"half", b""], 8)
    with pytest.raises(OSError, match="ended before its announced length"):
        stream.read()


def test_a_body_of_another_server():
    assert wrapped(io.BytesIO(b"whole and more"), 5).read() == b"whole"
