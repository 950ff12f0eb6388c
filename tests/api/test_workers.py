"""The worker's door: a job from claim to result, every refusal, and nothing without a worker token."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, Blob, Composition, Evaluation, User, Worker, WorkerToken
from hub.services import accounts, adapters, jobs, runs, workers
from tests import lent, make
from tests.api.conftest import V1, Api, multipart, refusal
from tests.conftest import Upload
from tests.services.stage import EXAMPLES

pytestmark = pytest.mark.django_db
HERE = {"instance": "host:1", "device": "cuda", "folders": [make.BASE]}


@pytest.fixture
def job(owner: User, friend: User, upload: Upload) -> Composition:
    """A waiting job that may run anywhere."""
    upload(owner, "one")
    upload(friend, "two", seed=1)
    modules = ["owner/one", "friend/two"]
    return jobs.submit(actor=owner, base_model=make.BASE, modules=modules, examples=EXAMPLES, name="result", anywhere=True)


@pytest.fixture
def machine(db: None) -> Api:
    """A machine with a worker token."""
    return Api(workers.create_token(actor=None, name="gpu-club")[1])


class Run:
    """A job that a machine has claimed."""

    def __init__(self, api: Api, given: dict[str, Any]) -> None:
        self.api, self.given = api, given
        self.job = Composition.objects.get(pk=given["run"])

    def call(self, what: str, body: Any = None, claim: str = "") -> HttpResponseBase:
        """POST JSON about the job."""
        return self.api.post(f"{V1}/worker/runs/{self.job.pk}/{what}", json.dumps(body or {}), "application/json", headers={"X-Claim": claim or self.job.claim})

    def finish(self, sent: dict[str, bytes], said: Any, claim: str = "") -> HttpResponseBase:
        """POST a result."""
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        body, kind = multipart([*(("files", path, data) for path, data in sent.items()), ("result", None, text)])
        return self.api.post(f"{V1}/worker/runs/{self.job.pk}/finish", body, kind, headers={"X-Claim": claim or self.job.claim})


def claimed(api: Api, **more: Any) -> Run:
    """Claim the job that waits."""
    answer = api.json("post", "/worker/claim", {**HERE, **more})
    assert answer.status_code == 200, answer.content
    return Run(api, answer.json())


def test_it_works(machine: Api, job: Composition, owner: User) -> None:
    run = claimed(machine)
    given = run.given
    assert (given["run"], given["name"], given["base_model"], given["method"], given["seed"]) == (job.pk, "owner/result", make.BASE, "medley", 0)
    assert given["settings"] == job.settings and given["examples"] == EXAMPLES and given["history"] == [] and given["shortlist"] is None
    assert [module["id"] for module in given["modules"]] == ["owner/one", "friend/two"]
    for module, seed in zip(given["modules"], (0, 1), strict=True):
        for key, path in (("config", "adapter_config.json"), ("weights", "adapter_model.safetensors")):
            answer = Api().get(module[key]["url"])  # without any token
            data = b"".join(answer.streaming_content)
            assert answer.status_code == 200 and data == make.adapter(seed=seed)[path] and len(data) == module[key]["size"]
            assert hashlib.sha256(data).hexdigest() == module[key]["sha256"]
    assert Adapter.objects.get(name="one").downloads == 0, "working on an adapter is no download"
    said = {
        "budget": 2,
        "stages": [{"name": "search", "sentence": "Searching."}],
        "evaluations": [lent.evaluation(0, 2.0), lent.evaluation(1, 1 / 3, rows=[0, 2])],
        "best": {"weights": {"owner/one": 1.0}, "loss": 1 / 3},
    }
    assert run.call("report", said).json() == {"cancelled": False, "enough": False}
    row = Composition.objects.get()
    assert (row.budget, row.stage, row.done, row.best_loss, row.weights) == (2, "search", 2, 1 / 3, {"owner/one": 1.0})
    assert [(e.step, e.loss, e.weights, e.rows) for e in row.history.all()] == [(0, 2.0, [1.0, 0.0], None), (1, 1 / 3, [1.0, 0.0], [0, 2])]
    jobs.finish_now(actor=owner, job=row)
    assert run.call("report").json() == {"cancelled": False, "enough": True}
    sent = lent.files(job)
    assert run.finish(sent, lent.result(job, sent)).json() == {"run": job.pk, "status": "succeeded"}
    row = Composition.objects.get()
    assert (row.status, row.verdict, row.report["worker"]) == ("succeeded", "mix", "gpu-club")
    made = Adapter.objects.get(name="result")
    assert row.result == made.head and made.head.recipe["worker"] == "gpu-club" and made.composed and not made.private
    recipe = made.head.files.get(path="recipe.json").blob_id
    assert json.loads(adapters.storage.read_text(recipe)) == made.head.recipe, "the file says it too"
    assert {p.repo_id: p.weight for p in made.head.parents.all()} == {"owner/one": 0.5, "friend/two": 0.5}


def test_nothing_to_do(machine: Api) -> None:
    answer = machine.json("post", "/worker/claim", HERE)
    assert answer.status_code == 204 and not answer.content
    assert Worker.objects.get().name == "gpu-club/host:1"


def test_the_next_worker_gets_the_history(machine: Api, job: Composition) -> None:
    held = runs.claim(job_id=job.pk, worker="beside:1")
    assert held is not None
    runs.record(job=held, evaluation=lent_evaluation(0.1 + 0.2))
    runs.release(job=held)
    history = claimed(machine).given["history"]
    assert history == [{"step": 0, "phase": "search", "weights": [1.0, 5e-324], "loss": 0.1 + 0.2, "rows": [1], "detail": {"sums": [1 / 3]}}]


def lent_evaluation(loss: float) -> Any:
    from compose_worker.engine import spec

    return spec.Evaluation(0, "search", (1.0, 5e-324), loss, (1,), {"sums": [1 / 3]})


def test_cancelled(machine: Api, job: Composition, owner: User) -> None:
    run = claimed(machine)
    jobs.cancel(actor=owner, job=job)
    assert run.call("report", {"evaluations": [lent.evaluation(0)]}).json() == {"cancelled": True, "enough": False}
    assert run.call("release").json() == {"run": job.pk, "status": "cancelled"}
    assert run.call("release").json()["status"] == "cancelled", "asked again, because the answer got lost"


def test_failed(machine: Api, job: Composition) -> None:
    run = claimed(machine)
    body = {"code": "examples-too-long", "message": "Row 3 does not fit. Shorten it."}
    assert run.call("fail", body).json() == run.call("fail", body).json() == {"run": job.pk, "status": "failed"}
    row = Composition.objects.get()
    assert (row.error_code, row.error_message, row.log.count()) == ("examples-too-long", "Row 3 does not fit. Shorten it.", 3)


def test_nothing_helped(machine: Api, job: Composition) -> None:
    run = claimed(machine)
    assert run.finish({}, lent.result(job, {}, verdict="nothing")).json()["status"] == "succeeded"
    assert Composition.objects.get().result is None and not Adapter.objects.filter(name="result").exists()


def test_a_report_that_comes_twice_counts_once(machine: Api, job: Composition) -> None:
    run = claimed(machine)
    first = [lent.evaluation(0), lent.evaluation(1, 0.5)]
    for sent in (first, first, [*first, lent.evaluation(2)]):
        assert run.call("report", {"evaluations": sent}).status_code == 200
    assert [e.loss for e in Evaluation.objects.all()] == [1.0, 0.5, 1.0]
    assert refusal(run.call("report", {"evaluations": [lent.evaluation(1, 0.4)]})) == (409, "steps-invalid")
    for wrong in ([lent.evaluation(4)], [lent.evaluation(3), lent.evaluation(5)], [lent.evaluation(3), lent.evaluation(3)]):
        assert refusal(run.call("report", {"evaluations": wrong})) == (400, "steps-invalid")
    assert Evaluation.objects.count() == 3


# Who may not.

CALLS: dict[str, Callable[[Run, str], HttpResponseBase]] = {
    "report": lambda run, claim: run.call("report", {}, claim),
    "fail": lambda run, claim: run.call("fail", {"code": "late", "message": "Late."}, claim),
    "release": lambda run, claim: run.call("release", None, claim),
    "finish": lambda run, claim: run.finish(lent.files(run.job), lent.result(run.job, lent.files(run.job)), claim),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_without_a_worker_token(machine: Api, job: Composition, owner: User, stranger: User, call: Any) -> None:
    run = claimed(machine)
    before = list(Composition.objects.values())
    for api, code in (
        (Api(), "worker-token-required"),
        (Api(accounts.create_token(actor=owner, name="laptop", scope="write")[1]), "worker-token-invalid"),
        (Api("mwk_wrong"), "worker-token-invalid"),
    ):
        run.api = api
        assert refusal(call(run, "")) == (401, code) == refusal(api.json("post", "/worker/claim", HERE))
    browser = Api()
    browser.force_login(owner)
    run.api = browser
    assert refusal(call(run, "")) == (401, "worker-token-required"), "a session is a person's"
    assert list(Composition.objects.values()) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("how", ["another token", "another claim", "no claim", "taken over", "deleted", "revoked"])
def test_a_job_that_is_not_this_workers(machine: Api, job: Composition, call: Any, how: str) -> None:
    run = claimed(machine)
    claim, expected = "", (409, "claim-lost")
    if how == "another token":
        run.api = Api(workers.create_token(actor=None, name="other", trusted=True)[1])
    if how == "another claim":
        claim = "0" * 32
    if how == "no claim":
        claim, expected = "-", (400, "claim-missing")
    if how == "taken over":
        Composition.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
        assert runs.claim(job_id=job.pk, worker="beside:1") is not None
    if how == "deleted":
        Composition.objects.all().delete()
    if how == "revoked":
        workers.revoke_token(actor=None, token=WorkerToken.objects.get())
        expected = (401, "worker-token-invalid")
    before = (list(Composition.objects.values()), Adapter.objects.count(), Evaluation.objects.count(), Blob.objects.count())
    assert refusal(call(run, claim)) == expected
    assert (list(Composition.objects.values()), Adapter.objects.count(), Evaluation.objects.count(), Blob.objects.count()) == before


@pytest.mark.parametrize("path", ["/me", "/compositions", "/adapters", "/base-models"])
def test_a_worker_token_is_no_persons(machine: Api, path: str) -> None:
    assert refusal(machine.get(V1 + path)) == (401, "token-invalid")
    assert Client().get("/api/whoami-v2", headers={"Authorization": machine.defaults["HTTP_AUTHORIZATION"]}).status_code == 401


def test_links_end_with_the_claim(machine: Api, job: Composition, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = claimed(machine)
    link = run.given["modules"][0]["weights"]["url"]
    assert Api().head(link).status_code == 200 and Api().get(link, headers={"Range": "bytes=0-7"}).status_code == 206
    for wrong in (link[:-1], link + "x", link.replace("inputs/", "inputs/x"), f"{V1}/worker/inputs/x"):
        assert refusal(Api().get(wrong)) == (404, "link-invalid")
    monkeypatch.setattr("hub.services.lending.LINK_SECONDS", -1)
    assert refusal(Api().get(link)) == (404, "link-invalid")
    monkeypatch.undo()
    assert Api().get(link).status_code == 200
    run.call("release")
    assert refusal(Api().get(link)) == (404, "link-invalid")
    assert claimed(machine).given["modules"][0]["weights"]["url"] != link and refusal(Api().get(link)) == (404, "link-invalid")


BODIES: list[tuple[str, dict[str, Any]]] = [
    *(
        ("claim", {**HERE, **more})
        for more in ({"instance": 5}, {"device": None}, {"bases": "acme/*"}, {"folders": [1]}, {"warm": "x" * 201}, {"bases": ["x"] * 101})
    ),
    *(
        ("claim", {**HERE, **more})
        for more in ({"instance": ""}, {"instance": "a b"}, {"instance": "a/b"}, {"bases": ["x" * 201]}, {"trusted": True}, {"folders": ["\x00"]})
    ),
    *(("report", {"budget": value}) for value in (-1, "5", 1.5, True, 10**9)),
    *(("report", {"stages": value}) for value in ("x", [1], [{"name": "x"}], [{"name": "x", "sentence": 5}], [{"name": "x", "sentence": "y"}] * 21)),
    *(("report", {"best": value}) for value in ([], {}, {"weights": {}, "loss": "1"}, {"weights": [], "loss": 1}, {"weights": {"x/y": 1}, "loss": 1})),
    *(("report", {"evaluations": value}) for value in ({}, [1], [None], "x", [lent.evaluation(0)] * 501)),
    *(
        ("fail", value)
        for value in (
            {},
            {"code": "x"},
            {"code": "A B", "message": "x"},
            {"code": "", "message": "x"},
            {"code": "x", "message": 1},
            {"code": "x", "message": "\x00"},
        )
    ),
]


def test_bodies_that_are_none(machine: Api, job: Composition) -> None:
    run = claimed(machine)
    before = list(Composition.objects.values("status", "done", "weights", "budget", "stage"))
    for what, body in BODIES:
        answer = machine.json("post", "/worker/claim", body) if what == "claim" else run.call(what, body)
        assert answer.status_code == 400, (what, body)
    assert list(Composition.objects.values("status", "done", "weights", "budget", "stage")) == before


def test_a_result_without_a_length_or_too_long(machine: Api, job: Composition, settings: Settings) -> None:
    run = claimed(machine)
    address, claim = f"{V1}/worker/runs/{job.pk}/finish", run.job.claim
    assert refusal(machine.post(address, b"", "multipart/form-data; boundary=x", headers={"X-Claim": claim}, CONTENT_LENGTH="")) == (411, "length-required")
    settings.MAX_WEIGHTS_BYTES = -8_000_000 + 10
    assert refusal(run.finish({}, b"{}")) == (413, "body-too-large")
    assert refusal(run.call("finish", {})) in ((413, "body-too-large"), (415, "unsupported-media-type"))
