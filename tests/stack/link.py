"""A network connection that can be cut: passes bytes between a process and a service, until it is told to refuse, to hang, to reset or to lose them."""

import asyncio
import ctypes
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.stack import ports

OPEN, REFUSING, HANGING, RESETTING, LOSING = "open", "refusing", "hanging", "resetting", "losing"
MODES = (OPEN, REFUSING, HANGING, RESETTING, LOSING)
ATTACH_FILTER, DETACH_FILTER = 26, 27  # of Linux
_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # one instruction of a packet filter: keep 0 bytes
_LOSE_ALL = struct.pack("HL", 1, ctypes.addressof(_nothing))


class Link:
    """Listens on `port` and passes on to `target`.

    refusing: nobody listens, and open connections are reset. hanging: connections stay, bytes wait, and go on afterwards. resetting: every connection
    is reset as soon as it is made or used. losing: packets vanish on the way, so that not even the kernel on the other side learns that there is nobody.
    """

    def __init__(self, target: int) -> None:
        self.port, self.target, self.mode = ports.free(), target, OPEN
        self._passing = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        _run(self._set(OPEN))

    def cut(self, mode: str) -> None:
        """Change how it behaves, for connections that are there and new ones."""
        assert mode in MODES, mode
        _run(self._set(mode))

    def heal(self) -> None:
        """Pass everything on again."""
        self.cut(OPEN)

    def close(self) -> None:
        """End it."""
        _run(self._set(REFUSING))

    async def _set(self, mode: str) -> None:
        before, self.mode = self.mode, mode
        if mode in (REFUSING, RESETTING):
            self._reset_all()
        if mode == REFUSING and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif mode != REFUSING and self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        if LOSING in (before, mode):
            self._filter(lose=mode == LOSING)
        if mode in (HANGING, LOSING):
            self._passing.clear()
        else:
            self._passing.set()

    def _filter(self, *, lose: bool) -> None:
        ends = [end.get_extra_info("socket") for end in self._ends if not end.is_closing()]
        for end in [*(self._listener.sockets if self._listener else ()), *ends]:
            with suppress(OSError):  # it may have ended
                end.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER if lose else DETACH_FILTER, _LOSE_ALL if lose else struct.pack("i", 0))

    def _reset_all(self) -> None:
        for end in list(self._ends):
            _reset(end)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == RESETTING:
            _reset(writer)
            return
        self._ends.add(writer)
        try:
            await self._passing.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            self._ends.discard(writer)
            return
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._ends.discard(writer)
            for end in (back, writer):
                end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._passing.wait()
                sink.write(data)
                await sink.drain()
            await self._passing.wait()
            sink.write_eof()
        except OSError:
            _reset(sink)


def _reset(end: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side learns of it by an error."""
    with suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()


_loop: asyncio.AbstractEventLoop | None = None
_starting = threading.Lock()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run in the one thread that all links share."""
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="links", daemon=True).start()
    asyncio.run_coroutine_threadsafe(work, _loop).result(30)
