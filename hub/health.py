"""Says whether the website can do its work."""

import logging
import tempfile
from collections.abc import Callable

from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from kombu.exceptions import KombuError, OperationalError

from hub.celery import app

logger = logging.getLogger(__name__)


class HealthMiddleware:
    """Answers whoever asks for the health before anything else looks at the request: a load balancer knows neither the site's name nor https."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, or pass the request on."""
        view = {"/healthz": healthz, "/healthz/live": live}.get(request.path_info)
        return view(request) if view and request.method in ("GET", "HEAD") else self.get_response(request)


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database and store work, else 503, part by part. Without broker and cache the site goes on, so they are told and do not count."""
    needed = {"database": _database(), "store": _store()}
    ready = all(needed.values())
    return JsonResponse({"ok": ready, **needed, "broker": _broker(), "cache": _cache()}, status=200 if ready else 503)


def live(request: HttpRequest) -> HttpResponse:
    """Answer 200 while this process answers at all; whoever starts it again when it does not asks here."""
    return HttpResponse("ok", content_type="text/plain")


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        logger.exception("the database does not answer")
        return False
    return True


def _store() -> bool:
    try:
        with tempfile.TemporaryFile(dir=settings.WORK_DIR) as file:
            file.write(b"ok")
    except OSError:
        logger.exception("the store cannot be written")
        return False
    return True


def _broker() -> bool:
    try:
        with app.connection_for_write(connect_timeout=1) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)
    except (KombuError, OperationalError, OSError):
        logger.warning("the broker does not answer", exc_info=True)
        return False
    return True


def _cache() -> bool:
    cache.set("healthz", 1, 10)
    return bool(cache.get("healthz"))
