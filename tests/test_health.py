"""Whether the website can do its work, as a load balancer asks."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from hub import health

OTHERS = {"broker": True, "cache": True}


def answer() -> tuple[int, dict[str, bool]]:
    """The status and the parts."""
    response = health.healthz(RequestFactory().get("/healthz"))
    return response.status_code, json.loads(response.content)


def test_it_works(db: None, settings: Settings) -> None:
    assert answer() == (200, {"ok": True, "database": True, "store": True} | OTHERS)
    assert list(Path(settings.WORK_DIR).iterdir()) == []


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_without_a_database(db: None, monkeypatch: pytest.MonkeyPatch, error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    def broken(*args: Any) -> None:
        raise error("the password is hunter2")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", broken)
        status, parts = answer()
    assert status == 503 and parts == {"ok": False, "database": False, "store": True} | OTHERS
    assert "hunter2" in caplog.text and "hunter2" not in str(parts)


def test_without_a_store(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.WORK_DIR = tmp_path / "gone"
    assert answer() == (503, {"ok": False, "database": True, "store": False} | OTHERS)


def test_without_a_broker_or_a_cache_the_site_goes_on(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.app.conf, "broker_write_url", "redis://127.0.0.1:1/0")
    settings.CACHES = {"default": {"BACKEND": "hub.cache.ForgivingRedisCache", "LOCATION": "redis://127.0.0.1:1/1"}}
    assert answer() == (200, {"ok": True, "database": True, "store": True, "broker": False, "cache": False})


def test_alive(client: Client) -> None:
    assert client.get("/healthz/live").content == b"ok"


def test_a_load_balancer_need_not_know_the_name_of_the_site(client: Client, db: None, settings: Settings) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["hub.example.org"], True
    assert client.get("/healthz", headers={"Host": "10.0.0.7:8000"}).status_code == 200
    assert client.get("/healthz/live", headers={"Host": "10.0.0.7:8000"}).status_code == 200
