"""Pages of compositions in each state, and the live part that a page asks for."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from compose_worker.engine import spec
from hub.models import Adapter, Composition, Evaluation, LogLine, Revision, User
from hub.services import jobs, lifecycle, organizations, runs
from tests.conftest import Upload
from tests.services.stage import claimed, result
from tests.web.conftest import page, submit, text


def running(owner: User, steps: int = 4) -> Composition:
    """A job in the middle of its search."""
    job = claimed(submit(owner, "owner/sums", "owner/units"))
    runs.plan(job=job, total=20)
    runs.stage(job=job, name="search", sentence="Learning the weights.")
    runs.record(job=job, evaluation=spec.Evaluation(0, "base", (0.0, 0.0), 2.31))
    runs.record(job=job, evaluation=spec.Evaluation(1, "single", (1.0, 0.0), 0.94))
    for step in range(2, steps):
        runs.record(job=job, evaluation=spec.Evaluation(step, "search", (0.9, -0.1 * step), 1 / step))
    runs.improve(job=job, weights={"owner/sums": 0.9, "owner/units": -0.3}, loss=0.33)
    return job


def test_nothing_yet(as_owner: Client, anonymous: Client) -> None:
    assert "You have not composed anything yet" in page(as_owner.get("/compositions"))
    assert anonymous.get("/compositions").status_code == 302


def test_a_waiting_job(as_owner: Client, owner: User, sums: Adapter) -> None:
    submit(owner, name="first")
    job = submit(owner, name="second")
    html = page(as_owner.get(f"/compositions/{job.pk}"))
    assert "1 composition is ahead of this one" in text(as_owner.get(f"/compositions/{job.pk}"))
    assert 'hx-trigger="every' in html and 'http-equiv="refresh"' in html and "Cancel" in html
    assert "Queued with 6 examples" in html


def test_a_running_job(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "4 of at most 20" in said and "Learning the weights." in said
    assert "base 2.31" in said and "best single 0.94" in said and "best so far 0.33" in said
    assert "units owner \u22120.30" in said and "sums owner +0.90" in said


def test_only_news_are_sent(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    html = page(as_owner.get(f"/compositions/{job.pk}/progress"))
    assert "<html" not in html and 'id="live"' in html
    again = html.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    assert as_owner.get(again).status_code == 204
    runs.record(job=job, evaluation=spec.Evaluation(4, "search", (0.9, 0.0), 0.3))
    assert as_owner.get(again).status_code == 200


def test_the_end_stops_the_asking(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    report = {
        "singles": {"owner/units": {"loss": 3.5, "accuracy": 0.1, "kept": False}, "owner/sums": {"loss": 0.94, "accuracy": 0.5, "kept": True}},
        "scored_on": {"composed": "examples held out in turn"},
        "device": "cpu",
        "dtype": "bfloat16",
        "export": {"rank": 8, "bytes": 937_000},
        "suggested_method": "medley+tune",
    }
    done = result(tmp_path / "out", {"owner/sums": 0.75, "owner/units": -0.25}, report=report)
    runs.finish(job=job, result=done, folder=tmp_path / "out")
    response = as_owner.get(f"/compositions/{job.pk}/progress?seen=x")
    html = page(response, 286)
    assert f'href="/compose?from={job.pk}&amp;method=medley%2Btune"' in html and "Run again with medley+tune" in html
    assert "hx-trigger" not in html and "A mix did best." in html and 'href="/owner/result"' in html
    whole = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "Base 0.10" in whole and "This mix 0.90" in whole and "0.70\u20131.00" in whole and "Cancel" not in whole
    assert "The result was scored on examples held out in turn." in whole and "rank 8, 937 kB" in whole and "cpu, bfloat16" in whole
    assert "sums owner 0.94 0.50 took part units owner 3.50 0.10 left out" in whole
    assert 'http-equiv="refresh"' not in page(as_owner.get(f"/compositions/{job.pk}"))
    assert "Finished" in text(as_owner.get("/compositions")) and "0.10 to 0.90" in text(as_owner.get("/compositions"))


def test_nothing_helped_is_an_ordinary_result(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    nothing = result(tmp_path / "out", {"owner/sums": 0.0}, verdict="nothing", files=(), summary="No mix did better than the base.")
    runs.finish(job=job, result=nothing, folder=tmp_path / "out")
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "Nothing helped. That is an ordinary result. No mix did better than the base." in said and "published as" not in said
    assert "Nothing published" in text(as_owner.get("/compositions"))


def test_what_was_not_published_has_its_name(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    for method, name in (("medley", "The mix, not published"), ("tune", "The training, not published")):
        job = claimed(submit(owner, "owner/sums", "owner/units", method=method, name=f"of-{method}"))
        nothing = result(tmp_path / method, {"owner/sums": 0.0}, verdict="nothing", files=(), summary="Nothing did better than the base.")
        runs.finish(job=job, result=nothing, folder=tmp_path / method)
        assert name in text(as_owner.get(f"/compositions/{job.pk}"))


def test_a_failed_job(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    runs.fail(job=job, code="example-too-long", message="Example 7 is too long. Shorten it.")
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "example-too-long" in said and "Example 7 is too long. Shorten it." in said and "Nothing was published" in said


def test_cancel(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    waiting = submit(owner, name="first")
    assert as_owner.post(f"/compositions/{waiting.pk}/cancel")["Location"] == f"/compositions/{waiting.pk}"
    assert "cancelled before anything was measured" in text(as_owner.get(f"/compositions/{waiting.pk}"))
    assert as_owner.get(f"/compositions/{waiting.pk}/cancel").status_code == 405
    upload(owner, "units", seed=3)
    job = running(owner)
    as_owner.post(f"/compositions/{job.pk}/cancel")
    assert "Stopping after this step" in text(as_owner.get(f"/compositions/{job.pk}"))
    runs.cancelled(job=job)
    assert "the best loss was 0.33" in text(as_owner.get(f"/compositions/{job.pk}"))


def test_cancel_after_the_end(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    runs.fail(job=job, code="x", message="It broke.")
    assert "has already failed" in text(as_owner.post(f"/compositions/{job.pk}/cancel"))


def test_a_mix_that_did_worse_is_not_praised(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 0.75}), folder=tmp_path / "out")
    job.refresh_from_db()
    job.scores["best_single"] = {**job.scores["composed"], "loss": job.scores["composed"]["loss"] - 0.1, "module": "owner/sums"}
    for method, words in (("medley", "by less than what is allowed for that"), ("cma", "because this method always publishes its mix")):
        job.method = method
        job.save(update_fields=["scores", "method"])
        said = text(as_owner.get(f"/compositions/{job.pk}"))
        assert "The mix did worse than the best single adapter" in said and words in said and "A mix did best." not in said


def test_a_mix_that_answers_less_right_says_so(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 0.75}), folder=tmp_path / "out")
    job.refresh_from_db()
    job.scores["best_single"] = {**job.scores["composed"], "loss": job.scores["composed"]["loss"] + 0.1, "accuracy": 0.95, "module": "owner/sums"}
    job.save(update_fields=["scores"])
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "A mix has the lowest loss, but not the most right answers." in said and "A mix did best." not in said
    assert "The best single adapter answers more of the examples exactly right: 95% against 90%." in said


def test_a_result_that_was_deleted(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 0.75}), folder=tmp_path / "out")
    Adapter.objects.get(name="result").delete()
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "A mix did best." in said and "has been deleted since" in said


def test_a_log_is_text(as_owner: Client, owner: User, sums: Adapter) -> None:
    job = submit(owner, description="<b>bold</b>")
    LogLine.objects.create(composition=job, sentence="<script>alert(1)</script>")
    html = page(as_owner.get(f"/compositions/{job.pk}"))
    assert "<script>alert" not in html and "<b>bold" not in html


def test_a_method_that_is_gone(as_owner: Client, owner: User, sums: Adapter) -> None:
    job = submit(owner)
    Composition.objects.filter(pk=job.pk).update(method="old-way", settings={"knob": 1})
    assert "old-way" in text(as_owner.get(f"/compositions/{job.pk}")) and "knob 1" in text(as_owner.get(f"/compositions/{job.pk}"))
    assert "old-way" in text(as_owner.get("/compositions"))


def test_older_ones_have_a_page(as_owner: Client, owner: User, sums: Adapter, monkeypatch) -> None:
    monkeypatch.setattr("hub.web.compositions.PAGE", 2)
    ids = [jobs.cancel(actor=owner, job=submit(owner, name=f"n{n}")).pk for n in range(3)]
    first = page(as_owner.get("/compositions"))
    assert f"/compositions/{ids[2]}" in first and f'/compositions/{ids[0]}"' not in first
    assert f'/compositions/{ids[0]}"' in page(as_owner.get(f"/compositions?before={ids[1]}"))
    assert as_owner.get("/compositions?before=odd").status_code == 200


def test_an_id_that_fits_no_column(as_owner: Client) -> None:
    assert as_owner.get(f"/compositions/{10**30}").status_code == 404
    assert as_owner.get(f"/compose?from={10**30}").status_code == 404


def test_use_the_best_so_far(as_owner: Client, as_stranger: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    address = f"/compositions/{job.pk}/finish"
    assert f'action="{address}"' in page(as_owner.get(f"/compositions/{job.pk}"))
    assert as_stranger.post(address).status_code == 404 and as_owner.get(address).status_code == 405
    seen = page(as_owner.get(f"/compositions/{job.pk}/progress")).split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    assert as_owner.post(address)["Location"] == f"/compositions/{job.pk}"
    said = page(as_owner.get(seen))
    assert "Ending the search with the best so far" in said and address not in said and "Cancel" in said


def test_what_the_report_says_beside_scores(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    report = {
        "notes": ["One adapter dominates: owner/sums makes up 95% of the mix's squared size."],
        "forgetting": {"base_loss": 3.4, "loss": 3.55, "change": 0.15, "kl": 0.0213, "tokens": 400},
        "spectrum": {"by_target": {"q_proj": {"effective_rank": 5.25, "top_share": 0.4, "energy_share": 0.7}}},
    }
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 0.75}, report=report, verdict="tuned"), folder=tmp_path / "out")
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "A newly trained adapter did best." in said and "The trained adapter 0.90" in said and "One adapter dominates" in said
    assert "loss rises from 3.400 to 3.550 with this adapter, and its predictions move by 0.021 nats a token" in said
    assert "q_proj 5.3 0.40 0.70" in said or "q_proj 5.2 0.40 0.70" in said


def test_a_result_without_scores(as_owner: Client, owner: User, sums: Adapter, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "units", seed=3)
    job = running(owner)
    done = result(tmp_path / "out", {"owner/sums": 0.75, "owner/units": 0.25}, scores={}, report={"forgetting": None, "notes": []})
    runs.finish(job=job, result=done, folder=tmp_path / "out")
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "Put together as asked." in said and "Scores" not in said and "A mix did best" not in said
    assert "Evaluation" not in text(as_owner.get("/owner/result")) and as_owner.get("/compositions").status_code == 200


def finished(owner: User, folder: Path, **more: Any) -> Composition:
    """A private composition of one adapter with sample answers to two of its examples."""
    job = claimed(submit(owner, "owner/sums", private=True))
    lines = [{"row": 1, "base": "<b>11</b>", "best_single": "2", "composed": "2"}, {"row": 4, "base": "", "best_single": "9", "composed": "8"}]
    report = {"samples": {"held_out": True, "best_single": "owner/sums", "rows": lines, **more}}
    return runs.finish(job=job, result=result(folder, {"owner/sums": 1.0}, report=report), folder=folder)


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


def test_the_badge_is_of_the_result(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = submit(owner, "owner/sums", private=True)
    places = (f"/compositions/{job.pk}", "/compositions")
    assert all("result private" in text(as_owner.get(place)) for place in places)
    job = claimed(job)
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 1.0}), folder=tmp_path / "out")
    assert all("result private" in text(as_owner.get(place)) for place in places)
    as_owner.post(f"/compositions/{job.pk}/show", {"to": "everyone"})
    assert not any("private" in text(as_owner.get(place)) for place in places)
    as_owner.post(f"/compositions/{job.pk}/show", {"to": "me"})
    assert all("result private" in text(as_owner.get(place)) for place in places)


def test_a_private_result_of_an_organisation(as_owner: Client, as_friend: Client, owner: User, friend: User, sums: Adapter, tmp_path: Path) -> None:
    guild = organizations.create(actor=owner, name="guild")
    organizations.invite(actor=owner, organization=guild, username="friend", role="writer")
    organizations.answer(actor=friend, organization=guild, accept=True)
    job = claimed(submit(friend, "owner/sums", private=True, owner=guild))
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 1.0}), folder=tmp_path / "out")
    said = text(as_friend.get(f"/compositions/{job.pk}"))
    assert "guild/result , which only members of guild can see." in said and "Publish for everyone" not in said, "owners decide that"
    organizations.set_role(actor=owner, organization=guild, username="friend", role="owner")
    assert "Publish for everyone" in text(as_friend.get(f"/compositions/{job.pk}"))
    as_friend.post(f"/compositions/{job.pk}/show", {"to": "everyone"})
    said = text(as_friend.post(f"/compositions/{job.pk}/show", {"to": "members"}, follow=True))
    assert "guild/result is private now: only members of guild can see it." in said
    lifecycle.transfer(actor=friend, adapter=Adapter.objects.get(name="result"), to=friend)
    assert "friend/result , which only you can see." in text(as_friend.get(f"/compositions/{job.pk}"))


def test_sample_answers_beside_those_wanted(as_owner: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    answer = as_owner.get(f"/compositions/{job.pk}")
    said, html = text(answer), page(answer)
    assert "1 + 1 = 2 <b>11</b> Right: 2 Right: 2" in said and "4 + 4 = 8 nothing 9 Right: 8" in said and "<b>11</b>" not in html
    assert "learned without the example" in said and html.count('class="right"') == 3
    Composition.objects.filter(pk=job.pk).update(report={"samples": {"held_out": False, "best_single": "x/y", "rows": [{"row": 99}]}})
    assert "Sample answers" not in text(as_owner.get(f"/compositions/{job.pk}")), "rows that the job does not have are left out"


def test_publishing_a_private_result(as_owner: Client, as_stranger: Client, owner: User, sums: Adapter, tmp_path: Path) -> None:
    job = finished(owner, tmp_path / "out")
    html = page(as_owner.get(f"/compositions/{job.pk}"))
    assert "Publish for everyone" in html and "/owner/result/zip?revision=" in html
    assert as_stranger.post(f"/compositions/{job.pk}/show", {"to": "everyone"}).status_code == 404
    said = text(as_owner.post(f"/compositions/{job.pk}/show", {"to": "everyone"}, follow=True))
    assert "owner/result is public now." in said and "Publish for everyone" not in said and not Adapter.objects.get(name="result").private
    as_owner.post(f"/compositions/{job.pk}/show", {"to": "me"})
    assert Adapter.objects.get(name="result").private
    assert "which only you can see" in text(as_owner.get(f"/compositions/{job.pk}"))
    waiting = submit(owner, "owner/sums", name="waits")
    assert as_owner.post(f"/compositions/{waiting.pk}/show", {"to": "everyone"}).status_code == 404
