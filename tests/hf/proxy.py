"""A proxy between a client and the site that cuts connections where a test says."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes bytes on, and drops a connection once more than `after` bytes of a request that `matches` have gone up, or of its answer have come down."""

    def __init__(self, url: str, *, matches: bytes, after: int, up: bool = False, times: int = 1) -> None:
        target = urlsplit(url)
        self.target = (target.hostname or "", target.port or 80)
        self.matches, self.after, self.up, self.times = matches, after, up, times
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                _Connection(self, client, socket.create_connection(self.target))


class _Connection:
    """Both directions between one client and the site."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.asked = proxy, False
        threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
        threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        proxy, count = self.proxy, 0
        with suppress(OSError):
            while data := source.recv(65536):
                self.asked = self.asked or (up and proxy.matches in data)
                count += len(data) if self.asked and up is proxy.up else 0
                if count > proxy.after and proxy.cuts < proxy.times:
                    proxy.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
