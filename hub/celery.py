"""The Celery app: the doorbells between website and worker."""

import logging
import os
import time

from celery import Celery
from kombu.exceptions import KombuError
from kombu.transport import TRANSPORT_ALIASES
from redis.exceptions import RedisError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
TRANSPORT_ALIASES["filesystem"] = "hub.file_broker:Transport"
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "hub.redis_broker:Transport"
logger = logging.getLogger(__name__)
PAUSE_SECONDS = 5.0
app = Celery("medley")
app.config_from_object("django.conf:settings", namespace="CELERY")


def ring(job_id: int) -> None:
    """Tell the workers that a job waits. The job row is what counts: a lost or doubled ring does no harm."""
    _ring("compose_worker.run", job_id)


def ring_import(import_id: int) -> None:
    """Tell the workers that an import waits."""
    _ring("compose_worker.fetch", import_id)


def ring_profile(profile_id: int) -> None:
    """Tell the workers that weights wait to be measured."""
    _ring("compose_worker.profile", profile_id)


def mail(number: int) -> None:
    """Tell the workers that a notification's mail is due; one that gets lost is sent within the hour."""
    _ring("compose_worker.mail", number)


class _Silence:
    """Until when nobody rings, so that requests do not wait for a broker one after another that has just failed."""

    until = 0.0


def _ring(task: str, number: int) -> None:
    if time.monotonic() < _Silence.until:
        return
    try:
        app.send_task(task, args=[number], ignore_result=True)
    except (KombuError, RedisError, OSError) as error:
        _Silence.until = time.monotonic() + PAUSE_SECONDS
        logger.warning("the broker does not answer, going on without it for %s seconds: %s", PAUSE_SECONDS, error)
