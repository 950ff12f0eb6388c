"""An S3 emulator as a process of its own: moto, whose objects are kept in a folder, and which can be told to misbehave.

`python -m tests.stack.bucket PORT FOLDER`. A POST of JSON to /-/trouble sets what goes wrong from then on: {"status": 500} answers so, {"seconds": 2} waits
first, {"short": true} sends half of an object and hangs up, {"share": 0.5} does it to half of the requests; {} ends it.
"""

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

TROUBLE = "/-/trouble"


class Bucket:
    """The WSGI application."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble: dict[str, Any] = {}
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._backend: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._writing = threading.Lock()
        for bucket in sorted(path for path in folder.iterdir() if path.is_dir()):
            self._backend.create_bucket(bucket.name, "us-east-1")
            for path in (path for path in bucket.iterdir() if not path.name.startswith(".")):
                self._backend.put_object(bucket.name, unquote(path.name), path.read_bytes())

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer, and keep what was changed before it is said that it was."""
        if environ["PATH_INFO"] == TROUBLE:
            self.trouble = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start_response("204 No Content", [])
            return []
        trouble = self.trouble if random.random() < self.trouble.get("share", 1.0) else {}
        time.sleep(trouble.get("seconds", 0))
        if "status" in trouble:
            start_response(f"{trouble['status']} Out Of Order", [("Content-Type", "text/plain")])
            return [b"out of order"]
        body = list(self._app(environ, start_response))
        if environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            self._keep(environ["PATH_INFO"])
        return _half(body) if trouble.get("short") and environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].count("/") > 1 else body

    def _keep(self, path: str) -> None:
        name, _, key = path.strip("/").partition("/")
        bucket = self._backend.buckets.get(name)
        if bucket is None:
            return
        (self.folder / name).mkdir(exist_ok=True)
        target = self.folder / name / quote(key, safe="")
        found = bucket.keys.get(key) if key else None
        with self._writing:
            if found is not None:
                part = target.with_name(".part")
                part.write_bytes(found.value)
                part.replace(target)
            elif key:
                target.unlink(missing_ok=True)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing of requests."""


def _half(body: list[bytes]) -> Iterable[bytes]:
    data = b"".join(body)
    yield data[: len(data) // 2]
    raise ConnectionAbortedError("sent half of it, as it was told")


def main() -> None:
    """Serve until told to stop."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    server = make_server("127.0.0.1", port, Bucket(folder), threaded=True, request_handler=_Quiet)
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
