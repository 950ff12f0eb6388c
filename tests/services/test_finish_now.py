"""Asking for the best so far."""

import threading

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from compose_worker import local, work
from compose_worker.engine import spec
from hub.models import Composition, User
from hub.services import jobs, runs
from tests.services.stage import claimed, evaluation, refused, verbs


def test_a_running_job_hears_of_it(owner: User, job: Composition) -> None:
    held = claimed(job)
    assert not runs.is_enough(job=held)
    asked = jobs.finish_now(actor=owner, job=job)
    assert asked.finish_requested and asked.status == "running" and runs.is_enough(job=held)
    assert runs.record(job=held, evaluation=evaluation(0)) and runs.beat(job=held)  # it goes on: nothing is cancelled
    assert verbs()[-1] == "composition.finish" and "best so far" in held.log.last().sentence
    jobs.finish_now(actor=owner, job=asked)
    assert held.log.filter(sentence__contains="best so far").count() == 1


def test_a_job_that_was_handed_back_keeps_the_wish(owner: User, job: Composition) -> None:
    held = claimed(job)
    runs.release(job=held)
    assert jobs.finish_now(actor=owner, job=held).finish_requested
    assert work.Pulse(local.Job(claimed(job)), threading.Event()).enough.is_set()


def test_a_job_that_has_not_begun(owner: User, job: Composition) -> None:
    with refused("not-started", 409):
        jobs.finish_now(actor=owner, job=job)
    assert not Composition.objects.get().finish_requested


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_job_that_is_over(owner: User, job: Composition, status: str) -> None:
    claimed(job)
    Composition.objects.update(status=status)
    with refused("already-over", 409):
        jobs.finish_now(actor=owner, job=Composition.objects.get())


def test_only_its_owner(friend: User, job: Composition) -> None:
    claimed(job)
    with refused("not-found", 404):
        jobs.finish_now(actor=friend, job=job)
    assert not Composition.objects.get().finish_requested


@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_brings_it_to_the_engine(owner: User, job: Composition, settings: Settings) -> None:
    settings.JOB_HEARTBEAT_SECONDS = 0.02
    held = claimed(job)
    at_work = local.Job(held)
    pulse = work.Pulse(at_work, threading.Event())
    observer: spec.Observer = work.Watcher(at_work, pulse)
    pulse.start()
    try:
        assert not observer.enough()
        jobs.finish_now(actor=owner, job=job)
        connection.close()
        assert pulse.enough.wait(20) and observer.enough()
        jobs.cancel(actor=owner, job=job)
        connection.close()
        assert pulse.cancelled.wait(20)
        with pytest.raises(work.Cancelled):
            observer.enough()
    finally:
        pulse.stop()


def test_a_job_that_is_being_cancelled(owner: User, job: Composition) -> None:
    claimed(job)
    jobs.cancel(actor=owner, job=Composition.objects.get())
    with refused("already-over", 409):
        jobs.finish_now(actor=owner, job=Composition.objects.get())
