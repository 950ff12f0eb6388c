"""Numbers for Prometheus at /metrics: requests (django-prometheus), bytes moved, and what the database says of jobs and the store."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Max, Min
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.models import Composition, Evaluation, Worker
from hub.services import numbers


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer whoever shows METRICS_TOKEN; for everybody else there is nothing here."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not settings.METRICS_TOKEN or scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode()):
        return HttpResponse("Not found.", status=404, content_type="text/plain")
    response: HttpResponse = ExportToDjangoView(request)
    registry = CollectorRegistry()
    registry.register(Hub())
    response.write(generate_latest(registry))
    return response


class Hub(Collector):
    """What the database says at the moment of asking; the same whichever site process is asked."""

    def collect(self) -> Iterator[Metric]:
        """Yield jobs, the queue, evaluations, the catalogue and the store."""
        jobs = GaugeMetricFamily("medley_jobs", "Compositions by state.", labels=["status"])
        by_status = dict(Composition.objects.order_by().values_list("status").annotate(n=Count("pk")))
        for status in Composition.Status.values:
            jobs.add_metric([status], by_status.get(status, 0))
        yield jobs
        yield from _queue()
        yield from _workers()
        yield CounterMetricFamily("medley_evaluations", "Candidates measured by all workers.", Evaluation.objects.aggregate(n=Max("pk"))["n"] or 0)
        found = numbers.store()
        yield GaugeMetricFamily("medley_adapters", "Adapters in the catalogue.", found["adapters"])
        yield GaugeMetricFamily("medley_blobs", "Blobs in the store.", found["blobs"])
        yield GaugeMetricFamily("medley_blob_bytes", "Bytes of the blobs in the store.", found["bytes"])

    def describe(self) -> list[Metric]:
        """Say nothing ahead: registering asks no database."""
        return []


def _queue() -> Iterator[Metric]:
    """Depth and age of what waits, by base model: what autoscaling goes by."""
    depth = GaugeMetricFamily("medley_queue_depth", "Compositions that wait for a worker.", labels=["base_model"])
    age = GaugeMetricFamily("medley_queue_age_seconds", "How long the oldest of them has waited.", labels=["base_model"])
    now = timezone.now()
    waiting = Composition.objects.filter(status=Composition.Status.QUEUED).order_by("base_model")
    for name, number, oldest in waiting.values_list("base_model").annotate(n=Count("pk"), oldest=Min("created_at")):
        depth.add_metric([name], number)
        age.add_metric([name], max(0.0, (now - oldest).total_seconds()))
    yield depth
    yield age


def _workers() -> Iterator[Metric]:
    """Workers that were seen a moment ago, and those of them that run a job."""
    there = GaugeMetricFamily("medley_workers", "Workers that were seen within a minute.", labels=["where", "device"])
    busy = GaugeMetricFamily("medley_workers_busy", "Those of them that run a composition.", labels=["where", "device"])
    counts: dict[tuple[str, str], list[bool]] = {}
    for row in Worker.objects.live(timezone.now()).with_job():
        kind = row.device.partition(":")[0]
        counts.setdefault(("hub" if row.token_id is None else "elsewhere", kind if kind in ("cpu", "cuda", "mps", "xpu") else "other"), []).append(
            row.job is not None
        )  # type: ignore[attr-defined]
    for labels, jobs in counts.items():
        there.add_metric(labels, len(jobs))
        busy.add_metric(labels, sum(jobs))
    yield there
    yield busy
