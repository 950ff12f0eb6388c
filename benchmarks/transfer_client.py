"""One transfer in a process of its own, and the seconds it took: python -m benchmarks.transfer_client KIND URL ARGUMENT..."""

import http.client
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

BLOCK = 1 << 20
CONNECTIONS = 8
FILE = "model.safetensors"


def upload(url: str, token: str, repo: str, path: str) -> float:
    """Upload by Xet."""
    return _upload(url, token, repo, path)


def upload_open_file(url: str, token: str, repo: str, path: str) -> float:
    """Upload by LFS, which is what the client does with an open file."""
    with Path(path).open("rb") as file:
        return _upload(url, token, repo, file)


def _upload(url: str, token: str, repo: str, source: object) -> float:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=url, token=token)
    api.create_repo(repo, exist_ok=True)
    start = time.perf_counter()
    api.upload_file(repo_id=repo, path_in_repo=FILE, path_or_fileobj=source)  # type: ignore[arg-type]
    return time.perf_counter() - start


def download(url: str, repo: str) -> float:
    """Download as people do, into a fresh cache."""
    from huggingface_hub import hf_hub_download

    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        hf_hub_download(repo, FILE, endpoint=url, token=False, cache_dir=cache)
        return time.perf_counter() - start


def get(url: str) -> float:
    """Download into a file by one plain GET."""
    address, buffer, total = urlsplit(url), memoryview(bytearray(BLOCK)), 0
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        connection = http.client.HTTPConnection(address.netloc)
        connection.request("GET", address.path)
        answer = connection.getresponse()
        while count := answer.readinto(buffer):
            out.write(buffer[:count])
            total += count
        taken = time.perf_counter() - start
    if answer.status != 200 or total != int(answer.headers["Content-Length"]):
        raise RuntimeError(f"{url} answered {answer.status} and {total} bytes")
    return taken


def heads(url: str, seconds: str, token: str = "") -> float:
    """Send HEAD requests over several connections that are kept open, one at a time on each, and return how many a second were answered."""
    address = urlsplit(url)
    more = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"HEAD {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n{more}\r\n".encode()
    poller = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection((str(address.hostname), address.port or 80))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.register(connection, selectors.EVENT_READ)
        connection.sendall(request)
    answered, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + float(seconds):
        for key, _ in poller.select(1):
            answer = key.fileobj.recv(65536)  # type: ignore[union-attr]
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"\r\n\r\n"):
                raise RuntimeError(f"{url} answered {answer[:300]!r}")
            answered += 1
            key.fileobj.sendall(request)  # type: ignore[union-attr]
    return answered / (now - start)


KINDS: dict[str, Callable[..., float]] = {"upload": upload, "upload-open-file": upload_open_file, "download": download, "get": get, "heads": heads}

if __name__ == "__main__":
    print(KINDS[sys.argv[1]](*sys.argv[2:]))
