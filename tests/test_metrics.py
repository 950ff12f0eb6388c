"""What the operator's Prometheus reads, who else may, and what log lines hold."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.cache import caches
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub import logs
from hub.models import Adapter, Composition, User

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
    after = numbers(client)
    queue = f'{{base_model="{job.base_model}"}}'
    assert after['medley_jobs{status="queued"}'] == 1 and after['medley_jobs{status="failed"}'] == 0
    assert after[f"medley_queue_depth{queue}"] == 1 and 100 <= after[f"medley_queue_age_seconds{queue}"] < 200
    assert after["medley_adapters"] == 1 and after["medley_blobs"] == 3 and after["medley_blob_bytes"] > size
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
    for path in ("/lfs/part/abc:def/1?there=1", "/accounts/password/reset/key/1-abc-def/"):
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
