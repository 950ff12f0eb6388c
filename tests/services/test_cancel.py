"""Cancelling a job, and its place in the queue."""

import pytest

from hub.models import Composition, User
from hub.services import jobs
from tests.services.stage import refused, submit, verbs


def test_cancel_a_waiting_job(owner: User, modules: list[str]) -> None:
    job = jobs.cancel(actor=owner, job=submit(owner, modules))
    assert job.status == "cancelled" and job.is_over and job.finished_at and verbs()[-1] == "composition.cancel"
    assert jobs.cancel(actor=owner, job=job).status == "cancelled"
    assert verbs().count("composition.cancel") == 1


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_cancel_a_job_that_is_over(owner: User, modules: list[str], status: str) -> None:
    job = submit(owner, modules)
    Composition.objects.update(status=status)
    with refused("already-over", 409):
        jobs.cancel(actor=owner, job=job)
    assert Composition.objects.get().status == status and not Composition.objects.get().cancel_requested


def test_queue_place(owner: User, friend: User, modules: list[str]) -> None:
    first, second, third = submit(owner, modules), submit(friend, modules), submit(owner, modules, name="r3")
    assert [jobs.queue_place(j) for j in (first, second, third)] == [0, 1, 2]
    jobs.cancel(actor=owner, job=first)
    assert [jobs.queue_place(j) for j in (second, third)] == [0, 1]
