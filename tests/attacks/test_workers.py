"""A machine that was lent to the hub and is hostile: it may waste its own time, and publish an adapter for the job it holds. Nothing else."""

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from compose_worker.engine import catalogue
from hub.errors import HubError
from hub.models import Adapter, Blob, Composition, Evaluation, Revision, User
from hub.services import adapters, lending, lifecycle, runs, workers
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


SCORE = {"loss": 1.0, "accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 6}
NUMBERS = [float("nan"), float("inf"), float("-inf"), "1", None, True, [], 10**400]
SCORES: list[dict[str, Any]] = [
    {"loss": 1e308},
    {"loss": -1.0},
    {"n": 10**9},
    {"n": 5},
    {"n": 6.0},
    {"n": 0},
    {"low": 1.0, "high": 0.0},
    {"low": 0.6},
    {"high": 0.4},
    {"module": "not/there"},
]
WRONG: dict[str, dict[str, Any]] = {
    **{f"weight {n}": {"weights": {"owner/one": value}} for n, value in enumerate(NUMBERS)},
    **{f"loss {n}": {"scores": {"composed": {"loss": v, "accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 6}}} for n, v in enumerate(NUMBERS)},
    "weights of others": {"weights": {"friend/secret": 1.0}},
    "weights as a list": {"weights": [1.0]},
    "accuracy beyond one": {"scores": {"composed": {"loss": 1.0, "accuracy": 1.5, "low": 0.1, "high": 0.9, "n": 6}}},
    **{f"a score with {more}": {"scores": {"composed": {**SCORE, **more}}} for more in SCORES},
    "a weight beyond all": {"weights": {"owner/one": 1e308}},
    "a weight below all": {"weights": {"owner/one": -1001.0}},
    "a score nobody knows": {"scores": {"best ever": {"loss": 1.0, "accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 6}}},
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
    "samples of half an example": {"report": {"samples": {"rows": [{"row": 0.0, "base": "", "best_single": "", "composed": ""}]}}},
    "a NUL in a key": {"report": {"a\x00b": 1}},
    "training by a method that does not": {"verdict": "tuned"},
    "samples that are none": {"report": {"samples": {"rows": [5]}}},
    "singles that are none": {"report": {"singles": {"owner/one": {"loss": "low"}}}},
    "a spectrum that is none": {"report": {"spectrum": {"by_target": ["q_proj"]}}},
    "a share below none": {"report": {"spectrum": {"by_target": {"q_proj": {"effective_rank": 1.0, "top_share": -5, "energy_share": 0.5}}}}},
    "a share beyond all": {"report": {"spectrum": {"by_target": {"q_proj": {"effective_rank": 1.0, "top_share": 0.5, "energy_share": 1e308}}}}},
    "a rank below none": {"report": {"spectrum": {"by_target": {"q_proj": {"effective_rank": -1.0, "top_share": 0.5, "energy_share": 0.5}}}}},
    "a candidate that is none": {"report": {"chosen": ["mix"]}},
    "a cut that is none": {"report": {"cuts": {"mix": {"rank": "1", "whole_loss": 1.0, "file_loss": 1.0}}}},
    "a cut of half a rank": {"report": {"cuts": {"mix": {"rank": 1.0, "whole_loss": 1.0, "file_loss": 1.0}}}},
    "a cut of what is none": {"report": {"cuts": {"other": {"rank": 1, "whole_loss": 1.0, "file_loss": 1.0}}}},
    "singles beyond all": {"report": {"singles": {"owner/one": {"loss": 1e308, "accuracy": 0.5}}}},
    "singles of nobody": {"report": {"singles": {"not/there": {"loss": 1.0, "accuracy": 0.5}}}},
    "an effect beyond all": {"report": {"attribution": {"owner/one": {"without_loss": 1.0, "effect": -1e308}}}},
    "an effect of nobody": {"report": {"attribution": {"not/there": {"without_loss": 1.0, "effect": 0.1}}}},
    "samples of another adapter": {"report": {"samples": {"rows": [], "best_single": "not/there"}}},
    "years": {"report": {"seconds": {"search": 1e308}}},
    "an export beyond all": {"report": {"export": {"rank": 10**9, "bytes": 1}}},
    "an export of half a rank": {"report": {"export": {"rank": 8.0, "bytes": 1}}},
    "an export of half a byte": {"report": {"export": {"rank": 8, "bytes": 1.0}}},
    "forgetting beyond all": {"report": {"forgetting": {"base_loss": 1.0, "loss": 1e308, "change": 1.0, "kl": 1.0}}},
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
    "half a seed": {"seed": 0.0},
    "a seed that is none": {"seed": False},
    "other weights": {"result": {"weights_sha256": "0" * 64}},
    "no parents": {"parents": None},
    "parents of nobody": {"parents": [{"id": "friend/secret", "revision": "0" * 40, "weight": 1.0}]},
    "another revision": {"parents": [{"id": "owner/one", "revision": "0" * 40, "weight": 1.0}]},
    "a weight that is none": {"parents": [{"id": "owner/one", "revision": "x", "weight": "1"}]},
    "parents that are none": {"parents": [5, [], None]},
    "made of nothing": {"parents": []},
    "a NUL": {"anything": ["a\x00b"]},
    "half a character": {"anything": "\ud800"},
    "rebuilt from nothing known": {"rebuilt_from": "air"},
    "weights by layer that are none": {"layer_weights": {"a": "x"}},
    "too few weights by layer": {"layer_weights": {"a": [1.0]}},
    "weights by layer beyond all": {"layer_weights": {"a": [1e308, 0.5]}},
}


@pytest.mark.parametrize("change", RECIPES.values(), ids=RECIPES)
def test_recipes_of_something_else(job: Composition, change: dict[str, Any]) -> None:
    sent = lent.files(job, **change)
    rejected(job, sent, lent.result(job, sent), "result-invalid")


PARENTS: dict[str, Any] = {
    "another weight": lambda one, two: [{**one, "weight": 0.4}, two],
    "no hashes": lambda one, two: [{key: value for key, value in one.items() if not key.endswith("sha256")}, two],
    "another file": lambda one, two: [{**one, "weights_sha256": two["weights_sha256"]}, two],
    "another configuration": lambda one, two: [{**one, "config_sha256": "0" * 64}, two],
    "a hash that is none": lambda one, two: [{**one, "config_sha256": 5}, two],
    "one left out": lambda one, two: [one],
    "one twice": lambda one, two: [one, one, two],
    "one more": lambda one, two: [one, two, {**two, "id": "friend/secret"}],
    "another revision": lambda one, two: [{**one, "revision": two["revision"]}, two],
}


@pytest.mark.parametrize("change", PARENTS.values(), ids=PARENTS)
def test_parents_that_are_not_the_results(job: Composition, change: Callable[..., list[dict[str, Any]]]) -> None:
    parents = [lent.parent(row, 0.5) for row in job.ingredients.all()]
    sent = lent.files(job, parents=change(*parents))
    rejected(job, sent, lent.result(job, sent), "result-invalid")


def test_an_adapter_without_a_weight_is_no_parent(job: Composition) -> None:
    one, two = job.ingredients.all()
    said = {"weights": {one.repo_id: 1.0, two.repo_id: 0.0}, "verdict": "single"}
    both, alone = lent.files(job, parents=[lent.parent(one, 1.0), lent.parent(two, 0.0)]), lent.files(job, parents=[lent.parent(one, 1.0)])
    rejected(job, both, lent.result(job, both, **said), "result-invalid")
    assert lent.finish(job.worker_token, job, alone, lent.result(job, alone, **said)).status == "succeeded"


def test_an_adapter_that_has_weights_on_layers_alone_is_one(job: Composition) -> None:
    one, two = job.ingredients.all()
    said = {"weights": {one.repo_id: 1.0, two.repo_id: 0.0}}
    parents, layers = [lent.parent(one, 1.0), lent.parent(two, 0.0)], {"a": [1.0, -0.5], "b": [1.0, 0.5]}
    idle = lent.files(job, parents=parents, layer_weights={"a": [1.0, 0.0]})
    rejected(job, idle, lent.result(job, idle, **said), "result-invalid")
    sent = lent.files(job, parents=parents, layer_weights=layers)
    assert lent.finish(job.worker_token, job, sent, lent.result(job, sent, **said)).status == "succeeded"


@pytest.mark.parametrize(
    ("verdict", "recipe", "taken"),
    [
        ("tuned", {"rebuilt_from": "parents and examples"}, True),
        ("tuned", {"rebuilt_from": "parents"}, False),
        ("tuned", {}, False),
        ("mix", {"rebuilt_from": "parents and examples"}, False),
        ("single", {"rebuilt_from": "parents and examples"}, False),
    ],
)
def test_what_was_made_of_no_adapter_was_trained(job: Composition, verdict: str, recipe: dict[str, Any], taken: bool) -> None:
    Composition.objects.update(method="tune", settings=catalogue.check("tune", {}))
    job.refresh_from_db(fields=["method", "settings"])
    sent = lent.files(job, parents=[], **recipe)
    said = lent.result(job, sent, weights={"owner/one": 0.0, "friend/two": 0.0}, verdict=verdict)
    if taken:
        assert lent.finish(job.worker_token, job, sent, said).verdict == "tuned"
    else:
        rejected(job, sent, said, "result-invalid")


@pytest.mark.parametrize("method", [method.name for method in catalogue.METHODS])
def test_only_training_makes_something_of_no_adapter(job: Composition, method: str) -> None:
    Composition.objects.update(method=method, settings=catalogue.check(method, {}))
    job.refresh_from_db(fields=["method", "settings"])
    sent = lent.files(job, parents=[], rebuilt_from="parents and examples")
    said = lent.result(job, sent, weights={}, verdict="tuned")
    if method in ("tune", "medley+tune"):
        assert lent.finish(job.worker_token, job, sent, said).verdict == "tuned"
    else:
        rejected(job, sent, said, "result-invalid")


@pytest.mark.parametrize("method", [method.name for method in catalogue.METHODS if not method.needs_examples])
@pytest.mark.parametrize(
    ("given", "one", "two", "taken"),
    [
        ({"owner/one": 0.7, "friend/two": -0.3}, 0.7, -0.3, True),
        ({"owner/one": 0.7, "friend/two": -0.3}, 0.7, 0.3, False),
        ({"owner/one": 0.7, "friend/two": -0.3}, 0.7, None, False),
        ({"owner/one": 0.7, "friend/two": 0.0}, 0.7, 0.0, True),
        ({"owner/one": 0.7}, 0.7, 0.5, True),
        ({"owner/one": 0.7}, 0.7, 1.0, True),
        ({"owner/one": 0.7}, 0.7, 0.7, False),
        ({"owner/one": 0.7}, 0.5, 0.5, False),
        ({}, 0.5, 0.5, True),
        ({}, 1.0, 1.0, True),
        ({}, 0.5, 1.0, False),
    ],
)
def test_given_weights_are_those_given(job: Composition, method: str, given: dict[str, float], one: float, two: float | None, taken: bool) -> None:
    Composition.objects.update(method=method, settings=catalogue.check(method, {"weights": given}))
    job.refresh_from_db(fields=["method", "settings"])
    weights = {name: weight for name, weight in (("owner/one", one), ("friend/two", two)) if weight is not None}
    sent = lent.files(job, parents=[lent.parent(row, weights[row.repo_id]) for row in job.ingredients.all() if weights.get(row.repo_id)])
    said = lent.result(job, sent, weights=weights)
    if taken:
        assert lent.finish(job.worker_token, job, sent, said).weights == weights
    else:
        rejected(job, sent, said, "result-invalid")


def test_an_answer_that_spells_a_nul_is_a_text(job: Composition) -> None:
    rows = [{"row": 0, "base": "\\u0000", "best_single": "\\ud800", "composed": "\\" * 1001}]
    sent = lent.files(job)
    ended = lent.finish(job.worker_token, job, sent, lent.result(job, sent, report={"samples": {"rows": rows}}))
    assert ended.report["samples"]["rows"] == rows


def test_a_module_that_was_deleted_meanwhile_has_no_hashes_to_compare(job: Composition, owner: User) -> None:
    sent = lent.files(job)
    lifecycle.delete(actor=owner, adapter=Adapter.objects.get(name="one"))
    assert lent.finish(job.worker_token, job, sent).status == "succeeded"


GIVEN = {"weights": {"owner/one": -10.0, "friend/two": 10.0}}


@pytest.mark.parametrize(
    ("method", "given", "most"),
    [("cma", {"bound": 0.2}, 1.0), ("cma", {"bound": 7.5}, 7.5), ("linear", GIVEN, 10.0), ("ties", GIVEN, 10.0), ("medley+tune", {}, 1000.0)],
)
def test_how_large_weights_can_be(job: Composition, owner: User, method: str, given: dict[str, Any], most: float) -> None:
    settings = catalogue.check(method, given)
    Composition.objects.update(method=method, settings=settings)
    row = Composition.objects.get()

    def report(weight: float) -> None:
        lending.report(
            token=job.worker_token,
            job_id=job.pk,
            claim=job.claim,
            evaluations=[lent.evaluation(0, weights=[weight, 0.0])],
            best={"weights": {"owner/one": weight}, "loss": 1.0},
        )

    for weight in (1.01 * most, -1.01 * most):
        sent = lent.files(row)
        rejected(job, sent, lent.result(row, sent, weights={"owner/one": weight, "friend/two": 0.5}), "result-invalid")
        with refused("result-invalid"):
            report(weight)
    report(-most)
    parents = [lent.parent(module, weight) for module, weight in zip(row.ingredients.all(), (-most, most), strict=True)]
    sent = lent.files(row, parents=parents)
    assert lent.finish(job.worker_token, job, sent, lent.result(row, sent, weights={"owner/one": -most, "friend/two": most})).status == "succeeded"


def test_scores_where_there_are_no_examples(job: Composition) -> None:
    Composition.objects.update(method="linear", settings=catalogue.check("linear", {}), examples=[])
    row = Composition.objects.get()
    sent = lent.files(row)
    for n in (0, 6):
        rejected(job, sent, lent.result(row, sent, scores={"composed": {**SCORE, "n": n}}), "result-invalid")
    assert lent.finish(job.worker_token, job, sent, lent.result(row, sent, scores={})).status == "succeeded"


def test_what_rounding_adds_is_no_fault(job: Composition) -> None:
    sent = lent.files(job)
    said = lent.result(job, sent, scores={"composed": {**SCORE, "accuracy": 1.0, "low": 0.6, "high": 1 - 1e-16}})
    assert lent.finish(job.worker_token, job, sent, said).status == "succeeded"


@pytest.mark.parametrize("loss", [1e308, -1.0])
def test_a_best_loss_that_is_none(job: Composition, loss: float) -> None:
    with refused("result-invalid"):
        lending.report(token=job.worker_token, job_id=job.pk, claim=job.claim, best={"weights": {"owner/one": 1.0}, "loss": loss})
    assert Composition.objects.get().best_loss is None


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
    "a loss beyond all": {"loss": 1e308},
    "a loss below none": {"loss": -1.0},
    "sums beyond all": {"detail": {"sums": [1e308]}},
    "a weight beyond all": {"weights": [1e308]},
    "steps below zero": {"step": -1},
    "a step that is none": {"step": "0"},
    "half a step": {"step": 0.0},
    "half a row": {"rows": [0.0]},
    "half an answer": {"detail": {"sums": [0.5], "exact": [1.0]}},
    "half a memory": {"detail": {"forward_tokens": 10.0}},
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
    "a shortlist of nothing": {"phase": "shortlist", "weights": [], "detail": {"kept": [], "refused": {}, "effects": {}, "loss": 1.0}},
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
