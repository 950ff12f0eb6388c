"""The same request sent twice is one job."""

from typing import Any

import pytest

from hub import celery
from hub.models import Adapter, Composition, User
from hub.services import adapters
from tests import make
from tests.conftest import commit
from tests.services.stage import EXAMPLES, at_once, refused, submit, verbs


def test_the_same_key_and_request_is_the_same_job(owner: User, modules: list[str]) -> None:
    first = submit(owner, modules, idempotency_key="k", method_settings={"budget": 5, "max_rank": 4})
    again = submit(owner, modules, idempotency_key="k", method_settings={"max_rank": 4, "budget": 5})
    assert first == again and Composition.objects.count() == 1 and verbs().count("composition.submit") == 1
    mirrored = [{"output": e["output"], "input": e["input"]} for e in EXAMPLES]
    assert submit(owner, tuple(modules), idempotency_key="k", method_settings={"budget": 5, "max_rank": 4}, examples=mirrored) == first


def test_the_same_key_long_after(owner: User, modules: list[str]) -> None:
    first = submit(owner, modules, idempotency_key="k")
    Composition.objects.update(status="succeeded")
    Adapter.objects.get(name="one").delete()
    assert submit(owner, modules, idempotency_key="k") == first


@pytest.mark.parametrize("change", [{"seed": 1}, {"name": "other"}, {"private": True}, {"modules": "auto"}, {"examples": EXAMPLES[1:]}, {"method": "cma"}])
def test_the_same_key_with_another_request(owner: User, modules: list[str], change: dict[str, Any]) -> None:
    submit(owner, modules, idempotency_key="k")
    with refused("idempotency-conflict", 409):
        submit(owner, **{"modules": modules, "idempotency_key": "k", **change})
    assert Composition.objects.count() == 1


def test_a_key_is_its_owners_alone(owner: User, friend: User, modules: list[str]) -> None:
    assert submit(owner, modules, idempotency_key="k") != submit(friend, modules, idempotency_key="k")


def test_requests_without_a_key_are_never_the_same(owner: User, modules: list[str]) -> None:
    assert submit(owner, modules) != submit(owner, modules, name="second")


@pytest.mark.parametrize("key", ["k" * 201, "a\x00b", "a\nb", "\ud800"])
def test_a_key_that_cannot_be_kept(owner: User, modules: list[str], key: str) -> None:
    with refused("idempotency-key-invalid", 400):
        submit(owner, modules, idempotency_key=key)


def test_a_request_that_failed_does_not_use_up_its_key(owner: User, modules: list[str]) -> None:
    with refused("seed-invalid"):
        submit(owner, modules, idempotency_key="k", seed=-1)
    assert submit(owner, modules, idempotency_key="k").status == "queued"


@pytest.fixture
def committed() -> User:
    """A person with a module, outside any transaction."""
    user = User.objects.create_user("acme")
    adapter = adapters.create(actor=user, name="one")
    commit(adapter, make.adapter())
    return user


@pytest.mark.django_db(transaction=True)
def test_the_same_request_at_once(committed: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "ring", lambda job_id: None)
    outcomes = at_once(*[lambda: submit(committed, ["acme/one"], idempotency_key="k")] * 3)
    assert all(isinstance(o, Composition) for o in outcomes), outcomes
    assert len({o.pk for o in outcomes}) == Composition.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_name_at_once(committed: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "ring", lambda job_id: None)
    outcomes = at_once(*[lambda n=name: submit(committed, ["acme/one"], name=n) for name in ("result", "Result")])
    assert sorted(getattr(o, "code", "made") for o in outcomes) == ["made", "name-taken"]
    assert Composition.objects.count() == 1
