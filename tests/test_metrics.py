"""What the operator's Prometheus reads, who else may, and what log lines hold."""

import gzip
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.core.cache import caches
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub import logs
from hub.models import Adapter, Blob, Composition, Usage, User
from hub.models import Upload as Sent

TOKEN = "a token for the machine that watches"


def numbers(client: Client) -> dict[str, float]:
    """Every sample by its name and labels."""
    response = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    lines = [line for line in response.content.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_jobs_queue_store_and_bytes(client: Client, settings: Settings, owner: User, sums: Adapter) -> None:
    settings.METRICS_TOKEN = TOKEN
    before = numbers(client)
    job = Composition.objects.create(owner=owner, name="mix", base_model="acme/base", examples=[], method="medley")
    Composition.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(seconds=100))
    size = sum(len(chunk) for chunk in client.get("/owner/sums/resolve/main/README.md"))
    Composition.objects.create(owner=owner, name="broken", base_model="acme/base", examples=[], method="medley", status="failed", error_code="out-of-memory")
    Sent.objects.create(user=owner, blob=Blob.objects.create(sha256="0" * 64, size=1234))
    Usage.objects.filter(account=owner).update(quota_mb=1, bytes=950_000)
    after = numbers(client)
    queue = f'{{base_model="{job.base_model}"}}'
    assert after['medley_jobs{status="queued"}'] == 1 and after['medley_jobs{status="failed"}'] == after['medley_failed_jobs{error_code="out-of-memory"}'] == 1
    assert after[f"medley_queue_depth{queue}"] == 1 and 100 <= after[f"medley_queue_age_seconds{queue}"] < 200
    assert after["medley_adapters"] == 1 and after["medley_blobs"] == 4 and after["medley_blob_bytes"] > size
    assert after['medley_head_bytes{kind="adapter"}'] == sums.size and after['medley_head_bytes{kind="base-model"}'] == 0
    assert after["medley_pending_bytes"] == 1234 and after["medley_condemned_bytes"] == 0 and after["medley_nearly_full_accounts"] == 1
    assert after["medley_sent_bytes_total"] - before["medley_sent_bytes_total"] == size > 0
    assert any(name.startswith("django_http_responses_total_by_status_view_method_total{") and "resolve" in name for name in after), "requests by view"


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_nobody_else_sees_them(client: Client, settings: Settings, db: None, sent: str, token: str) -> None:
    settings.METRICS_TOKEN = token
    response = client.get("/metrics", headers={"Authorization": sent})
    assert response.status_code == 404 and b"medley" not in response.content


@pytest.fixture
def lines(settings: Settings) -> Iterator[io.StringIO]:
    """What is logged, as machines read it."""
    from logging.config import DictConfigurator  # what dictConfig runs, without touching the running configuration

    out = io.StringIO()
    handler = logging.StreamHandler(out)
    settings_of = logs.config("json", "INFO", requests=True)
    handler.setFormatter(DictConfigurator(settings_of).configure_formatter(settings_of["formatters"]["line"]))
    log = logging.getLogger("hub")
    requests = logging.getLogger("hub.requests")
    level = requests.level
    requests.setLevel("INFO")
    log.addHandler(handler)
    yield out
    log.removeHandler(handler)
    requests.setLevel(level)


def test_a_line_names_its_request_and_no_secret(client: Client, lines: io.StringIO, owner: User, sums: Adapter) -> None:
    client.force_login(owner)
    response = client.get("/lfs/file/a-link-that-is-a-permission?token=hunter2", headers={"X-Request-Id": "from-the-proxy-1"})
    assert response["X-Request-Id"] == "from-the-proxy-1"
    [line] = [json.loads(text) for text in lines.getvalue().splitlines()]
    assert line["request_id"] == "from-the-proxy-1" and line["status"] == response.status_code and line["route"].startswith("lfs/") and line["ms"] >= 0
    assert "permission" not in lines.getvalue() and "hunter2" not in lines.getvalue()


def test_an_address_that_is_a_permission_is_in_no_line(lines: io.StringIO) -> None:
    for path in ("/lfs/part/abc:def/1#there", "/accounts/password/reset/key/1-abc-def/"):
        logging.getLogger("hub.web.errors").error("Internal Server Error: %s", path, extra={"status_code": 500, "request": "<WSGIRequest abc>"})
    texts = [json.loads(text)["event"] for text in lines.getvalue().splitlines()]
    assert texts == ["Internal Server Error: /lfs/part/...", "Internal Server Error: /accounts/password/reset/key/..."]
    assert "abc" not in lines.getvalue()


def test_an_id_that_is_no_id_is_replaced(client: Client, db: None) -> None:
    for given in ("short", "x" * 100, 'forged"} {"level": "error'):
        assert len(client.get("/robots.txt", headers={"X-Request-Id": given})["X-Request-Id"]) == 32


def test_requests_go_on_without_the_cache(client: Client, settings: Settings, sums: Adapter) -> None:
    settings.CACHES = {**settings.CACHES, "default": {"BACKEND": "hub.cache.ForgivingRedisCache", "LOCATION": "redis://127.0.0.1:1/1"}}
    assert client.get("/api/v1/adapters").status_code == 200
    assert client.get("/api/models/owner/sums").status_code == 200
    assert client.get("/").status_code == 200
    cache = caches["default"]
    assert cache.add("a", 1) is True and cache.get("a", "none") == "none" and cache.incr("a") == 1 and cache.get_many(["a"]) == {}


FAULT = """
import sys
sys.modules["brotli"] = None  # so that it packs with gzip, wherever it runs
import django, logging
django.setup()
try:
    secret = "hunter2"
    raise ValueError("it broke")
except ValueError:
    logging.getLogger("hub").exception("at /lfs/file/a-link-that-is-a-permission")
import sentry_sdk
sentry_sdk.flush(30)
"""


def test_our_faults_are_reported_where_the_operator_wants_them_without_what_people_sent(tmp_path: Path) -> None:
    told: list[bytes] = []

    class Sentry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Sentry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    given = {"MEDLEY_DATA": str(tmp_path), "SENTRY_DSN": f"http://key@127.0.0.1:{server.server_port}/1", "DJANGO_SETTINGS_MODULE": "hub.settings"}
    subprocess.run([sys.executable, "-c", FAULT], env={**os.environ, **given}, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    server.shutdown()
    text = b"".join(told).decode()
    assert "ValueError" in text and "it broke" in text
    assert "hunter2" not in text, "no local variables"
