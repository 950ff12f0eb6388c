"""An S3 server of our own (moto), which remembers what it was asked and can be told to fail."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

NAME = "medley"
Answer = Callable[..., Iterable[bytes]]


class Bucket:
    """A running server with one bucket."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.failing: Callable[[dict[str, Any]], bool] = lambda environ: False
        self.seconds = 0.0
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.client.create_bucket(Bucket=NAME)

    @property
    def client(self) -> Any:
        """A plain client of the server."""
        import boto3

        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")

    def names(self) -> list[str]:
        """The keys of everything in the bucket."""
        return [row["Key"] for row in self.client.list_objects_v2(Bucket=NAME).get("Contents", [])]

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked.append(dict(environ))
        time.sleep(self.seconds)
        if self.failing(environ):
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"out of order"]
        return self._app(environ, start_response)  # type: ignore[no-any-return]
