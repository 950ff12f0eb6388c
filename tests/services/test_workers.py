"""Worker tokens, who is here, and which jobs each worker gets."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub.models import Adapter, BaseModel, Composition, Event, User, Worker, WorkerToken
from hub.services import accounts, adapters, hosted, jobs, lending, lifecycle, queue, runs, workers
from tests import lent, make
from tests.conftest import Upload
from tests.services.stage import all_text, claimed, refused, submit, verbs

pytestmark = pytest.mark.django_db
LOCAL: dict[str, Any] = {"bases": [], "folders": [make.BASE], "warm": ""}


def now_of(job: Composition) -> Composition:
    """The job as the database has it."""
    return Composition.objects.get(pk=job.pk)


@pytest.fixture
def anywhere(modules: list[str], owner: User) -> Composition:
    """A waiting job that may run on lent machines."""
    return submit(owner, modules, anywhere=True)


# Tokens.


def test_a_token_is_kept_as_its_hash() -> None:
    token, text = workers.create_token(actor=None, name="gpu-club", bases=["acme/*", " acme/*", ""], trusted=True)
    assert text.startswith("mwk_") and len(text) > 40 and text not in all_text(WorkerToken, Event)
    assert workers.find_token(text=text) == token and (token.bases, token.trusted) == (["acme/*"], True)
    assert [workers.find_token(text=wrong) for wrong in ("", "mwk_", text[:-1], text + "x", text[4:], token.digest)] == [None] * 6
    assert accounts.find_token(text=text) is None, "it is no person's"
    assert verbs() == ["workertoken.create"]


def test_a_persons_token_is_no_workers(owner: User) -> None:
    assert workers.find_token(text=accounts.create_token(actor=owner, name="laptop", scope="write")[1]) is None


def test_only_operators_make_and_revoke_them(owner: User) -> None:
    token = lent.token()
    for call in (lambda: workers.create_token(actor=owner, name="mine"), lambda: workers.revoke_token(actor=owner, token=token)):
        with refused("forbidden", 403):
            call()
    chief = lent.operator()
    made, _ = workers.create_token(actor=chief, name="mine")
    assert made.created_by == chief
    workers.revoke_token(actor=chief, token=made)
    assert [t.name for t in WorkerToken.objects.all()] == ["gpu-club"]


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "x" * 41, "ä"])
def test_names_that_are_none(name: str) -> None:
    with refused("worker-name-invalid"):
        workers.create_token(actor=None, name=name)


def test_a_name_is_used_once() -> None:
    lent.token()
    with refused("worker-name-taken", 409):
        lent.token()


@pytest.mark.parametrize("bases", [["x"] * 2 + [f"a/{n}" for n in range(101)], ["x" * 201], ["a\x00b"]])
def test_bases_that_are_none(bases: list[str]) -> None:
    with refused("worker-bases-invalid"):
        workers.create_token(actor=None, name="gpu-club", bases=bases)


def test_revoking_takes_jobs_back(anywhere: Composition) -> None:
    token = lent.token()
    handed = lent.claim(token)
    assert handed is not None and handed.job == anywhere
    workers.revoke_token(actor=None, token=token)
    row = now_of(anywhere)
    assert (row.status, row.attempts, row.worker_token, row.log.last().sentence) == ("queued", 0, None, "Taken back: the worker token of gpu-club was revoked.")
    assert not Worker.objects.exists() and runs.claim(job_id=anywhere.pk, worker="next:1") is not None


# What a lent machine gets.


def test_it_gets_what_may_run_anywhere_and_nothing_else(modules: list[str], owner: User, friend: User) -> None:
    kept = submit(owner, modules, name="kept")
    open_one = submit(friend, modules, name="open", anywhere=True)
    token = lent.token()
    handed = lent.claim(token)
    assert handed is not None and handed.job == open_one and lent.claim(token, instance="host:2") is None
    assert [module.id for module in handed.modules] == modules and handed.history == () and handed.base_revision == ""
    row = now_of(open_one)
    assert (row.worker, row.worker_token, row.attempts) == ("gpu-club/host:1", token, 1) and row.log.last().sentence == "Started on gpu-club/host:1."
    trusted = lent.claim(lent.token("ours", trusted=True))
    assert trusted is not None and trusted.job == kept


@pytest.mark.parametrize("change", [{"private": True}, {"gated": "manual"}, {"taken_down": True}])
def test_an_adapter_that_was_closed_meanwhile_does_not_leave(anywhere: Composition, change: dict[str, Any]) -> None:
    Adapter.objects.filter(name="two").update(**change)
    assert lent.claim(lent.token()) is None and now_of(anywhere).status == "queued"


def test_what_may_run_anywhere_is_public(modules: list[str], owner: User, upload: Upload) -> None:
    upload(owner, "secret", private=True)
    with refused("anywhere-private"):
        submit(owner, modules, private=True, anywhere=True)
    Adapter.objects.filter(name="one").update(gated="manual")
    with refused("anywhere-closed"):
        submit(owner, modules, anywhere=True)
    found = submit(owner, "auto", anywhere=True)
    assert [row.repo_id for row in found.ingredients.all()] == ["friend/two"], "what Medley finds is for every machine too"


def test_the_same_key_with_and_without_is_another_request(modules: list[str], owner: User) -> None:
    first = submit(owner, modules, idempotency_key="k", anywhere=True)
    assert submit(owner, modules, idempotency_key="k", anywhere=True) == first
    with refused("idempotency-conflict", 409):
        submit(owner, modules, idempotency_key="k")


def test_a_token_serves_its_base_models(anywhere: Composition) -> None:
    assert lent.claim(lent.token(bases=["acme/*"])) is None
    token = lent.token("other", bases=["tiny/*"])
    assert lent.claim(token, bases=["acme/*"]) is None and lent.claim(token, folders=[]) is None
    assert now_of(anywhere).status == "queued", "it is not taken to be failed: a worker beside the hub says that nobody comes"
    assert lent.claim(token, bases=["tiny/*"]) is not None


def test_a_hosted_base_model_is_fetched(anywhere: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = adapters.find(actor=anywhere.owner, repo_id="owner/one").head
    monkeypatch.setattr(hosted, "open_revision", lambda name: fake if name == make.BASE else None)
    handed = lent.claim(lent.token(), folders=[])
    assert handed is not None and handed.base_revision == fake.sha


def test_a_module_that_is_gone_fails_the_job(anywhere: Composition) -> None:
    Adapter.objects.get(name="one").delete()
    assert lent.claim(lent.token()) is None
    assert (now_of(anywhere).status, now_of(anywhere).error_code) == ("failed", "module-deleted")


def test_what_it_gave_up_it_does_not_get_again(anywhere: Composition) -> None:
    token = lent.token()
    handed = lent.claim(token)
    assert handed is not None
    ended = lending.fail(token=token, job_id=anywhere.pk, claim=handed.job.claim, code="internal", message="Something broke.")
    assert (ended.status, ended.attempts) == ("queued", 1) and ended.log.last().sentence.startswith("Given up on gpu-club/host:1")
    assert lent.claim(token) is None and lent.claim(token, instance="host:2") is None
    other = lent.claim(lent.token("other"))
    assert other is not None and other.job.attempts == 2


def unread(token: WorkerToken, job: Composition) -> Composition:
    """What becomes of a job whose machine says that a link was refused."""
    return lending.fail(token=token, job_id=job.pk, claim=now_of(job).claim, code="link-invalid", message="A link is not valid any more.")


@pytest.mark.parametrize("change", [{"private": True}, {"gated": "manual"}])
@pytest.mark.parametrize("auto", [False, True])
def test_an_adapter_that_was_closed_before_it_was_fetched(anywhere: Composition, change: dict[str, Any], auto: bool) -> None:
    Composition.objects.update(auto=auto)
    token = lent.token()
    assert lent.claim(token) is not None
    Adapter.objects.filter(name="two").update(**change)
    ended = unread(token, anywhere)
    assert (ended.status, ended.error_code) == ("failed", "anywhere-closed")
    assert (
        ended.error_message.startswith("friend/two became private or gated after this job was submitted") and ended.log.last().sentence == ended.error_message
    )


@pytest.mark.parametrize(("how", "code"), [("deleted", "module-deleted"), ("taken down", "module-taken-down")])
def test_an_adapter_that_went_away_before_it_was_fetched(anywhere: Composition, friend: User, how: str, code: str) -> None:
    token = lent.token()
    assert lent.claim(token) is not None
    if how == "deleted":
        lifecycle.delete(actor=friend, adapter=Adapter.objects.get(name="two"))
    else:
        Adapter.objects.filter(name="two").update(taken_down=True)
    assert (unread(token, anywhere).status, now_of(anywhere).error_code) == ("failed", code)


def test_a_trusted_machine_has_what_was_closed(anywhere: Composition) -> None:
    token = lent.token(trusted=True)
    handed = lent.claim(token)
    assert handed is not None
    Adapter.objects.filter(name="two").update(private=True)
    assert lending.follow(link=lending.link(handed.job, handed.modules[1].weights)) == handed.modules[1].weights
    assert unread(token, anywhere).status == "queued", "nothing is closed to it"


def test_links_that_lead_nowhere_do_not_go_round(anywhere: Composition) -> None:
    token = lent.token()
    assert lent.claim(token) is not None
    ended = unread(token, anywhere)
    assert (ended.status, ended.attempts) == ("queued", 1)
    assert ended.log.last().sentence == "Given up on gpu-club/host:1, which could not fetch every adapter. Another worker goes on."
    assert lent.claim(token) is None and lent.claim(lent.token("other")) is not None


def test_what_it_handed_back_it_may_get_again(anywhere: Composition) -> None:
    token = lent.token()
    handed = lent.claim(token)
    assert handed is not None and lending.release(token=token, job_id=anywhere.pk, claim=handed.job.claim).status == "queued"
    assert lent.claim(token) is not None


def test_a_token_has_so_many_workers_and_jobs(anywhere: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    token = lent.token(bases=["none/*"])
    monkeypatch.setattr(lending, "MAX_WORKERS", 2)
    assert lent.claim(token, instance="a:1") is None and lent.claim(token, instance="b:1") is None
    with refused("too-many-workers", 429):
        lent.claim(token, instance="c:1")
    Worker.objects.filter(name="gpu-club/a:1").update(seen_at=timezone.now() - timedelta(hours=2))
    assert lent.claim(token, instance="c:1") is None
    greedy = lent.token("greedy")
    Composition.objects.update(status="running", worker_token=greedy)
    monkeypatch.setattr(lending, "MAX_WORKERS", 1)
    with refused("too-many-runs", 429):
        lent.claim(greedy)


# Which worker a job goes to.


def seen(name: str, device: str = "cuda", **more: Any) -> Worker:
    """A worker that was here a moment ago."""
    return workers.seen(name=name, device=device, **{**LOCAL, **more})


def take(*, has_gpu: bool = False, has_base: bool = True) -> Composition | None:
    """What a worker beside the hub takes."""
    return queue.take(worker="me:1", has_base=lambda name: has_base, has_gpu=has_gpu)


def test_a_gpu_that_has_nothing_to_do_goes_first(job: Composition) -> None:
    seen("gpu:1")
    assert take() is None and take(has_gpu=True) == job


@pytest.mark.parametrize("why", ["busy", "silent", "other base", "lent", "waited", "no gpu"])
def test_nobody_waits_for_a_gpu_that_does_not_come(job: Composition, friend: User, why: str) -> None:
    row = seen("gpu:1", "cpu" if why == "no gpu" else "cuda", bases=["acme/*"] if why == "other base" else [], token=lent.token() if why == "lent" else None)
    if why == "busy":
        claimed(submit(friend, ["friend/two"], name="other"), "gpu:1")
    if why == "silent":
        Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    if why == "waited":
        Composition.objects.update(created_at=timezone.now() - queue.GPU_FIRST)
    assert take() == job and row.name == "gpu:1"


def test_a_job_waits_for_the_worker_that_has_its_base_model(job: Composition) -> None:
    """However long that one is busy: only where none is here somebody says so."""
    BaseModel.objects.update(available_at=timezone.now())
    Composition.objects.update(created_at=timezone.now() - 3 * queue.UNSERVED)
    seen("other:1", "cpu")
    assert take(has_base=False) is None
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert take(has_base=False) == job


def test_large_base_models_are_for_gpus(settings: Settings, monkeypatch: pytest.MonkeyPatch, owner: User, upload: Upload) -> None:
    revision = upload(owner, "one").head
    monkeypatch.setattr(hosted, "revision", lambda name: revision)
    monkeypatch.setattr(hosted, "weight", lambda revision: 3_000_000)
    settings.CPU_MAX_BASE_BYTES = 2_000_000
    cpu, gpu = seen("cpu:1", "cpu", folders=[]), seen("gpu:1", "cuda:0", folders=[])
    assert not workers.serves(cpu, "acme/large") and workers.serves(gpu, "acme/large")
    settings.CPU_MAX_BASE_BYTES = 0
    assert workers.serves(cpu, "acme/large")


def test_a_bell_that_the_wrong_worker_heard_rings_again_soon(job: Composition) -> None:
    assert runs.ring() == 0
    runs.pass_on(job_id=job.pk)
    assert runs.ring() == 1


def test_who_is_here(job: Composition) -> None:
    seen("me:1")
    claimed(job, "me:1")
    seen("old:1")
    Worker.objects.filter(name="old:1").update(seen_at=timezone.now() - timedelta(hours=2))
    assert [(row.name, row.job) for row in Worker.objects.live(timezone.now()).with_job()] == [("me:1", job.pk)]  # type: ignore[attr-defined]
    assert workers.forget_silent() == 1
    workers.gone(name="me:1")
    assert not Worker.objects.exists()


def test_a_lender_names_no_base_models_of_its_own(anywhere: Composition) -> None:
    lent.claim(lent.token(), folders=["nobody/knows", make.BASE])
    assert BaseModel.objects.get(name=make.BASE).available_at and not BaseModel.objects.filter(name="nobody/knows").exists()


def test_jobs_say_where_they_may_run(anywhere: Composition, owner: User) -> None:
    assert jobs.find(actor=owner, job_id=anywhere.pk).anywhere
