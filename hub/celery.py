"""The Celery app: the doorbells between website and worker."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
TRANSPORT_ALIASES["filesystem"] = "hub.file_broker:Transport"
app = Celery("medley")
app.config_from_object("django.conf:settings", namespace="CELERY")


def ring(job_id: int) -> None:
    """Tell the workers that a job waits. The job row is what counts: a lost or doubled ring does no harm."""
    app.send_task("compose_worker.run", args=[job_id], ignore_result=True)


def ring_import(import_id: int) -> None:
    """Tell the workers that an import waits."""
    app.send_task("compose_worker.fetch", args=[import_id], ignore_result=True)


def ring_profile(profile_id: int) -> None:
    """Tell the workers that weights wait to be measured."""
    app.send_task("compose_worker.profile", args=[profile_id], ignore_result=True)


def mail(number: int) -> None:
    """Tell the workers that a notification's mail is due; one that gets lost is sent within the hour."""
    app.send_task("compose_worker.mail", args=[number], ignore_result=True)
