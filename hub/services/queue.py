"""Chooses the job that a free worker takes. The job rows are the queue; a message only says that something waits, whichever it names.

First by priority; then the people with fewer running jobs; then what suits the worker (the base model it holds in memory), unless somebody has waited for
long; then the people who were served the longest ago; then the oldest. So a hundred jobs of one person do not keep another person's one waiting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Max, Min, Q

from compose_worker.engine import catalogue
from hub.models import BaseModel, Composition
from hub.services import clock, runs

LOOKED_BACK = timedelta(days=1)  # at who was served when
WARM = timedelta(seconds=60)  # who has waited so long is not passed over for the sake of a warm base model
UNSERVED = timedelta(minutes=10)  # a worker that has the base model comes by then; otherwise the job is taken, and fails with a sentence that says so
TRIES = 20  # jobs that other workers take first
WITHOUT_BASE = frozenset(method.name for method in catalogue.METHODS if not method.needs_examples)  # their weights are given


@dataclass(frozen=True)
class Group:
    """Jobs that wait of one person, base model, method and priority, by their oldest."""

    owner: int
    base_model: str
    method: str
    priority: int
    first: int
    since: datetime


def take(*, worker: str, has_base: Callable[[str], bool], warm: str = "") -> Composition | None:
    """Claim the job whose turn it is among those that this worker can run; None when there is none."""
    missed: list[int] = []
    for _ in range(TRIES):
        now = clock.now()
        for group in _in_turn(now, warm, missed):
            if group.method not in WITHOUT_BASE and not has_base(group.base_model) and now - group.since < UNSERVED and _is_elsewhere(group.base_model):
                continue
            if (job := runs.claim(job_id=group.first, worker=worker)) is not None:
                return job
            missed.append(group.first)
            break  # it was cancelled, or another worker has it: look again
        else:
            return None
    return None


def _is_elsewhere(base_model: str) -> bool:
    """Whether some worker has said that it has the base model."""
    return BaseModel.objects.filter(name=base_model, available_at__isnull=False).exists()


def place(job: Composition) -> int:
    """Return how many jobs are served until this one is, itself included, if nobody comes or goes; 0 for one that does not wait."""
    if job.status != Composition.Status.QUEUED:
        return 0
    waiting = Composition.objects.filter(status=Composition.Status.QUEUED)
    same = waiting.filter(priority=job.priority)
    rows = same.order_by().values_list("owner").annotate(n=Count("pk"), first=Min("pk"))
    queues = {owner: (n, first) for owner, n, first in rows}
    mine = same.filter(owner=job.owner, pk__lte=job.pk).count()
    if job.owner_id not in queues or not mine:
        return 0  # a worker has taken it a moment ago
    running, served = _served([*queues], clock.now())

    def turn(owner: int) -> tuple[int, float, int]:
        return running.get(owner, 0), served.get(owner, 0.0), queues[owner][1]

    others = [(n, turn(owner) < turn(job.owner_id)) for owner, (n, _) in queues.items() if owner != job.owner_id]
    return waiting.filter(priority__gt=job.priority).count() + mine + sum(min(n, mine if earlier else mine - 1) for n, earlier in others)


def _in_turn(now: datetime, warm: str, missed: Sequence[int]) -> list[Group]:
    names = ("owner_id", "base_model", "method", "priority")
    rows = runs.takeable(now).exclude(pk__in=missed).order_by().values_list(*names).annotate(first=Min("pk"), since=Min("created_at"))
    groups = [Group(*row) for row in rows]
    running, served = _served({group.owner for group in groups}, now)

    def turn(group: Group) -> tuple[int, int, bool, float, int]:
        suits = group.base_model == warm or now - group.since > WARM
        return -group.priority, running.get(group.owner, 0), not suits, served.get(group.owner, 0.0), group.first

    return sorted(groups, key=turn)


def _served(owners: "set[int] | list[int]", now: datetime) -> tuple[dict[int, int], dict[int, float]]:
    """Return for each person how many jobs run, and when the last one began, in seconds since 1970."""
    alive = Q(status=Composition.Status.RUNNING, heartbeat_at__gte=now - timedelta(seconds=settings.JOB_STALE_SECONDS))
    rows = Composition.objects.filter(Q(started_at__gte=now - LOOKED_BACK) | alive, owner__in=owners).order_by()
    found = rows.values_list("owner").annotate(n=Count("pk", filter=alive), last=Max("started_at"))
    counts = list(found)
    return {owner: n for owner, n, _ in counts}, {owner: last.timestamp() for owner, _, last in counts if last}
