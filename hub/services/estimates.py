"""Says how long a composition will take, from what finished ones took on this hub; says nothing where none has."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Count

from compose_worker.engine import catalogue
from hub.models import Adapter, Composition
from hub.services import texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

LOOKED_AT = 20  # finished compositions, the newest
FOLDS = 3  # the engine fits as many times again, each without a part of the examples


@dataclass(frozen=True)
class Plan:
    """What is known of a composition before it runs."""

    base_model: str
    method: str
    settings: Mapping[str, Any]
    modules: int
    auto: bool
    characters: int  # of the examples


@dataclass(frozen=True)
class Estimate:
    """A range of seconds, and what it rests on."""

    low: float
    high: float
    jobs: int
    same_method: bool
    ahead: int  # compositions that wait before it


def estimate(*, actor: "Actor", plan: Plan) -> Estimate | None:
    """Return how long the plan will take once it runs, or None where nothing of the kind has finished here."""
    base = texts.storable(plan.base_model, 200)
    if not Adapter.objects.adapters().visible_to(actor).filter(base_model=base).exists():
        return None
    past = _past(base, needs_examples=plan.method not in catalogue.GIVEN_WEIGHTS)
    alike = [one for one in past if one[0].method == plan.method]
    chosen = alike or past
    if not chosen:
        return None
    rates = [seconds / work(done) for done, seconds in chosen]
    low, high = _range(rates)
    ahead = Composition.objects.filter(status=Composition.Status.QUEUED).count()
    return Estimate(low * work(plan), high * work(plan), len(chosen), bool(alike), ahead)


def work(plan: Plan) -> float:
    """How much there is to do, in a unit of its own: characters through the model, or adapters where there are no examples."""
    if not plan.characters:
        return float(max(1, plan.modules))
    settings = plan.settings
    tried = min(plan.modules, max(catalogue.TRIED, int(settings.get("shortlist", 0)))) if plan.auto else plan.modules
    alone = 2 + tried * (2 if plan.auto else 1)
    search = int(settings.get("budget", 0)) + 2 * FOLDS * int(settings.get("steps", 0))
    return float(plan.characters * (alone + search))


def characters(examples: Iterable[Any]) -> int:
    """How long examples are, as far as they can be read."""
    return sum(len(str(value)) for row in examples for value in (row.values() if isinstance(row, Mapping) else [row]))


def _past(base_model: str, *, needs_examples: bool) -> list[tuple[Plan, float]]:
    """What finished compositions on a base model were, and the seconds they took; those that ended early or changed workers tell nothing."""
    ended = Composition.objects.filter(status=Composition.Status.SUCCEEDED, base_model=base_model, attempts=1, finish_requested=False)
    alike = ended.filter(method__in=catalogue.GIVEN_WEIGHTS)
    if needs_examples:
        alike = ended.exclude(method__in=catalogue.GIVEN_WEIGHTS).exclude(settings__seconds__gt=0)
    rows = (
        alike.annotate(modules=Count("ingredients")).order_by("-pk").values("method", "settings", "auto", "examples", "modules", "report__seconds")[:LOOKED_AT]
    )
    found = []
    for row in rows:
        seconds = _sum((row["report__seconds"] or {}).values())
        if seconds:
            length = characters(row["examples"]) if needs_examples else 0
            found.append((Plan(base_model, row["method"], row["settings"], row["modules"], row["auto"], length), seconds))
    return found


def _sum(values: Iterable[Any]) -> float:
    return float(sum(value for value in values if isinstance(value, int | float)))


def _range(rates: list[float]) -> tuple[float, float]:
    """The middle half of what was measured; with few measurements a good deal around them."""
    if len(rates) < 4:
        return min(rates) * 0.7, max(rates) * 1.5
    low, _, high = statistics.quantiles(rates, n=4, method="inclusive")
    return low * 0.9, high * 1.1
