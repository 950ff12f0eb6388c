"""Chooses the job that a free worker takes. The job rows are the queue; a message only says that something waits, whichever it names.

First by priority; then the people with fewer running jobs; then what suits the worker (the base model it holds in memory), unless somebody has waited for
long; then the people who were served the longest ago; then the oldest. So a hundred jobs of one person do not keep another person's one waiting.
A worker without a GPU leaves a job for a moment to one that has a GPU and nothing to do. A machine that is lent to the hub gets what may run anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db.models import BooleanField, Case, Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, When

from compose_worker.engine import catalogue
from hub.models import BaseModel, Composition, Ingredient, Worker, WorkerToken
from hub.services import clock, kept, runs, workers

LOOKED_BACK = timedelta(days=1)  # at who was served when
WARM = timedelta(seconds=60)  # who has waited so long is not passed over for the sake of a warm base model
UNSERVED = timedelta(minutes=10)  # a worker that has the base model comes by then; otherwise the job is taken, and fails with a sentence that says so
GPU_FIRST = timedelta(seconds=20)  # that a job is left to a GPU that has nothing to do
TRIES = 20  # jobs that other workers take first


@dataclass(frozen=True)
class Group:
    """Jobs that wait of one person, base model and priority, by their oldest; those that need no base model, and those that a worker gave up, apart."""

    owner: int
    base_model: str
    measures: bool  # on the base model; not where the weights are given and there are no examples
    priority: int
    given_up_by: int | None  # the token of a worker elsewhere on which something broke
    first: int
    since: datetime


def take(*, worker: str, has_base: Callable[[str], bool], warm: str = "", has_gpu: bool = True, token: WorkerToken | None = None) -> Composition | None:
    """Claim the job whose turn it is among those that this worker can run; None when there is none.

    A worker elsewhere comes with its `token`, and never takes a job only to fail it because nobody has the base model.
    """
    missed: list[int] = []
    for _ in range(TRIES):
        now = clock.now()
        others = _Others(worker, now)
        for group in _in_turn(_open_to(token, now).exclude(pk__in=missed), now, warm):
            if group.measures and not _takes(group, now, others, has_base, has_gpu=has_gpu, may_fail=token is None):
                continue
            if (job := runs.claim(job_id=group.first, worker=worker, token=token)) is not None:
                return job
            missed.append(group.first)
            break  # it was cancelled, or another worker has it: look again
        else:
            return None
    return None


class _Others:
    """The other workers that were seen a moment ago; asked for once, and only where it matters."""

    def __init__(self, name: str, now: datetime) -> None:
        self._name, self._now = name, now
        self._rows: list[Worker] | None = None

    def serving(self, group: Group, *, idle_gpu: bool = False) -> bool:
        """Say whether one of those that run every job may serve the group; with `idle_gpu`, one that would begin at once and fast."""
        if self._rows is None:
            rows = Worker.objects.live(self._now).with_job().select_related("token").exclude(name=self._name)
            self._rows = [row for row in rows if row.token is None or row.token.trusted]
        fit = [row for row in self._rows if row.token is None or row.token_id != group.given_up_by]
        if idle_gpu:
            fit = [row for row in fit if row.has_gpu and row.job is None]  # type: ignore[attr-defined]
        return any(workers.serves(row, group.base_model) for row in fit)


def _takes(group: Group, now: datetime, others: _Others, has_base: Callable[[str], bool], *, has_gpu: bool, may_fail: bool) -> bool:
    waited = now - group.since
    if has_base(group.base_model):
        return has_gpu or waited >= GPU_FIRST or not others.serving(group, idle_gpu=True)
    if not may_fail or others.serving(group):
        return False
    return waited >= UNSERVED or not _is_elsewhere(group.base_model)


def _open_to(token: WorkerToken | None, now: datetime) -> QuerySet[Composition]:
    """What a worker may take: everything, or on a lent machine what its owner lets run anywhere and holds nothing that is not for everybody."""
    rows = runs.takeable(now)
    if token is None:
        return rows
    rows = rows.exclude(status=Composition.Status.QUEUED, worker_token=token)  # what it gave up
    if token.trusted:
        return rows
    used = Ingredient.objects.filter(composition=OuterRef("pk"), revision__isnull=False)
    return rows.filter(~Exists(used.exclude(fits_anywhere("revision__adapter__"))), anywhere=True, private=False)


def fits_anywhere(path: str = "") -> Q:
    """Match adapters that every machine may have."""
    return Q(**{f"{path}private": False, f"{path}gated": "", f"{path}taken_down": False})


def _is_elsewhere(base_model: str) -> bool:
    """Whether some worker has said that it has the base model."""
    return BaseModel.objects.filter(name=base_model, available_at__isnull=False).exists()


def place(job: Composition) -> int:
    """Return how many jobs are served until this one is, itself included, if nobody comes or goes; 0 for one that does not wait.

    While very many wait, who waits beside it is as it was a moment ago: a thousand people look at their places far more often than one is served.
    """
    if job.status != Composition.Status.QUEUED:
        return 0
    mine = Composition.objects.filter(status=Composition.Status.QUEUED, priority=job.priority, owner=job.owner, pk__lte=job.pk).count()
    if not mine:
        return 0  # a worker has taken it a moment ago
    people: People = kept.number(f"queue-{job.priority}", partial(_people, job.priority), lambda found: found.jobs)
    me = people.turns.get(job.owner_id, (0, 0.0, job.pk))
    others = [(people.waiting[owner], turn < me) for owner, turn in people.turns.items() if owner != job.owner_id]
    return people.before + mine + sum(min(n, mine if earlier else mine - 1) for n, earlier in others)


@dataclass(frozen=True)
class People:
    """Who waits with jobs of one priority: how many by person, whose turn comes first, and how many jobs of higher priority there are."""

    waiting: dict[int, int]
    turns: dict[int, tuple[int, float, int]]
    before: int

    @property
    def jobs(self) -> int:
        """How many jobs that is about."""
        return self.before + sum(self.waiting.values())


def _people(priority: int) -> People:
    waiting = Composition.objects.filter(status=Composition.Status.QUEUED)
    rows = list(waiting.filter(priority=priority).order_by().values_list("owner").annotate(n=Count("pk"), first=Min("pk")))
    running, served = _served([owner for owner, _, _ in rows], clock.now())
    turns = {owner: (running.get(owner, 0), served.get(owner, 0.0), first) for owner, _, first in rows}
    return People({owner: n for owner, n, _ in rows}, turns, waiting.filter(priority__gt=priority).count())


def _in_turn(open_ones: QuerySet[Composition], now: datetime, warm: str) -> list[Group]:
    names = ("owner_id", "base_model", "measures", "priority", "given_up_by")
    given_up = Case(When(status=Composition.Status.QUEUED, then=F("worker_token")), default=None)
    measures = Case(When(method__in=catalogue.GIVEN_WEIGHTS, examples=[], then=False), default=True, output_field=BooleanField())
    rows = open_ones.order_by().annotate(given_up_by=given_up, measures=measures).values_list(*names).annotate(first=Min("pk"), since=Min("created_at"))
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
