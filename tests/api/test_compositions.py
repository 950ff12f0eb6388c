"""POST, GET and cancel of a composition."""

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from compose_worker.engine import catalogue
from hub.models import Adapter, Composition, Evaluation, LogLine, User
from hub.services import adapters, jobs, runs
from tests import make
from tests.api.conftest import EXAMPLES, V1, Api, client, order, refusal
from tests.conftest import Upload, commit
from tests.services.stage import claimed, result

pytestmark = pytest.mark.django_db
URL = "/compositions"


def test_it_works(as_owner: Api, owner: User, sums: Adapter, secret: Adapter):
    body = order("owner/sums", "owner/secret", private=True, method="cma", settings={"budget": 12}, seed=7, description="Doubles.")
    response = as_owner.json("post", URL, body)
    job = Composition.objects.get()
    found = response.json()
    assert response.status_code == 202
    assert response["Location"] == f"http://testserver/api/v1/compositions/{job.pk}"
    assert (found["id"], found["status"], found["result_id"], found["name"]) == (job.pk, "queued", "owner/result", "result")
    assert found["modules"] == [{"id": "owner/sums", "revision": sums.head.sha}, {"id": "owner/secret", "revision": secret.head.sha}]
    assert (found["method"], found["settings"]["budget"], found["settings"]["bound"]) == ("cma", 12, 1.5)
    assert (found["seed"], found["private"], found["description"], found["base_model"], found["examples_count"]) == (7, True, "Doubles.", make.BASE, 5)
    assert (found["queue_place"], found["progress"], found["history"], found["weights"], found["scores"]) == (0, {"done": 0, "budget": 0}, [], {}, {})
    assert (found["result"], found["error"], found["best_loss"], found["started_at"], found["finished_at"]) == (None, None, None, None, None)
    assert [line["sentence"] for line in found["log"]] == ["Queued with 5 examples and 2 adapters."]
    assert found["url"] == f"http://testserver/compositions/{job.pk}"
    assert as_owner.get(f"{V1}{URL}/{job.pk}").json() == found
    assert (job.owner, job.examples) == (owner, EXAMPLES)


def test_defaults(as_owner: Api, sums: Adapter):
    found = as_owner.json("post", URL, order("owner/sums")).json()
    assert found["method"] == catalogue.DEFAULT_METHOD
    assert found["settings"] == catalogue.check(catalogue.DEFAULT_METHOD, {})
    assert (found["seed"], found["private"], found["description"]) == (0, False, "")


def test_a_pinned_revision_and_auto(as_owner: Api, sums: Adapter):
    first = sums.head.sha
    commit(sums, {"notes.txt": b"second"})
    for ref in (first, first[:7]):
        found = as_owner.json("post", URL, order(f"owner/sums@{ref}", name=f"pinned-{len(ref)}")).json()
        assert found["modules"] == [{"id": "owner/sums", "revision": first}]
    found = as_owner.json("post", URL, {**order(name="found"), "modules": "auto"}).json()
    assert found["modules"] == [{"id": "owner/sums", "revision": sums.head.sha}]


