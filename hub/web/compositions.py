"""Pages of compositions: mine, and one with live progress that becomes its report."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from compose_worker.engine import catalogue
from compose_worker.engine.errors import ComposeError
from hub.errors import not_found
from hub.models import Composition, Ingredient
from hub.services import access, adapters, jobs
from hub.web import charts, report

PAGE = 50
STOP_POLLING = 286
LOG_LINES = 200
STAGES = (
    ("queued", "Waiting"),
    ("loading", "Loading"),
    ("modules", "Trying adapters"),
    ("search", "Learning weights"),
    ("check", "Held-out check"),
    ("export", "Publishing"),
)
ENDED = {"succeeded": "Finished", "failed": "Failed", "cancelled": "Cancelled"}


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List my compositions, newest first."""
    access.require_login(request.user)
    before = request.GET.get("before", "")
    rows = (
        Composition.objects.visible_to(request.user).select_related("owner", "organization", "result__adapter__owner").defer("examples", "report", "settings")
    )
    if before.isdecimal():
        rows = rows.filter(pk__lt=int(before[:18]))
    found = list(rows[: PAGE + 1])
    items = [{"job": job, "scores": charts.triple(job.scores), "method": method_title(job.method)} for job in found[:PAGE]]
    return render(request, "compositions/list.html", {"items": items, "next": found[PAGE - 1].pk if len(found) > PAGE else None, "before": before})


@never_cache
@require_safe
def detail(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show one composition."""
    access.require_login(request.user)
    job = jobs.find(actor=request.user, job_id=job_id)
    return render(request, "compositions/detail.html", _live(request, job))


@never_cache
@require_safe
def progress(request: HttpRequest, job_id: int) -> HttpResponse:
    """Answer a page that watches: nothing when nothing is new, and 286 (stop asking) once it is over."""
    access.require_login(request.user)
    job = jobs.find(actor=request.user, job_id=job_id)
    context = _live(request, job)
    if not job.is_over and request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "compositions/_live.html", context, status=STOP_POLLING if job.is_over else 200)


@require_POST
def cancel(request: HttpRequest, job_id: int) -> HttpResponse:
    """Cancel a composition."""
    access.require_login(request.user)
    jobs.cancel(actor=request.user, job=jobs.find(actor=request.user, job_id=job_id))
    return redirect("composition-detail", job_id)


@require_POST
def finish(request: HttpRequest, job_id: int) -> HttpResponse:
    """End a composition's search with the best so far."""
    access.require_login(request.user)
    jobs.finish_now(actor=request.user, job=jobs.find(actor=request.user, job_id=job_id))
    return redirect("composition-detail", job_id)


@require_POST
def show(request: HttpRequest, job_id: int) -> HttpResponse:
    """Make the result public, or private."""
    access.require_login(request.user)
    job = jobs.find(actor=request.user, job_id=job_id)
    if job.result is None:
        raise not_found("result")
    private = request.POST.get("to") != "everyone"
    adapter = adapters.update(actor=request.user, adapter=job.result.adapter, private=private)
    seen = f"private now: only {report.seen_by(job.owner, adapter)} can see it" if private else "public now"
    messages.success(request, f"{adapter.repo_id} is {seen}.")
    return redirect("composition-detail", job_id)


def method_title(name: str) -> str:
    """Return the method's title; a method that no longer exists keeps its name."""
    try:
        return catalogue.method(name).title
    except ComposeError:
        return name


def _measured(job: Composition, ingredients: Sequence[Ingredient]) -> list[str]:
    """The adapters that a candidate's weights stand for: all, or those that a shortlist left."""
    kept = job.history.filter(phase="shortlist").values_list("detail", flat=True).first()
    return [i.repo_id for i in ingredients if kept is None or i.repo_id in kept["kept"]]


def _live(request: HttpRequest, job: Composition) -> dict[str, Any]:
    history = list(job.history.defer("detail"))
    log = list(job.log.order_by("-pk")[:LOG_LINES])
    ingredients = list(job.ingredients.all())
    ahead = jobs.queue_place(job) if job.status == Composition.Status.QUEUED else 0
    weights, hidden = charts.weight_bars(job.weights) if job.weights else ([], 0)
    result = job.result.adapter if job.result else None
    seen = f"{job.status}.{job.stage}.{job.done}.{log[0].pk if log else 0}.{ahead}.{int(job.cancel_requested)}{int(job.finish_requested)}"
    return {
        "job": job,
        "method": method_title(job.method),
        "settings": _settings(job),
        "ingredients": ingredients,
        "chart": charts.loss_chart(history, _measured(job, ingredients)),
        "weights": weights,
        "weights_hidden": hidden,
        "log": log,
        "phases": _phases(job, ahead),
        "ahead": ahead,
        "seen": seen,
        "may_show": result is not None and result.private and access.may_manage(request.user, result),
        "ended": ENDED.get(job.status, ""),
        **report.context(job),
    }


def _settings(job: Composition) -> list[tuple[str, Any]]:
    try:
        titles = {s.name: s.title for s in catalogue.method(job.method).settings}
    except ComposeError:
        titles = {}
    return [(titles.get(name, name), _shown(value)) for name, value in job.settings.items()]


def _shown(value: Any) -> Any:
    """A setting as text: weights by adapter, yes and no."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {weight:g}" for name, weight in value.items()) or "the same for all"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _phases(job: Composition, ahead: int) -> list[dict[str, Any]]:
    """Return the stages with what each says: done, now or to come."""
    names = [name for name, _ in STAGES]
    if job.status == Composition.Status.QUEUED:
        at = 0
    elif job.is_over:
        at = len(STAGES) if job.status == Composition.Status.SUCCEEDED else -1
    else:
        at = names.index(job.stage) if job.stage in names else 1
    notes = {0: _waited(job, ahead)}
    if at > 0 and not job.is_over:
        notes[at] = _progress(job)
    return [{"title": title, "state": "done" if n < at else "now" if n == at else "", "note": notes.get(n, "")} for n, (_, title) in enumerate(STAGES)]


def _waited(job: Composition, ahead: int) -> str:
    if job.started_at:
        seconds = max(0, round((job.started_at - job.created_at).total_seconds()))
        return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
    if ahead:
        return f"{ahead} ahead of this one"
    return "next in line"


def _progress(job: Composition) -> str:
    if not job.done or not job.budget:
        return ""
    text = f"{job.done} of at most {job.budget}"
    if job.started_at and job.done >= 5:
        left = (timezone.now() - job.started_at).total_seconds() / job.done * max(0, job.budget - job.done)
        text += f", {'under a minute' if left < 60 else f'about {round(left / 60)} min'} left"
    return text
