"""An S3 server of our own (moto), which remembers what it was asked and can be told to fail.

Beyond moto it checks the signatures of links, and lets pages of other origins in by the bucket's CORS rules alone, as S3 does.
"""

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote

from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from pytest_django.fixtures import Settings
from werkzeug.serving import make_server

from hub import object_store

NAME, KEY, SECRET, REGION = "medley", "key", "secret", "us-east-1"
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

        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET)

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which a hub keeps its blobs here."""
        return {"S3_BUCKET": NAME, "S3_ENDPOINT": self.url, "S3_REGION": REGION, "S3_ACCESS_KEY": KEY, "S3_SECRET_KEY": SECRET, "S3_ADDRESSING": "path"}

    def names(self) -> list[str]:
        """The keys of everything in the bucket."""
        return [row["Key"] for row in self.client.list_objects_v2(Bucket=NAME).get("Contents", [])]

    def under_way(self) -> list[str]:
        """The keys of uploads in parts that have not ended."""
        return [row["Key"] for row in self.client.list_multipart_uploads(Bucket=NAME).get("Uploads", [])]

    def empty(self) -> None:
        """Remove everything, and forget what was asked."""
        for row in self.client.list_multipart_uploads(Bucket=NAME).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=NAME, Key=row["Key"], UploadId=row["UploadId"])
        for name in self.names():
            self.client.delete_object(Bucket=NAME, Key=name)
        self.asked.clear()

    def let_in(self, *origins: str) -> None:
        """Set the bucket's CORS rule for these origins."""
        rules = [{**object_store.CORS, "AllowedOrigins": list(origins)}] if origins else []
        self.client.put_bucket_cors(Bucket=NAME, CORSConfiguration={"CORSRules": rules}) if rules else self.client.delete_bucket_cors(Bucket=NAME)

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked.append(dict(environ))
        time.sleep(self.seconds)
        if self.failing(environ):
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"out of order"]
        if environ["REQUEST_METHOD"] != "OPTIONS" and "X-Amz-Signature=" in environ["QUERY_STRING"] and not _is_signed(environ):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SignatureDoesNotMatch</Code></Error>"]

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*(h for h in headers if not h[0].lower().startswith("access-control-")), *self._cors(environ)], *more)

        return self._app(environ, start)  # type: ignore[no-any-return]

    def _cors(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        origin = environ.get("HTTP_ORIGIN", "")
        try:
            rules = self.client.get_bucket_cors(Bucket=NAME)["CORSRules"] if origin else []
        except self.client.exceptions.ClientError:
            rules = []
        for rule in rules:
            if origin in rule["AllowedOrigins"]:
                lists = {"Allow-Methods": rule["AllowedMethods"], "Allow-Headers": rule["AllowedHeaders"], "Expose-Headers": rule["ExposeHeaders"]}
                return [("Access-Control-Allow-Origin", origin), *((f"Access-Control-{name}", ", ".join(values)) for name, values in lists.items())]
        return []


@contextmanager
def store_of(settings: Settings, server: Bucket) -> Iterator[Bucket]:
    """Let the hub of this process keep its blobs in the server's bucket, which is empty."""
    server.empty()
    options: dict[str, Any] = {"bucket_name": NAME, "endpoint_url": server.url, "region_name": REGION, "access_key": KEY, "secret_key": SECRET}
    options["client_config"] = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 2}, read_timeout=5)
    backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend, "blobs-public": backend}
    settings.S3_BUCKET = NAME
    object_store._bucket.cache_clear()
    try:
        yield server
    finally:
        server.failing, server.seconds = lambda environ: False, 0.0
        object_store._bucket.cache_clear()


def _is_signed(environ: dict[str, Any]) -> bool:
    """Whether a link was signed with the secret for just this request: method, path, question, and the headers that it names."""
    asked = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    given, names = asked.pop("X-Amz-Signature"), asked["X-Amz-SignedHeaders"].split(";")
    headers = {name: environ.get("CONTENT_LENGTH" if name == "content-length" else f"HTTP_{name.upper().replace('-', '_')}", "") for name in names}
    question = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(asked.items()))
    lines = [environ["REQUEST_METHOD"], quote(environ["PATH_INFO"]), question, *(f"{name}:{headers[name]}" for name in names), "", ";".join(names)]
    _, day, region, service, last = asked["X-Amz-Credential"].split("/")
    request = hashlib.sha256("\n".join([*lines, "UNSIGNED-PAYLOAD"]).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", asked["X-Amz-Date"], "/".join((day, region, service, last)), request])
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, service, last, text):
        key = hmac.digest(key, part.encode(), "sha256")
    return bool(re.fullmatch("[0-9a-f]{64}", given)) and hmac.compare_digest(key.hex(), given)
