"""How long a composition will take: only from what finished ones took here."""

from typing import Any

import pytest

from hub.models import Composition, User
from hub.services import estimates
from hub.services.estimates import Plan
from tests import make
from tests.conftest import Upload
from tests.services.stage import EXAMPLES, submit

pytestmark = pytest.mark.django_db


def plan(**more: Any) -> Plan:
    given: dict[str, Any] = {"base_model": make.BASE, "method": "medley", "settings": {"budget": 40}, "modules": 2, "auto": False, "characters": 200}
    return Plan(**{**given, **more})


def ran(owner: User, seconds: float, **columns: Any) -> Composition:
    """A composition that has finished after so many seconds of work."""
    job = submit(owner, ["owner/a", "owner/b"], name=f"ran{Composition.objects.count()}")
    values = {"status": "succeeded", "attempts": 1, "report": {"seconds": {"loading": 1.0, "search": seconds - 1.0}}, **columns}
    Composition.objects.filter(pk=job.pk).update(**values)
    return job


@pytest.fixture
def two(owner: User, upload: Upload) -> None:
    upload(owner, "a")
    upload(owner, "b", seed=1)


def test_it_works(owner: User, two: None) -> None:
    assert estimates.estimate(actor=owner, plan=plan()) is None
    ran(owner, 60.0)
    found = estimates.estimate(actor=owner, plan=plan())
    assert found is not None and found.jobs == 1 and found.same_method and found.ahead == 0
    again = estimates.estimate(actor=owner, plan=plan(characters=estimates.characters(EXAMPLES)))
    assert again is not None and again.low < 60 < again.high
    twice = estimates.estimate(actor=owner, plan=plan(characters=400))
    assert twice is not None and twice.low == pytest.approx(2 * found.low)
    more = estimates.estimate(actor=owner, plan=plan(settings={"budget": 400}))
    assert more is not None and more.low > 5 * found.low


def test_the_same_method_counts_before_others(owner: User, two: None) -> None:
    ran(owner, 60.0)
    ran(owner, 6000.0, method="cma")
    slow = estimates.estimate(actor=owner, plan=plan(method="cma"))
    other = estimates.estimate(actor=owner, plan=plan(method="select", settings={}))
    assert slow is not None and (slow.jobs, slow.same_method) == (1, True)
    assert other is not None and (other.jobs, other.same_method) == (2, False)


def test_jobs_of_another_kind_do_not_hide_those_alike(owner: User, two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "LOOKED_AT", 2)
    ran(owner, 60.0, method="linear", settings={})
    for _ in range(3):
        ran(owner, 60.0)
    found = estimates.estimate(actor=owner, plan=plan(method="ties", settings={}, characters=0))
    assert found is not None and found.jobs == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "failed"},
        {"attempts": 2},
        {"finish_requested": True},
        {"settings": {"budget": 40, "seconds": 30}},
        {"base_model": "other/base"},
        {"method": "ties", "settings": {}},
        {"report": {}},
    ],
    ids=lambda columns: "-".join(columns),
)
def test_what_tells_nothing(owner: User, two: None, columns: dict[str, Any]) -> None:
    ran(owner, 60.0, **columns)
    assert estimates.estimate(actor=owner, plan=plan()) is None


def test_who_sees_no_adapter_of_the_base_is_told_nothing(owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "a", private=True)
    upload(owner, "b", seed=1, private=True)
    submit(owner, ["owner/a", "owner/b"], private=True)
    Composition.objects.update(status="succeeded", attempts=1, report={"seconds": {"search": 5.0}})
    assert estimates.estimate(actor=owner, plan=plan()) is not None
    assert estimates.estimate(actor=stranger, plan=plan()) is None


def test_what_waits_is_counted(owner: User, two: None) -> None:
    ran(owner, 60.0)
    submit(owner, ["owner/a"], name="waits")
    found = estimates.estimate(actor=owner, plan=plan())
    assert found is not None and found.ahead == 1
