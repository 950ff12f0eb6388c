"""The report on a composition's page is true to what the job's report and scores say."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hub.models import Adapter, Composition, Evaluation, Revision, User
from tests.web.conftest import finished, page, text


def shown(as_owner: Client, job: Composition, **change: Any) -> str:
    """What the page of a job says once its row is changed so."""
    Composition.objects.filter(pk=job.pk).update(**change)
    return text(as_owner.get(f"/compositions/{job.pk}"))


def scored(loss: float, right: float = 0.5, module: str | None = None) -> dict[str, Any]:
    """A candidate's score."""
    return {"loss": loss, "accuracy": right, "low": 0.1, "high": 0.9, "n": 20, "module": module}


@pytest.mark.parametrize(
    ("method", "verdict", "chosen", "best_single", "uniform", "said"),
    [
        ("medley", "mix", "mix", scored(1.2), scored(1.3), "A mix did best."),
        (
            "cma",
            "mix",
            "mix",
            scored(0.9),
            scored(1.3),
            "The mix did worse than the best single adapter. It is published because this method always",
        ),
        ("tune", "tuned", "mix", scored(0.9), scored(1.3), "A newly trained adapter did worse than the best single adapter. It is published because"),
        (
            "medley+tune",
            "tuned",
            "mix",
            scored(0.9),
            scored(1.3),
            "A newly trained adapter did worse than the best single adapter where parts of",
        ),
        ("medley", "single", "single", scored(1.0), scored(1.3), "One adapter alone did best."),
        ("select", "single", "single", scored(1.0), scored(1.3, 0.9), "One adapter alone has the lowest loss, but not the most right answers."),
        ("select", "single", "single", scored(1.0), scored(0.8), "One adapter alone did worse than the even mix, but this method publishes no mix."),
        (
            "medley",
            "single",
            "single",
            scored(1.0),
            scored(0.8),
            "the even mix where it was picked without the examples that judge it; on all examples it did best.",
        ),
        ("medley", "single", "mix", scored(1.2), scored(1.3), "One adapter as it is did best."),
    ],
)
def test_the_first_sentence_is_true_to_the_scores(
    as_owner: Client, owner: User, sums: Adapter, tmp_path: Path, method: str, verdict: str, chosen: str, best_single: Any, uniform: Any, said: str
) -> None:
    job = finished(owner, tmp_path / "out")
    scores = {"base": scored(2.0), "best_single": best_single, "uniform": uniform, "composed": scored(1.0)}
    assert said in shown(as_owner, job, method=method, verdict=verdict, scores=scores, report={"chosen": chosen})


