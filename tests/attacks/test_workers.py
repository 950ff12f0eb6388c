"""A machine that was lent to the hub and is hostile: it may waste its own time, and publish an adapter for the job it holds. Nothing else."""

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from hub.errors import HubError
from hub.models import Adapter, Blob, Composition, Evaluation, Revision, User
from hub.services import adapters, lending, runs, workers
from tests import lent, make
from tests.conftest import Upload
from tests.services.stage import refused, submit
from tests.web.conftest import client

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(owner: User, friend: User, upload: Upload) -> Composition:
    """A job that a lent machine holds."""
    upload(owner, "one")
    upload(friend, "two", seed=1)
    submit(owner, ["owner/one", "friend/two"], anywhere=True)
    handed = lent.claim(lent.token("hostile"))
    assert handed is not None
    return handed.job


def rejected(job: Composition, sent: dict[str, bytes], said: Any, *codes: str) -> None:
    """Expect a result to be refused, whole."""
    before = (Composition.objects.values().get(), Adapter.objects.count(), Revision.objects.count())
    with pytest.raises(HubError) as caught:
        lent.finish(job.worker_token, job, sent, said)
    assert caught.value.code in codes and caught.value.status < 500 and len(caught.value.message) < 600, caught.value.message
    assert (Composition.objects.values().get(), Adapter.objects.count(), Revision.objects.count()) == before


