"""Whose turn it is: by priority, fairly among people, warm base models first while nobody waits long."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from hub.errors import HubError
from hub.models import BaseModel, Composition, User
from hub.services import jobs, queue, runs
from tests.conftest import person
from tests.services.stage import at_once

Put = Callable[..., Composition]


@pytest.fixture
def put(db: None) -> Put:
    """Put a job into the queue."""

    def make(owner: User, base: str = "acme/base", *, waited: float = 0, **more: object) -> Composition:
        job = Composition.objects.create(owner=owner, name=f"job-{Composition.objects.count()}", base_model=base, examples=[], method="medley", **more)
        Composition.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(seconds=waited))
        return job

    return make


def served(*, bases: set[str] | None = None, warm: str = "", end: bool = True) -> list[int]:
    """The jobs in the order in which one worker takes them."""
    order = []
    while job := queue.take(worker="w:1", has_base=lambda name: bases is None or name in bases, warm=warm):
        order.append(job.pk)
        if end:
            runs.fail(job=job, code="test", message="Over.")
    return order


def test_people_take_turns(put: Put, owner: User, friend: User, stranger: User) -> None:
    mine = [put(owner).pk for _ in range(4)]
    theirs = [put(friend).pk for _ in range(2)]
    third = put(stranger).pk
    expected = [mine[0], theirs[0], third, mine[1], theirs[1], mine[2], mine[3]]
    places = {job.pk: queue.place(job) for job in Composition.objects.all()}
    assert served() == expected
    assert places == {pk: number for number, pk in enumerate(expected, 1)}, "the place that people are told is the one they have"


def test_who_has_a_running_job_waits_for_who_has_none(put: Put, owner: User, friend: User) -> None:
    first, second = put(owner), put(owner)
    assert served(end=False, bases={"acme/base"})[:1] == [first.pk]
    Composition.objects.filter(pk=second.pk).update(status="queued", claim="", worker="")
    other = put(friend)
    assert queue.place(Composition.objects.get(pk=second.pk)) == 2
    assert queue.take(worker="w:2", has_base=lambda name: True) == other


def test_a_job_that_was_taken_a_moment_ago_has_no_place(put: Put, owner: User) -> None:
    job = put(owner)
    assert queue.take(worker="w:1", has_base=lambda name: True) is not None
    assert job.status == "queued" and queue.place(job) == 0, "the row that the page has read is older"
    assert queue.place(Composition.objects.get(pk=job.pk)) == 0


def test_priority_comes_first(put: Put, owner: User, friend: User, admin_user: User) -> None:
    low, normal, high = put(owner), put(owner), put(friend)
    jobs.prioritise(actor=admin_user, job=low, priority=Composition.Priority.LOW)
    jobs.prioritise(actor=admin_user, job=high, priority=Composition.Priority.HIGH)
    assert [queue.place(Composition.objects.get(pk=job.pk)) for job in (low, normal, high)] == [3, 2, 1]
    assert served() == [high.pk, normal.pk, low.pk]
    for actor in (owner, friend):
        with pytest.raises(HubError, match="composition"):
            jobs.prioritise(actor=actor, job=low, priority=Composition.Priority.HIGH)
    with pytest.raises(HubError):
        jobs.prioritise(actor=AnonymousUser(), job=low, priority=Composition.Priority.HIGH)


def test_a_warm_base_model_comes_first_while_nobody_waits_long(put: Put, owner: User, friend: User) -> None:
    cold, warm = put(owner, "acme/cold", waited=20), put(friend, "acme/warm")
    assert served(warm="acme/warm") == [warm.pk, cold.pk]
    cold, warm = put(owner, "acme/cold", waited=90), put(friend, "acme/warm")
    Composition.objects.exclude(pk__in=[cold.pk, warm.pk]).delete()
    assert served(warm="acme/warm") == [cold.pk, warm.pk]


def test_a_worker_takes_what_it_has_the_base_model_for(put: Put, owner: User) -> None:
    other, own, given = put(owner, "acme/other"), put(owner, "acme/own"), put(owner, "acme/other")
    Composition.objects.filter(pk=given.pk).update(method="linear")
    BaseModel.objects.create(name="acme/other", available_at=timezone.now())
    assert served(bases={"acme/own"}) == [own.pk, given.pk], "given weights need no base model"
    Composition.objects.filter(pk=other.pk).update(created_at=timezone.now() - 2 * queue.UNSERVED)
    assert served(bases={"acme/own"}) == [other.pk], "somebody has to say that nobody comes"
    nobodys = put(owner, "acme/nobodys")
    assert served(bases={"acme/own"}) == [nobodys.pk], "no worker has ever had it"


def test_two_workers_never_take_the_same(put: Put, owner: User, transactional_db: None) -> None:
    for _ in range(6):
        put(owner)
    taken = at_once(*[lambda n=n: queue.take(worker=f"w:{n}", has_base=lambda name: True) for n in range(6)])
    found = [job.pk for job in taken if isinstance(job, Composition)]
    assert len(found) == len(set(found)) == 6


def test_the_cost_does_not_grow_with_the_queue(put: Put, owner: User, friend: User, django_assert_max_num_queries: object) -> None:
    people = [owner, friend, *(person(f"user-{n}") for n in range(5))]
    for number in range(60):
        put(people[number % len(people)])
    with django_assert_max_num_queries(11):  # type: ignore[operator]
        assert queue.take(worker="w:1", has_base=lambda name: True) is not None
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        assert queue.place(Composition.objects.get(pk=Composition.objects.filter(status="queued").latest("pk").pk)) > 1


def test_given_weights_need_a_base_model_where_examples_score_them(put: Put, owner: User) -> None:
    bare, scored = put(owner), put(owner)
    Composition.objects.filter(pk__in=[bare.pk, scored.pk]).update(method="linear")
    Composition.objects.filter(pk=scored.pk).update(examples=[{"input": "a", "output": "b"}])
    BaseModel.objects.create(name="acme/base", available_at=timezone.now())
    assert served(bases=set()) == [bare.pk]
    assert served(bases={"acme/base"}) == [scored.pk]