def test_what_was_chosen_by_its_loss_and_what_was_given(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    scores = {"base": scored(2.0, 0.9), "composed": scored(1.0)}
    said = shown(as_owner, job, method="medley", scores=scores)
    assert "The base model answers more of the examples exactly right: 90% against 50%. What is published was chosen by its loss, which says" in said
    assert "90% against 50%. The loss says how far off" in shown(as_owner, job, method="ties")


def test_scores_of_files_that_were_cut(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    cut = {"rank": 1, "whole_loss": 0.8, "whole_accuracy": 0.5, "file_loss": 1.0, "file_accuracy": 0.5}
    scores = {"base": scored(2.0), "best_single": scored(1.2, module="owner/sums"), "uniform": scored(1.9), "composed": scored(1.0)}
    report = {**job.report, "chosen": "mix", "cuts": {"mix": cut, "single": {**cut, "rank": 2}}, "scored_on": {"composed": "some", "best_single": "others"}}
    said = shown(as_owner, job, scores=scores, report=report)
    assert "This mix cut to rank 1 " in said and "sums, cut to rank 2" in said and said.count("cut to rank") == 2
    assert "The result was scored on some. The best single adapter was scored on others." in said
    assert "is owner/sums, which answers as it is, not cut. The weights that answer here were learned without the example, and nothing is" in said
    same = {**scores, "uniform": scores["best_single"], "composed": scores["best_single"]}
    assert shown(as_owner, job, scores=same, report={**report, "cuts": {"single": cut}}).count("cut to rank 1") == 3, "the same adapter is measured once"
    for odd in (5, [1], {"mix": 1, "single": {"rank": "x"}}):
        assert "cut to rank" not in shown(as_owner, job, report={**report, "cuts": odd, "chosen": ["mix"]})
    runs_of = [("single", 1.0), ("cut", 1.2), ("cut", 1.3)]
    Evaluation.objects.bulk_create(Evaluation(composition=job, step=n, phase=phase, weights=[1.0], loss=loss) for n, (phase, loss) in enumerate(runs_of, 50))
    assert "2 rings are files after the cut to their rank." in shown(as_owner, job)


def test_one_adapter_as_a_search_left_it(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    scores = {"base": scored(2.0), "best_single": scored(0.7, module="owner/sums"), "composed": scored(0.9)}
    report = {**job.report, "chosen": "mix", "cuts": {"mix": {"rank": 1, "whole_loss": 0.7, "file_loss": 0.9}}}
    said = shown(as_owner, job, method="cma", verdict="single", scores=scores, report=report)
    assert "One adapter, cut to rank 1, did worse than the best single adapter. It is published because this method always publishes what it found." in said
    assert "One adapter as it is did worse" in shown(as_owner, job, report={**report, "cuts": {}})


@pytest.mark.parametrize(("method", "said"), [("cma", "The search came to nothing."), ("tune", "The training came to nothing."), ("medley", "Nothing helped.")])
def test_a_search_that_makes_nothing_says_nothing_of_the_adapters(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path, method: str, said: str) -> None:
    whole = shown(as_owner, finished(owner, tmp_path / "out"), method=method, verdict="nothing", report={})
    assert said in whole and ("That is an ordinary result" in whole) == (method == "medley")


def test_what_could_be_written_is_said(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    scores = {"base": scored(2.0), "uniform": scored(0.9), "composed": scored(1.0)}
    said = shown(as_owner, job, method="medley", verdict="single", scores=scores, report={"chosen": "single", "unwritten": {"uniform": "Too large."}})
    assert "One adapter alone did best of what could be written." in said


def test_a_result_that_its_owner_cannot_see_any_more(as_owner: Client, owner: User, friend: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    Adapter.objects.filter(pk=job.result.adapter_id).update(owner=friend, private=True)
    html = page(as_owner.get(f"/compositions/{job.pk}"))
    assert f"It was published as {friend.username}/result, which you cannot see any more." in " ".join(html.split()) and "Open the adapter" not in html


def test_weights_of_what_was_not_published(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    Composition.objects.filter(pk=job.pk).update(status="cancelled", weights={"owner/sums": 0.5})
    Evaluation.objects.create(composition=job, step=50, phase="single", weights=[0.5], loss=1.0)
    assert "Of the best candidate that was measured." in text(as_owner.get(f"/compositions/{job.pk}"))


def test_nothing_is_left_after_the_cut(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    said = shown(as_owner, job, verdict="nothing", method="select", report={"cuts": {"single": {"rank": 1}}, "chosen": "base"})
    assert "Nothing helped once it was cut to the rank or size allowed." in said and "ordinary result" not in said and "The adapter, not published" in said


def test_what_the_result_knew_of_the_samples(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    two = {f"owner/{name}": {"loss": 1.0, "accuracy": 0.5, "kept": True} for name in ("sums", "units")}
    assert "It was picked on these examples." in shown(as_owner, job, report={**job.report, "chosen": "single", "singles": two})
    assert "Nothing was learned from these examples." in shown(as_owner, job, report={**job.report, "chosen": "uniform"})
    assert "Nothing was learned from these examples." in shown(as_owner, job, method="ties", report={**job.report, "chosen": "mix"})
    seen = {**job.report, "samples": {**job.report["samples"], "held_out": False}}
    assert "The result has seen these examples" in shown(as_owner, job, method="medley", report=seen)


def test_a_trained_adapter_and_its_recipe(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out", export=None)
    recipe = {"parents": [{"id": "owner/sums", "revision": sums.head.sha, "weight": 1.0}], "result": {"weights_sha256": "a" * 64}, "rebuilt_from": "parents"}
    Revision.objects.filter(pk=job.result_id).update(recipe=recipe)
    singles = {"owner/sums": {"loss": 1.0, "accuracy": 0.5, "kept": True}}
    said = shown(as_owner, job, report={"singles": singles})
    assert "from it and its parents anyone can make it again." in said and "verify_recipe owner/result makes it again" in said and "took part" in said
    Revision.objects.filter(pk=job.result_id).update(recipe={**recipe, "rebuilt_from": "parents and examples"})
    said = shown(as_owner, job)
    assert "Your examples shaped it too, so nobody can make it again from this alone." in said and "anyone can" not in said and "verify_recipe" not in said
    Revision.objects.filter(pk=job.result_id).update(recipe={**recipe, "parents": [{**recipe["parents"][0], "weight": 0.0}]})
    said = shown(as_owner, job, verdict="tuned", method="tune", weights={"owner/sums": 0.0})
    assert "No adapter went into this file" in said and "took part" not in said


def test_sample_answers_beside_those_wanted(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    answer = as_owner.get(f"/compositions/{job.pk}")
    said, html = text(answer), page(answer)
    assert "1 + 1 = 2 <b>11</b> Right: 2 Right: 2" in said and "4 + 4 = 8 nothing 9 Right: 8" in said and "<b>11</b>" not in html
    assert "learned without the example" in said and html.count('class="right"') == 3
    Composition.objects.filter(pk=job.pk).update(report={"samples": {"held_out": False, "best_single": "x/y", "rows": [{"row": 99}]}})
    assert "Sample answers" not in text(as_owner.get(f"/compositions/{job.pk}")), "rows that the job does not have are left out"