def test_a_running_and_a_finished_one(as_owner: Api, owner: User, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    job, url = Composition.objects.filter(pk=pk), f"{V1}{URL}/{pk}"
    job.update(status="running", stage="search", started_at=timezone.now(), done=2, budget=9, best_loss=1.5, weights={"owner/sums": 0.5})
    for step, (phase, loss) in enumerate([("base", 2.0), ("single", float("inf"))]):
        Evaluation.objects.create(composition_id=pk, step=step, phase=phase, weights=[0.0], loss=loss)
    LogLine.objects.create(composition_id=pk, sentence="Searching.")
    found = as_owner.get(url).json()
    assert (found["status"], found["stage"], found["queue_place"]) == ("running", "search", None)
    assert found["progress"] == {"done": 2, "budget": 9}
    assert found["history"] == [{"step": 0, "phase": "base", "loss": 2.0}, {"step": 1, "phase": "single", "loss": None}]
    assert found["log"][-1]["sentence"] == "Searching."
    score = {"loss": 0.5, "accuracy": 0.8, "low": 0.6, "high": 0.9, "n": 20, "module": None}
    scores = {"base": score, "best_single": {**score, "module": "owner/sums"}, "uniform": score, "composed": score}
    job.update(status="succeeded", finished_at=timezone.now(), verdict="mix", summary="It helps.", report={"folds": 5}, scores=scores, result=sums.head)
    found = as_owner.get(url).json()
    assert (found["scores"], found["verdict"], found["summary"], found["report"]) == (scores, "mix", "It helps.", {"folds": 5})
    assert found["result"] == {"adapter": "owner/sums", "revision": sums.head.sha}
    sums.delete()
    assert as_owner.get(url).json()["result"] is None


def test_a_failed_one(as_owner: Api, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    Composition.objects.filter(pk=pk).update(status="failed", error_code="examples-too-long", error_message="Row 3 does not fit.")
    assert as_owner.get(f"{V1}{URL}/{pk}").json()["error"] == {"code": "examples-too-long", "message": "Row 3 does not fit."}


def test_examples_are_returned_when_asked_for(as_owner: Api, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    assert as_owner.get(f"{V1}{URL}/{pk}?examples=1").json()["examples"] == EXAMPLES
    assert "examples" not in as_owner.get(f"{V1}{URL}/{pk}").json()


def test_the_queue(as_owner: Api, sums: Adapter):
    pks = [as_owner.json("post", URL, order("owner/sums", name=f"mix-{n}")).json()["id"] for n in range(3)]
    assert [as_owner.get(f"{V1}{URL}/{pk}").json()["queue_place"] for pk in pks] == [0, 1, 2]


def test_cancel(as_owner: Api, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    for _ in range(2):
        response = as_owner.post(f"{V1}{URL}/{pk}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    Composition.objects.filter(pk=pk).update(status="succeeded")
    assert refusal(as_owner.post(f"{V1}{URL}/{pk}/cancel")) == (409, "already-over")


def test_cancel_of_a_running_one_is_a_wish(as_owner: Api, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    Composition.objects.filter(pk=pk).update(status="running")
    assert as_owner.post(f"{V1}{URL}/{pk}/cancel").json()["status"] == "running"
    assert Composition.objects.get().cancel_requested


def test_finish(as_owner: Api, as_stranger: Api, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    address = f"{V1}{URL}/{pk}/finish"
    assert refusal(as_owner.post(address)) == (409, "not-started")
    Composition.objects.filter(pk=pk).update(status="running", started_at=timezone.now())
    assert refusal(as_stranger.post(address)) == (404, "not-found")
    response = as_owner.post(address)
    assert (response.status_code, response.json()["status"], response.json()["finish_requested"]) == (200, "running", True)


def test_given_weights_without_examples(as_owner: Api, sums: Adapter):
    given = {**order("owner/sums"), "method": "linear", "settings": {"weights": {"owner/sums": -0.5}}}
    del given["examples"]
    made = as_owner.json("post", URL, given)
    assert (made.status_code, made.json()["examples_count"], made.json()["settings"]["weights"]) == (202, 0, {"owner/sums": -0.5})
    assert refusal(as_owner.json("post", URL, {**given, "name": "other", "method": "medley", "settings": {}})) == (400, "examples-count")
    odd = as_owner.json("post", URL, {**given, "name": "other", "settings": {"weights": {"owner/sums": "much"}}})
    assert refusal(odd) == (400, "setting-invalid") and set(odd.json()["error"]["fields"]) == {"settings"}


def test_submitting_needs_a_login(anonymous: Api, sums: Adapter):
    assert refusal(anonymous.json("post", URL, order("owner/sums"))) == (401, "login-required")


def test_someone_elses_composition_does_not_exist(as_owner: Api, as_stranger: Api, sums: Adapter):
    pk = as_owner.json("post", URL, order("owner/sums")).json()["id"]
    missing = as_stranger.get(f"{V1}{URL}/{pk + 1}")
    for response in (as_stranger.get(f"{V1}{URL}/{pk}?examples=1"), as_stranger.post(f"{V1}{URL}/{pk}/cancel")):
        assert (response.status_code, response.json()) == (404, missing.json())
    assert Composition.objects.get().status == "queued"


def test_the_same_key_and_body_is_the_same_composition(as_owner: Api, as_stranger: Api, sums: Adapter):
    key = {"Idempotency-Key": "attempt 1"}
    first, second = (as_owner.json("post", URL, order("owner/sums"), headers=key) for _ in range(2))
    assert (second.status_code, second.json(), second["Location"]) == (202, first.json(), first["Location"])
    assert refusal(as_owner.json("post", URL, order("owner/sums", seed=1), headers=key)) == (409, "idempotency-conflict")
    assert as_stranger.json("post", URL, order("owner/sums"), headers=key).json()["id"] != first.json()["id"]
    assert Composition.objects.count() == 2


def test_the_same_key_after_the_end_is_still_the_same_composition(as_owner: Api, sums: Adapter):
    key = {"Idempotency-Key": "attempt 1"}
    pk = as_owner.json("post", URL, order("owner/sums"), headers=key).json()["id"]
    Composition.objects.update(status="succeeded", name="result-2")
    assert as_owner.json("post", URL, order("owner/sums"), headers=key).json()["id"] == pk


@pytest.mark.parametrize("key", ["x" * 201, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1") + "\x00"])
def test_a_key_that_cannot_be_used(as_owner: Api, sums: Adapter, key: str):
    assert refusal(as_owner.json("post", URL, order("owner/sums"), headers={"Idempotency-Key": key})) == (400, "idempotency-key-invalid")
    assert not Composition.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_time(owner: User, sums: Adapter):
    apis, start = [client(owner) for _ in range(6)], threading.Barrier(6)
    answers: list[Any] = []

    def submit(api: Api) -> None:
        try:
            start.wait()
            answers.append(api.json("post", URL, order("owner/sums"), headers={"Idempotency-Key": "attempt 1"}))
        finally:
            connection.close()

    threads = [threading.Thread(target=submit, args=(api,)) for api in apis]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [202] * 6
    assert {answer.json()["id"] for answer in answers} == {Composition.objects.get().pk}


def test_the_same_key_overtaken_midway(owner: User, sums: Adapter, monkeypatch: pytest.MonkeyPatch):
    """The second request arrives and is done between the first look at the key and the checks that follow."""
    first, second, real = client(owner), client(owner), jobs.check_examples
    overtaker: list[Any] = []

    def check(examples: Any, method: str) -> Any:
        monkeypatch.setattr(jobs, "check_examples", real)
        overtaker.append(second.json("post", URL, order("owner/sums"), headers={"Idempotency-Key": "attempt 1"}))
        return real(examples, method)

    monkeypatch.setattr(jobs, "check_examples", check)
    answer = first.json("post", URL, order("owner/sums"), headers={"Idempotency-Key": "attempt 1"})
    assert (answer.status_code, answer.json()["id"]) == (202, overtaker[0].json()["id"])


# What the verb refuses, each with the code that the door passes on.

ROW = {"input": "1 + 1 =", "output": "2"}
EXAMPLES_REFUSED: dict[str, tuple[Any, str]] = {
    "no examples": ([], "examples-count"),
    "four examples": ([ROW] * 4, "examples-count"),
    "101 examples": ([ROW] * 101, "examples-count"),
    "10,000 examples": ([ROW] * 10_000, "examples-count"),
    "an empty input": ([*EXAMPLES, {"input": " ", "output": "x"}], "examples-invalid"),
    "an empty output": ([*EXAMPLES, {"input": "x", "output": ""}], "examples-invalid"),
    "huge examples": ([*EXAMPLES, {"input": "x" * 1_000_000, "output": "y"}], "examples-invalid"),
    "no output": ([*EXAMPLES, {"input": "x"}], "examples-invalid"),
    "a field nobody knows": ([*EXAMPLES, {**ROW, "answer": "2"}], "examples-invalid"),
    "a number": ([*EXAMPLES, {"input": "x", "output": 2}], "examples-invalid"),
    "null": ([*EXAMPLES, None], "examples-invalid"),
    "lists": ([["1 + 1 =", "2"]] * 5, "examples-invalid"),
    "a NUL character": ([*EXAMPLES, {"input": "a\x00b", "output": "x"}], "examples-invalid"),
    "half a surrogate pair": ([*EXAMPLES, {"input": "x", "output": "\ud800"}], "examples-invalid"),
}


@pytest.mark.parametrize(("examples", "code"), EXAMPLES_REFUSED.values(), ids=EXAMPLES_REFUSED.keys())
def test_examples_that_cannot_be_used(as_owner: Api, sums: Adapter, examples: Any, code: str):
    response = as_owner.json("post", URL, order("owner/sums", examples=examples))
    assert refusal(response) == (400, code)
    assert not Composition.objects.exists()
    if code == "examples-invalid" and len(examples) == 6:
        assert list(response.json()["error"]["fields"]) == ["examples.6"]


@pytest.fixture
def others(owner: User, friend: User, upload: Upload) -> None:
    """Adapters that cannot take part, each for its own reason."""
    upload(owner, "otherbase", base="other/base")
    upload(friend, "hidden", private=True)
    upload(owner, "dora", use_dora=True)
    upload(owner, "mine", private=True, seed=3)
    adapters.create(actor=owner, name="empty")


MODULES_REFUSED: dict[str, tuple[Any, str]] = {
    "no modules": ([], "modules-missing"),
    "another word than auto": ("all", "modules-invalid"),
    "a module that does not exist": (["owner/nothing"], "module-not-found"),
    "no id": (["", "owner", "/"], "module-not-found"),
    "a private module of someone else": (["friend/hidden"], "module-not-found"),
    "a private module in a public result": (["owner/sums", "owner/mine"], "module-private"),
    "a module for another base model": (["owner/sums", "owner/otherbase"], "module-other-base"),
    "a module that cannot be composed": (["owner/dora"], "module-unsupported"),
    "a module without files": (["owner/empty"], "module-not-found"),
    "a deleted revision": (["owner/sums@" + "0" * 40], "module-not-found"),
    "the same module twice": (["owner/sums", "OWNER/Sums"], "module-duplicate"),
    "200 modules": (["owner/sums"] * 200, "too-many-modules"),
}


@pytest.mark.parametrize(("modules", "code"), MODULES_REFUSED.values(), ids=MODULES_REFUSED.keys())
def test_modules_that_cannot_be_used(as_owner: Api, sums: Adapter, others: None, modules: Any, code: str):
    response = as_owner.json("post", URL, {**order(), "modules": modules})
    assert refusal(response) == (400, code)
    assert "modules" in response.json()["error"]["fields"]
    assert not Composition.objects.exists()


def test_a_hidden_and_a_missing_module_look_alike(as_owner: Api, sums: Adapter, others: None):
    hidden, missing = (as_owner.json("post", URL, order(ref)).json()["error"]["message"] for ref in ("friend/hidden", "friend/absent"))
    assert hidden.replace("hidden", "absent") == missing


def test_one_module_is_enough(as_owner: Api, sums: Adapter):
    assert as_owner.json("post", URL, order("owner/sums")).status_code == 202


SETTINGS_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown method": ({"method": "magic"}, "unknown-method"),
    "an unknown setting": ({"settings": {"bugdet": 3}}, "unknown-setting"),
    "a setting of another method": ({"settings": {"l1": 0.1}}, "unknown-setting"),
    "a setting out of range": ({"settings": {"budget": 0}}, "setting-out-of-range"),
    "a setting far out of range": ({"settings": {"budget": 10**24}}, "setting-out-of-range"),
    "a setting of another type": ({"settings": {"budget": "many"}}, "setting-invalid"),
    "a setting that is a list": ({"settings": {"dtype": ["float16"]}}, "setting-invalid"),
    "a fraction": ({"settings": {"budget": 1.5}}, "setting-invalid"),
    "a flag for a number": ({"settings": {"budget": True}}, "setting-invalid"),
    "a negative seed": ({"seed": -1}, "seed-invalid"),
    "a huge seed": ({"seed": 2**32}, "seed-invalid"),
    "an unknown base model": ({"base_model": "no/such"}, "base-model-unknown"),
    "a base model of someone's private adapter": ({"base_model": "hidden/base"}, "base-model-unknown"),
    "an empty base model": ({"base_model": ""}, "base-model-missing"),
    "a name with a slash": ({"name": "stranger/x"}, "name-invalid"),
    "weights that are all zero": ({"method": "linear", "settings": {"weights": {"owner/sums": 0}}}, "weights-zero"),
}


@pytest.mark.parametrize(("more", "code"), SETTINGS_REFUSED.values(), ids=SETTINGS_REFUSED.keys())
def test_settings_that_cannot_be_used(as_owner: Api, friend: User, sums: Adapter, upload: Upload, more: dict[str, Any], code: str):
    upload(friend, "hidden", base="hidden/base", private=True)
    assert refusal(as_owner.json("post", URL, {**order("owner/sums"), **more})) == (400, code)
    assert not Composition.objects.exists()


def test_a_name_that_exists(as_owner: Api, sums: Adapter):
    assert refusal(as_owner.json("post", URL, order("owner/sums", name="Sums"))) == (409, "name-taken")
    assert as_owner.json("post", URL, order("owner/sums")).status_code == 202
    assert refusal(as_owner.json("post", URL, order("owner/sums"))) == (400, "name-taken")


def test_private_is_what_the_result_is(as_owner: Api, owner: User, sums: Adapter, tmp_path: Path):
    job = claimed(jobs.submit(actor=owner, base_model=make.BASE, modules=["owner/sums"], examples=EXAMPLES, name="result", private=True))
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 1.0}), folder=tmp_path / "out")
    assert as_owner.get(f"{V1}{URL}/{job.pk}").json()["private"] is True
    as_owner.json("patch", "/adapters/owner/result", {"private": False})
    assert as_owner.get(f"{V1}{URL}/{job.pk}").json()["private"] is as_owner.get(f"{V1}{URL}").json()["items"][0]["private"] is False


def test_too_many_compositions_at_once(as_owner: Api, sums: Adapter, settings: Any):
    settings.JOB_MAX_ACTIVE = 1
    assert as_owner.json("post", URL, order("owner/sums")).status_code == 202
    response = as_owner.json("post", URL, order("owner/sums", name="other"))
    assert refusal(response) == (429, "too-many-jobs")
    assert int(response["Retry-After"]) > 0


def test_methods(anonymous: Api):
    found = anonymous.get(f"{V1}/methods").json()
    assert [method["name"] for method in found["items"]] == [method.name for method in catalogue.METHODS]
    assert found["default"] == catalogue.DEFAULT_METHOD
    assert found["limits"]["max_examples"] == catalogue.MAX_EXAMPLES
    for method in found["items"]:
        assert {setting["name"]: setting["default"] for setting in method["settings"]} == catalogue.check(method["name"], {})
