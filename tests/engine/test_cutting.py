"""What a report says of a result is true of the file that is published, also where its rank was cut."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from compose_worker.engine import cutting, publish, rebuild, run, scoring, use
from compose_worker.engine.cutting import Cut
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.scores import Rows
from tests.engine.conftest import Watcher


def scored(base_paths, spec):
    return scoring.score_adapter(base_paths["endless"], spec.out_dir, spec.examples, "cpu", "float32")


@pytest.mark.parametrize(
    ("method", "given"), [("cma", {"budget": 12}), ("lorahub", {"budget": 12}), ("linear", {"weights": {"acme/m1": 0.8, "acme/m2": 0.6}}), ("select", {})]
)
@pytest.mark.parametrize("limit", [{"max_rank": 1}, {"mean_rank": 1, "profile": "peft"}])
def test_scores_are_of_the_file(make_spec, adapters, taught, base_paths, method, given, limit):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    spec = make_spec("endless", modules, method, {**given, **limit, "dtype": "float32"}, examples=taught(modules, [0.8, 0.6, 0.0], 12))
    result = run.compose(spec, Watcher())
    file = scored(base_paths, spec)
    (cut,) = result.report["cuts"].values()
    assert (cut["file_loss"], cut["file_accuracy"]) == (pytest.approx(file.loss, abs=1e-4), file.accuracy)
    assert abs(cut["whole_loss"] - file.loss) > 0.01  # else nothing would be seen here
    if method != "select":
        assert result.scores["composed"].loss == pytest.approx(file.loss, abs=1e-4)
    assert any("its score counts that" in note for note in result.report["notes"])
    assert json.loads((Path(spec.out_dir) / "recipe.json").read_text())["export"]["rank"] == cut["rank"]


def test_nothing_is_measured_anew_where_nothing_is_cut(make_spec, adapters, taught):
    modules = [adapters("llama", seed) for seed in (1, 2)]
    result = run.compose(make_spec("endless", modules, "cma", {"budget": 12}, examples=taught(modules, [0.8, 0.6], 8)), Watcher())
    assert result.report["cuts"] == {} and result.report["export"]["energy_kept"] > 0.9999


def test_a_mix_that_its_cut_ruins_is_not_published(make_spec, adapters, taught, base_paths, monkeypatch):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    rows = taught(modules, [0.8, 0.6, 0.5], 15)
    free, bound = (make_spec("endless", modules, "medley", {"budget": 14, "max_rank": rank, "dtype": "float32"}, examples=rows) for rank in (16, 4))
    result = run.compose(free, Watcher())
    assert result.verdict == "mix"
    measured = cutting.measure

    def ruined(task, found, candidate, exported, folder):
        cut = measured(task, found, candidate, exported, folder)
        return Cut(cut.whole, Rows(tuple(s + 40.0 for s in cut.whole.sums), (False,) * len(cut.whole.sums)), cut.rank) if candidate == "mix" else cut

    monkeypatch.setattr(cutting, "measure", ruined)
    result = run.compose(bound, Watcher())
    assert result.verdict == "single" and any("the choice of what is published counts that" in note for note in result.report["notes"])
    assert result.report["attribution"] == {} and scored(base_paths, bound).loss == pytest.approx(result.report["singles"]["acme/m1"]["loss"], abs=1e-3)

    monkeypatch.setattr(cutting, "measure", lambda *args: ruined(args[0], args[1], "mix", *args[3:]) if args[2] == "mix" else every(*args))

    def every(task, found, candidate, exported, folder):
        cut = measured(task, found, candidate, exported, folder)
        return Cut(cut.whole, Rows(tuple(s + 40.0 for s in cut.whole.sums), cut.file.exact), cut.rank)

    monkeypatch.setattr(cutting, "is_cut", lambda exported: True)
    ruin = make_spec("endless", modules, "medley", {"budget": 14, "max_rank": 1}, examples=rows)
    result = run.compose(ruin, Watcher())
    assert result.verdict == "nothing" and result.files == () and list(Path(ruin.out_dir).iterdir()) == []
    assert result.summary.startswith("Cut to the rank or size allowed, what was found is not clearly better")


def test_what_a_cut_changes_is_counted_on_each_row():
    cut = Cut(Rows((1.0, 2.0, 0.5), (True, True, False)), Rows((1.5, 1.0, 0.5), (False, True, True)), 1)
    assert cutting.counted(Rows((2.0, 0.5, 3.0), (True, False, False)), cut) == Rows((2.5, 0.0, 3.0), (False, False, True))
    assert cutting.counted(cut.whole, cut) == cut.file


@pytest.mark.parametrize("profile", ["serving", "peft"])
def test_a_file_that_nothing_fits_into_is_refused_before_anything_is_measured(make_spec, adapters, taught, profile):
    modules = [adapters("llama", seed) for seed in (1, 2)]
    watcher = Watcher()
    rows = taught(modules, [0.8, 0.6], 8)
    with pytest.raises(ComposeError, match="takes up to") as caught:
        run.compose(make_spec("endless", modules, "medley", {"max_bytes": 300, "profile": profile}, examples=rows), watcher)
    assert caught.value.code == "setting-out-of-range" and not watcher.evaluations
    enough = int(re.search(r"up to ([\d,]+) bytes", caught.value.message)[1].replace(",", ""))
    spec = make_spec("endless", modules, "cma", {"budget": 2, "max_bytes": enough, "profile": profile}, examples=rows)
    assert run.compose(spec, Watcher()).report["export"]["bytes"] <= enough


EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def few_and_many(adapters):
    """An adapter on two layers that is large, and one on all kinds of layer that is small."""
    return [
        adapters("llama", 1, size=0.4, target_modules=["q_proj"]),
        adapters("llama", 2, size=0.05, target_modules=EVERY),
    ]


@pytest.mark.parametrize("method", ["medley", "medley+tune"])
def test_what_fits_is_published_where_the_mix_does_not(make_spec, adapters, taught, method):
    modules = few_and_many(adapters)
    settings = {"max_bytes": 5000, **({"steps": 5, "learning_rate": 0.05} if method == "medley+tune" else {})}
    spec = make_spec("endless", modules, method, settings, examples=taught(modules, [1.0, 1.0], 12))
    result = run.compose(spec, Watcher())
    assert (result.verdict, result.weights) == ("single", {"acme/m1": 1.0, "acme/m2": 0.0}) and result.report["export"]["bytes"] <= 5000
    (note,) = [note for note in result.report["notes"] if "could not be written" in note]
    assert re.match(r"The mix could not be written\. Rank 1 on \d+ layers takes up to [\d,]+ bytes\.", note) and "did not do better" not in result.summary
    assert "alone does best of what can be written" in result.summary and list(result.report["unwritten"]) == ["mix"]
    assert sorted(path.name for path in Path(spec.out_dir).iterdir()) == sorted(result.files)


def test_a_merge_that_does_not_fit_is_refused_at_once(make_spec, adapters, taught):
    modules = few_and_many(adapters)
    rows = taught(modules, [1.0, 1.0], 12)
    watcher = Watcher()
    with pytest.raises(ComposeError, match="takes up to") as caught:
        run.compose(make_spec("endless", modules, "ties", {"max_bytes": 5000}, examples=rows), watcher)
    assert caught.value.code == "setting-out-of-range" and not watcher.evaluations
    spec = make_spec("endless", modules, "ties", {"max_bytes": 5000, "weights": {"acme/m2": 0.0}}, examples=rows)
    assert run.compose(spec, Watcher()).report["export"]["bytes"] <= 5000  # of what is left out nothing needs to fit
    with pytest.raises(ComposeError, match="takes up to"):  # it might have found that one adapter alone is best
        run.compose(make_spec("endless", modules, "cma", {"max_bytes": 5000, "budget": 5}, examples=rows), watcher)
    assert watcher.evaluations


def test_numbers_too_large_for_the_format_give_way_too(make_spec, adapters, taught, monkeypatch):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    rows = taught(modules, [0.8, 0.6, 0.5], 15)
    export = publish._export

    def overflows(spec, base, task, choice, folder):
        if choice.candidate == "mix":
            raise ComposeError("export-overflow", "The result has numbers too large for float16.")
        return export(spec, base, task, choice, folder)

    monkeypatch.setattr(publish, "_export", overflows)
    result = run.compose(make_spec("endless", modules, "medley", {"budget": 14, "dtype": "float32"}, examples=rows), Watcher())
    assert result.verdict == "single" and any("The mix could not be written" in note for note in result.report["notes"])
    monkeypatch.setattr(publish, "_export", lambda *args: (_ for _ in ()).throw(ComposeError("export-overflow", "Too large.")))
    with pytest.raises(ComposeError, match="Too large"):
        run.compose(make_spec("endless", modules, "medley", {"budget": 14}, examples=rows), Watcher())


@pytest.mark.parametrize("method", ["medley", "select"])
def test_an_adapter_that_its_cut_leaves_without_use_is_not_published(make_spec, adapters, taught, method):
    module = adapters("llama", 46, size=0.18, r=8, lora_alpha=8)
    rows = taught([module], [0.9], 8, 3)
    cut = {"profile": "peft", "dtype": "float32", "mean_rank": 1}
    assert run.compose(make_spec("endless", [module], method, {"dtype": "float32"}, examples=rows), Watcher()).verdict != "nothing"
    spec = make_spec("endless", [module], method, cut, examples=rows)
    result = run.compose(spec, Watcher())
    assert result.verdict == "nothing" and "not clearly better than the base model" in result.summary and list(Path(spec.out_dir).iterdir()) == []
    assert "uniform" not in result.report["cuts"]  # which is the adapter itself


def test_a_search_whose_file_is_worse_than_the_base_publishes_nothing(make_spec, adapters, taught, monkeypatch):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    spec = make_spec("endless", modules, "cma", {"budget": 12, "max_rank": 1, "dtype": "float32"}, examples=taught(modules, [0.8, 0.6, 0.0], 12))
    assert run.compose(spec, Watcher()).verdict == "mix"
    measured = cutting.measure

    def ruined(*args):
        cut = measured(*args)
        return Cut(cut.whole, Rows(tuple(s + 40.0 for s in cut.file.sums), cut.file.exact), cut.rank)

    monkeypatch.setattr(cutting, "measure", ruined)
    result = run.compose(spec, Watcher())
    assert result.verdict == "nothing" and result.files == () and "not clearly better than the base model" in result.summary


@pytest.mark.parametrize("method", ["ties", "dare_linear"])
def test_a_merge_is_measured_at_the_rank_it_is_written_with(make_spec, adapters, taught, base_paths, method):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    spec = make_spec("endless", modules, method, {"max_rank": 2, "dtype": "float32"}, examples=taught(modules, [0.8, 0.6, 0.0], 12))
    result = run.compose(spec, Watcher())
    assert result.report["cuts"] == {} and result.report["export"]["energy_kept"] < 0.9
    assert result.scores["composed"].loss == pytest.approx(scored(base_paths, spec).loss, abs=1e-4)


@pytest.mark.parametrize("by_use", [False, True])
def test_whoever_takes_a_job_over_measures_no_file_again(make_spec, adapters, taught, by_use):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    rows = taught(modules, [0.8, 0.6, 0.5], 15)
    spec, again = (make_spec("endless", modules, "medley", {"budget": 14, "max_rank": 1, "by_use": by_use}, examples=rows) for _ in range(2))
    watcher = Watcher()
    first = run.compose(spec, watcher)
    assert [e.phase for e in watcher.evaluations].count("cut") == len(first.report["cuts"]) > 0
    assert len(watcher.evaluations) <= watcher.total
    late = Watcher()
    second = run.compose(replace(again, history=tuple(watcher.evaluations)), late)
    assert not late.evaluations and second.report["cuts"] == first.report["cuts"] and second.report["spent"] == first.report["spent"]
    assert (Path(again.out_dir) / "adapter_model.safetensors").read_bytes() == (Path(spec.out_dir) / "adapter_model.safetensors").read_bytes()


def test_no_candidate_is_written_twice(make_spec, adapters, taught, monkeypatch, base_paths):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    rows = taught(modules, [0.8, 0.6, 0.5], 15)
    export, measured, written = publish._export, cutting.measure, []

    def noted(spec, base, task, choice, folder):
        written.append(choice.candidate)
        return export(spec, base, task, choice, folder)

    def worse(task, found, candidate, exported, folder):
        cut = measured(task, found, candidate, exported, folder)
        more = {"mix": 0.5, "single": 1.0, "uniform": 1.0}[candidate]
        return Cut(cut.whole, Rows(tuple(s + more for s in cut.whole.sums), cut.whole.exact), cut.rank)

    monkeypatch.setattr(publish, "_export", noted)
    monkeypatch.setattr(cutting, "measure", worse)
    monkeypatch.setattr(cutting, "is_cut", lambda exported: True)
    spec = make_spec("endless", modules, "medley", {"budget": 14, "dtype": "float32"}, examples=rows)
    result = run.compose(spec, Watcher())
    assert written[0] == "mix" and len(written) == len(set(written)) > 1 and result.report["chosen"] == "mix"
    assert result.scores["composed"].loss == pytest.approx(result.report["candidates"]["mix"])
    assert result.scores["best_single"].loss == pytest.approx(result.report["candidates"]["single"])  # counted, as where they were compared
    assert scored(base_paths, spec).loss == pytest.approx(result.report["search"]["fitted_loss"], abs=1e-3)


def test_sample_answers_of_a_result_that_its_cut_changes_are_its_own(make_spec, adapters, taught):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    rows = taught(modules, [0.8, 0.6, 0.5], 15)
    for rank, held_out in ((16, True), (1, False)):
        spec = make_spec("endless", modules, "medley", {"budget": 14, "max_rank": rank, "dtype": "float32"}, examples=rows, samples=3)
        result = run.compose(spec, Watcher())
        assert (result.report["chosen"], result.report["samples"]["held_out"]) == ("mix", held_out)


def test_a_card_says_what_was_cut_by(make_spec, adapters, taught, monkeypatch):
    modules = [adapters("llama", seed) for seed in (1, 2)]
    rows = taught(modules, [0.8, 0.6], 8)
    cards = []
    for fails in (False, True):
        if fails:
            monkeypatch.setattr(use, "grams", lambda *args: (_ for _ in ()).throw(MemoryError()))
        spec = make_spec("endless", modules, "cma", {"budget": 12, "max_rank": 2, "by_use": True}, examples=rows)
        run.compose(spec, Watcher())
        cards.append((Path(spec.out_dir) / "README.md").read_text())
    assert "of what it does on the examples, squared." in cards[0] and "of its squared size." in cards[1]


def test_a_mix_that_is_the_best_adapter_is_written_once(make_spec, adapters, taught):
    modules = [adapters("llama", 1)]
    result = run.compose(
        make_spec("endless", modules, "medley", {"budget": 1, "max_rank": 2, "dtype": "float32"}, examples=taught(modules, [1.0], 12)), Watcher()
    )
    assert result.report["chosen"] == "single" and list(result.report["cuts"]) == ["single"]


@pytest.mark.parametrize(("rank", "rebuilt"), [(64, "parents"), (2, "parents and examples")])
def test_only_a_cut_by_use_takes_the_examples_to_be_made_again(make_spec, adapters, taught, rank, rebuilt):
    modules = [adapters("llama", seed) for seed in (1, 2)]
    spec = make_spec("endless", modules, "cma", {"budget": 12, "max_rank": rank, "by_use": True}, examples=taught(modules, [0.8, 0.6], 8))
    run.compose(spec, Watcher())
    recipe = json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    assert recipe["rebuilt_from"] == rebuilt
    if rebuilt == "parents":
        again = Path(spec.out_dir) / "again"
        again.mkdir()
        assert rebuild.rebuild(recipe, [module.path for module in modules], str(again)) == recipe["result"]["weights_sha256"]