NUMBERS = [float("nan"), float("inf"), float("-inf"), "1", None, True, [], 10**400]
WRONG: dict[str, dict[str, Any]] = {
    **{f"weight {n}": {"weights": {"owner/one": value}} for n, value in enumerate(NUMBERS)},
    **{f"loss {n}": {"scores": {"composed": {"loss": v, "accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 3}}} for n, v in enumerate(NUMBERS)},
    "weights of others": {"weights": {"friend/secret": 1.0}},
    "weights as a list": {"weights": [1.0]},
    "accuracy beyond one": {"scores": {"composed": {"loss": 1.0, "accuracy": 1.5, "low": 0.1, "high": 0.9, "n": 3}}},
    "a score nobody knows": {"scores": {"best ever": {"loss": 1.0, "accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 3}}},
    "a verdict nobody knows": {"verdict": "splendid"},
    "nothing, with files": {"verdict": "nothing"},
    "no summary": {"summary": ""},
    "a book as summary": {"summary": "x" * 2001},
    "half a character": {"summary": "\ud800"},
    "a NUL": {"summary": "a\x00b"},
    "a NUL deep down": {"report": {"notes": ["a\x00b"]}},
    "no report": {"report": None},
    "notes that are none": {"report": {"notes": "x"}},
    "samples of nobody": {"report": {"samples": {"rows": [{"row": 999, "base": "", "best_single": "", "composed": ""}]}}},
    "samples that are none": {"report": {"samples": {"rows": [5]}}},
    "singles that are none": {"report": {"singles": {"owner/one": {"loss": "low"}}}},
    "a spectrum that is none": {"report": {"spectrum": {"by_target": ["q_proj"]}}},
    "forgetting that is none": {"report": {"forgetting": {"change": 1}}},
    "an export that is none": {"report": {"export": {"rank": "8"}}},
    "infinity deep down": {"report": {"anything": {"deep": float("inf")}}},
    "files that are none": {"files": "all"},
    "a file too few": {"files": []},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_results_that_are_none(job: Composition, change: dict[str, Any]) -> None:
    sent = lent.files(job)
    rejected(job, sent, lent.result(job, sent, **change), "result-invalid")


@pytest.mark.parametrize("said", [None, [], "x", 5, {}, {"weights": {}}])
def test_results_of_another_kind(job: Composition, said: Any) -> None:
    before = Composition.objects.values().get()
    with refused("result-invalid"):
        lending.finish(token=job.worker_token, job_id=job.pk, claim=job.claim, said=said, files=[])
    assert Composition.objects.values().get() == before


PATHS = [
    "../adapter_config.json",
    "/etc/passwd",
    "a/adapter_config.json",
    "config.json",
    "model.safetensors",
    ".gitattributes",
    "ADAPTER_CONFIG.JSON",
    "x.py",
    "",
]


@pytest.mark.parametrize("path", PATHS)
def test_names_of_files(job: Composition, path: str) -> None:
    sent = lent.files(job)
    for spoilt in ({**sent, path: b"x"}, {path if name == "README.md" else name: data for name, data in sent.items()}):
        rejected(job, spoilt, lent.result(job, spoilt), "result-invalid")
        rejected(job, spoilt, lent.result(job, sent), "result-invalid")


def test_a_file_twice(job: Composition) -> None:
    sent = lent.files(job)
    said = lent.result(job, sent)
    twice = [adapters.Incoming(path, io.BytesIO(data)) for path, data in [*sent.items(), ("README.md", b"x")]]
    with refused("result-invalid"):
        lending.finish(token=job.worker_token, job_id=job.pk, claim=job.claim, said=said, files=twice)
    with refused("result-invalid"):
        lent.finish(job.worker_token, job, sent, {**said, "files": [*said["files"], said["files"][0]]})


@pytest.mark.parametrize("path", ["adapter_config.json", "adapter_model.safetensors", "README.md", "recipe.json"])
def test_other_bytes_than_announced(job: Composition, path: str) -> None:
    sent = lent.files(job)
    other = {**sent, path: make.adapter(seed=9)[path] if path == "adapter_model.safetensors" else sent[path] + b" "}
    rejected(job, other, lent.result(job, sent), "result-invalid")


RECIPES: dict[str, Any] = {
    "another name": {"name": "friend/other"},
    "a name that is none": {"name": ["owner/result"]},
    "another base": {"base_model": "tiny/other"},
    "another method": {"method": "linear"},
    "other settings": {"settings": {}},
    "another seed": {"seed": 1},
    "other weights": {"result": {"weights_sha256": "0" * 64}},
    "no parents": {"parents": None},
    "parents of nobody": {"parents": [{"id": "friend/secret", "revision": "0" * 40, "weight": 1.0}]},
    "another revision": {"parents": [{"id": "owner/one", "revision": "0" * 40, "weight": 1.0}]},
    "a weight that is none": {"parents": [{"id": "owner/one", "revision": "x", "weight": "1"}]},
    "parents that are none": {"parents": [5, [], None]},
}


@pytest.mark.parametrize("change", RECIPES.values(), ids=RECIPES)
def test_recipes_of_something_else(job: Composition, change: dict[str, Any]) -> None:
    sent = lent.files(job, **change)
    rejected(job, sent, lent.result(job, sent), "result-invalid")


@pytest.mark.parametrize("recipe", [b"", b"[]", b"null", b"{", b'{"a": NaN}', b"[" * 10_000, b"\xff"], ids=repr)
def test_recipes_that_are_none(job: Composition, recipe: bytes) -> None:
    sent = {**lent.files(job), "recipe.json": recipe}
    rejected(job, sent, lent.result(job, sent), "result-invalid")


def adapters_that_are_none() -> dict[str, dict[str, bytes]]:
    """Files that are sound enough to be announced."""
    whole = make.adapter(seed=7)
    return {
        "another base": make.adapter(base="tiny/other", seed=7),
        "no weights": {**whole, "adapter_model.safetensors": b"x"},
        "a header that lies": {**whole, "adapter_model.safetensors": (1 << 60).to_bytes(8, "little") + b"{}"},
        "dora": make.adapter(seed=7, use_dora=True),
        "a config that is none": {**whole, "adapter_config.json": b"[]"},
    }


@pytest.mark.parametrize("files", adapters_that_are_none().values(), ids=adapters_that_are_none())
def test_adapters_that_are_none(job: Composition, files: dict[str, bytes]) -> None:
    weights = hashlib.sha256(files["adapter_model.safetensors"]).hexdigest()
    sent = {**lent.files(job, result={"weights_sha256": weights}), **files}
    with pytest.raises(HubError) as caught:
        lent.finish(job.worker_token, job, sent)
    assert caught.value.status in (400, 413) and not Adapter.objects.filter(name="result").exists()
    assert Composition.objects.get().status == "running"


def test_sizes(job: Composition, settings: Settings) -> None:
    sent = {**lent.files(job), "README.md": b"x" * 1_000_001}
    rejected(job, sent, lent.result(job, sent), "result-invalid")
    settings.MAX_WEIGHTS_BYTES = 1000
    rejected(job, lent.files(job), lent.result(job, lent.files(job)), "file-too-large")


EVALUATIONS: dict[str, dict[str, Any]] = {
    **{f"loss {n}": {"loss": value} for n, value in enumerate(NUMBERS)},
    **{f"weight {n}": {"weights": [value]} for n, value in enumerate(NUMBERS)},
    "steps below zero": {"step": -1},
    "a step that is none": {"step": "0"},
    "phases that are none": {"phase": "<b>"},
    "more weights than modules": {"weights": [1.0] * 3},
    "rows of nobody": {"rows": [99]},
    "rows that are none": {"rows": [-1]},
    "no detail": {"detail": None},
    "sums that are none": {"detail": {"sums": ["x"]}},
    "a time that is none": {"detail": {"at": "now"}},
    "a NUL": {"detail": {"gradient": "\x00"}},
    "infinity": {"detail": {"more": float("inf")}},
    "a library": {"detail": {"gradient": "x" * 1_000_001}},
    "no base64": {"detail": {"gradient": "!!"}},
    "half a number": {"detail": {"gradient": "AAAA"}},
    "a memory for nothing": {"detail": {"forward_tokens": 0}},
    "half a shortlist": {"phase": "shortlist", "weights": [], "detail": {"kept": ["owner/one"]}},
    "a shortlist of others": {"phase": "shortlist", "weights": [], "detail": {"kept": ["friend/secret"], "refused": {}, "effects": {}, "loss": 1.0}},
}


@pytest.mark.parametrize("change", EVALUATIONS.values(), ids=EVALUATIONS)
def test_measurements_that_are_none(job: Composition, change: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        lending.report(token=job.worker_token, job_id=job.pk, claim=job.claim, evaluations=[{**lent.evaluation(0), **change}])
    assert caught.value.status == 400 and not Evaluation.objects.exists() and Composition.objects.get().done == 0


def test_the_page_of_a_result_stands_whatever_else_it_says(job: Composition, owner: User) -> None:
    """What is not known is kept as it is; what pages read was checked; what stands there is shown as words."""
    report = {
        "device": "<script>alert(1)</script>",
        "notes": ["<img src=x onerror=alert(1)>"],
        "worker": "the hub itself",
        "samples": {"rows": [{"row": 0, "base": "<b>", "best_single": "", "composed": "x"}]},
        "anything": [{"deep": [[[]]]}, None, "x" * 1000],
        "scored_on": {},
        "spectrum": None,
    }
    lending.report(token=job.worker_token, job_id=job.pk, claim=job.claim, evaluations=[lent.evaluation(0)], stages=[{"name": "<b>", "sentence": "<b>x"}])
    sent = lent.files(job, anything={"deep": 1})
    lent.finish(job.worker_token, job, sent, lent.result(job, sent, summary="<script>alert(2)</script>", report=report))
    page = client(owner).get(f"/compositions/{job.pk}").content.decode()
    assert "<script>alert" not in page and "<img src=x" not in page and "Computed on a machine elsewhere, hostile" in page
    assert Client().get("/owner/result").status_code == 200
    assert Composition.objects.get().report["worker"] == "hostile", "who it was is not the machine's to say"


def test_it_touches_no_other_job(job: Composition, owner: User, friend: User) -> None:
    other = submit(friend, ["friend/two"], name="other")
    held = runs.claim(job_id=other.pk, worker="beside:1")
    assert held is not None
    before = Composition.objects.filter(pk=other.pk).values().get()
    hostile = job.worker_token
    calls: list[Callable[[str], Any]] = [
        lambda claim: lending.report(token=hostile, job_id=other.pk, claim=claim, evaluations=[lent.evaluation(0)]),
        lambda claim: lending.fail(token=hostile, job_id=other.pk, claim=claim, code="x", message="X."),
        lambda claim: lending.release(token=hostile, job_id=other.pk, claim=claim),
        lambda claim: lending.finish(token=hostile, job_id=other.pk, claim=claim, said=lent.result(other, {}, verdict="nothing"), files=[]),
        lambda claim: lending.require(token=hostile, job_id=other.pk, claim=claim),
    ]
    for call in calls:
        for claim in ("", job.claim, held.claim):  # even one that leaked: a claim belongs to a token
            with refused("claim-lost", 409):
                call(claim)
    assert Composition.objects.filter(pk=other.pk).values().get() == before


def test_a_token_that_was_revoked_while_it_worked(job: Composition) -> None:
    token = job.worker_token
    link = lending.link(job, adapters.find(actor=job.owner, repo_id="owner/one").head.files.first().blob)
    workers.revoke_token(actor=None, token=token)
    token.pk = 10**6  # as it was read by a request that is under way
    with refused("claim-lost", 409):
        lent.finish(token, job)
    with refused("link-invalid", 404):
        lending.follow(link=link)
    assert Composition.objects.get().status == "queued" and not Adapter.objects.filter(name="result").exists()


@pytest.mark.parametrize("change", [{"private": True}, {"gated": "auto"}, {"gated": "manual"}, {"taken_down": True}])
def test_an_adapter_that_was_closed_while_it_worked(job: Composition, change: dict[str, Any]) -> None:
    one, two = (adapters.find(actor=job.owner, repo_id=name).head.files.get(path="adapter_model.safetensors").blob for name in ("owner/one", "friend/two"))
    links = {blob: lending.link(job, blob) for blob in (one, two)}
    assert [lending.follow(link=link) for link in links.values()] == [one, two]
    Adapter.objects.filter(name="two").update(**change)
    assert lending.follow(link=links[one]) == one
    with refused("link-invalid", 404):
        lending.follow(link=links[two])
    other = make.adapter(seed=5)["adapter_model.safetensors"]
    strange = Blob.objects.create(sha256=hashlib.sha256(other).hexdigest(), size=len(other))
    with refused("link-invalid", 404):
        lending.follow(link=lending.link(job, strange))


def test_bytes_that_another_module_still_shows(job: Composition) -> None:
    """Both adapters have one configuration: it is for everybody while one of them is."""
    config = adapters.find(actor=job.owner, repo_id="friend/two").head.files.get(path="adapter_config.json").blob
    link = lending.link(job, config)
    Adapter.objects.filter(name="two").update(private=True)
    assert lending.follow(link=link) == config
    Adapter.objects.update(private=True)
    with refused("link-invalid", 404):
        lending.follow(link=link)


def test_what_it_is_told_holds_no_more_than_the_job(job: Composition, owner: User) -> None:
    handed = lending.Handed(job, [], (), "")
    from hub.api.worker_bodies import run

    said = json.dumps(run(None, handed), default=str)
    assert owner.email not in said and "idempotency" not in said and "password" not in said
