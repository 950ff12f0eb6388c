"""Pages of compositions in each state, and the live part that a page asks for."""

from pathlib import Path

from django.test import Client

from compose_worker.engine import spec
from hub.models import Adapter, Composition, LogLine, User
from hub.services import jobs, lifecycle, organizations, runs
from tests.conftest import Upload
from tests.services.stage import claimed, result
from tests.web.conftest import finished, page, submit, text


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
