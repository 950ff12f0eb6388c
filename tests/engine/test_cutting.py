"""What a report says of a result is true of the file that is published, also where its rank was cut."""

import json
import re
from pathlib import Path

import pytest

from compose_worker.engine import cutting, run, scoring
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
    assert result.verdict == "single" and any("so it is not what is published" in note for note in result.report["notes"])
    assert result.report["attribution"] == {} and scored(base_paths, bound).loss == pytest.approx(result.report["singles"]["acme/m1"]["loss"], abs=1e-3)

    monkeypatch.setattr(cutting, "measure", lambda *args: ruined(args[0], args[1], "mix", *args[3:]) if args[2] == "mix" else every(*args))

    def every(task, found, candidate, exported, folder):
        cut = measured(task, found, candidate, exported, folder)
        return Cut(cut.whole, Rows(tuple(s + 40.0 for s in cut.whole.sums), cut.file.exact), cut.rank)

    monkeypatch.setattr(cutting, "is_cut", lambda exported: True)
    ruin = make_spec("endless", modules, "medley", {"budget": 14, "max_rank": 1}, examples=rows)
    result = run.compose(ruin, Watcher())
    assert result.verdict == "nothing" and result.files == () and list(Path(ruin.out_dir).iterdir()) == []
    assert result.summary.startswith("Cut to the rank or size allowed, nothing here does better")


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
