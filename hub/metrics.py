"""Numbers for Prometheus at /metrics: requests (django-prometheus), bytes moved, and what the database says of jobs and the store."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Exists, Max, Min, OuterRef, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.models import Adapter, Composition, DirectUpload, Evaluation, Holding, Upload, Worker
from hub.services import numbers, quotas


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
        yield _failures()
        yield from _queue()
        yield from _workers()
        yield CounterMetricFamily("medley_evaluations", "Candidates measured by all workers.", Evaluation.objects.aggregate(n=Max("pk"))["n"] or 0)
        yield from _store()

    def describe(self) -> list[Metric]:
        """Say nothing ahead: registering asks no database."""
        return []


def _failures() -> Metric:
    """What failed, by the code that its owner saw."""
    failed = GaugeMetricFamily("medley_failed_jobs", "Compositions that failed, by error code.", labels=["error_code"])
    rows = Composition.objects.filter(status=Composition.Status.FAILED).order_by("error_code")
    for code, number in rows.values_list("error_code").annotate(n=Count("pk")):
        failed.add_metric([code], number)
    return failed


def _store() -> Iterator[Metric]:
    """What lies in the store, what each kind of repository shows of it, and what waits there."""
    found = numbers.store()
    yield GaugeMetricFamily("medley_adapters", "Adapters in the catalogue.", found["adapters"])
    yield GaugeMetricFamily("medley_blobs", "Blobs in the store.", found["blobs"])
    yield GaugeMetricFamily("medley_blob_bytes", "Bytes of the blobs in the store.", found["bytes"])
    kinds = GaugeMetricFamily("medley_head_bytes", "Bytes of the newest revisions, by what they are; shared blobs count for each.", labels=["kind"])
    for kind in (*Adapter.Kind.values, "deleted"):
        kinds.add_metric([kind], found[f"{kind} heads"])
    yield kinds
    yield GaugeMetricFamily("medley_condemned_bytes", "Bytes that nothing speaks of, and that pruning will remove.", found["condemned"])
    held = Exists(Holding.objects.filter(blob=OuterRef("blob")))
    sent = Upload.objects.filter(~held).aggregate(size=Sum("blob__size"))["size"] or 0
    under_way = DirectUpload.objects.aggregate(size=Sum("size"))["size"] or 0
    yield GaugeMetricFamily("medley_pending_bytes", "Bytes that were sent, or are on their way to the bucket, and that no revision holds.", sent + under_way)
    yield GaugeMetricFamily("medley_nearly_full_accounts", "Accounts that store more than nine tenths of what they may.", quotas.nearly_full())


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
