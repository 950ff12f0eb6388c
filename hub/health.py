"""Says whether the website can do its work."""

import logging
import tempfile

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse

logger = logging.getLogger(__name__)


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database and store work, else 503, part by part."""
    parts = {"database": _database(), "store": _store()}
    return JsonResponse({"ok": all(parts.values()), **parts}, status=200 if all(parts.values()) else 503)


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
