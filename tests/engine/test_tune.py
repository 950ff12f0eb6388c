"""Training a small adapter: it learns what is there to learn, stops when folds say so, and is published as one adapter with the mix."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from compose_worker.engine import bank, examples, export, hung, run, scoring
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.evaluator import Measured
from compose_worker.engine.methods import tune
from compose_worker.engine.spec import PROMPT, TARGET, Example
from compose_worker.engine.training import Fit
from tests.engine.conftest import WORDS, Stopped, Watcher, make_examples
from tests.engine.test_bank import close, logits, mixed, through_peft
from tests.engine.test_evaluator import failing, forwards
from tests.engine.test_export import as_module

SMALL = {"steps": 10, "learning_rate": 0.03, "tuned_rank": 4}


@pytest.fixture
def four(adapters):
    return [adapters("llama", seed) for seed in (1, 2, 3, 4)]


@pytest.fixture
def fit(load, adapters):
    def make(weights=(1.0, 0.0), seed=0, rows=4, **settings):
        base = load("endless")
        held = bank.load(base, [adapters("llama", 1), adapters("llama", 2)])
        encoded = examples.encode(base, make_examples(rows), PROMPT, TARGET)
        layers = sorted(held.adapters[0].parts)
        return Fit(held, weights, encoded, layers, {**SMALL, **settings}, seed, 0, lambda: None), held, encoded

    return make


def loss(held, encoded, weights, factors):
    with held.mixed(torch.tensor(weights)), hung.hung(held.base, factors), torch.inference_mode():
        outcomes = [examples.run(held.base, batch) for batch in examples.batches(held.base, encoded)]
    return sum(sum(o.sums) for o in outcomes)


def test_it_starts_from_the_mix_and_lowers_its_loss(fit):
    made, held, encoded = fit()
    start = made.at(0)
    assert all(not bool(b.any()) and bool(a.any()) for b, a in start.values())
    before = loss(held, encoded, (1.0, 0.0), {})
    assert loss(held, encoded, (1.0, 0.0), start) == pytest.approx(before, abs=1e-5)
    assert loss(held, encoded, (1.0, 0.0), made.at(8)) < 0.8 * before
    assert made.rows == 4


def test_the_same_seed_gives_the_same_bits_however_often_it_is_asked(fit):
    one, two, other = fit()[0], fit()[0], fit(seed=1)[0]
    for step in (1, 3, 4, 6):
        one.at(step)
    left, right, third = one.at(6), two.at(6), other.at(6)
    assert all(torch.equal(left[n][0], right[n][0]) and torch.equal(left[n][1], right[n][1]) for n in left)
    assert any(not torch.equal(left[n][1], third[n][1]) for n in left)
    with pytest.raises(ValueError, match="go back"):
        one.at(2)


def test_one_step_is_adamw_on_the_gradient_of_the_mean_loss_a_token(fit):
    made, held, encoded = fit(rows=3)
    start = {name: (b.clone(), a.clone()) for name, (b, a) in made.at(0).items()}
    name = next(iter(start))
    size, tokens = 1e-3, sum(len(e.answer) for e in encoded)
    b, a = start[name]
    nudged = b.clone()
    nudged[3, 1] += size
    slope = (loss(held, encoded, (1.0, 0.0), {**start, name: (nudged, a)}) - loss(held, encoded, (1.0, 0.0), start)) / size / tokens
    made.at(1)
    assert float(made._factors[name][0].grad[3, 1]) == pytest.approx(slope, rel=0.05, abs=1e-3)
    assert float(made._factors[name][0].detach()[3, 1]) == pytest.approx(-SMALL["learning_rate"] * (1 if slope > 0 else -1), rel=0.01)  # AdamW's first step


def test_a_step_that_does_not_fit_in_memory_is_taken_in_parts(fit, monkeypatch):
    whole = fit(rows=8)[0].at(2)
    failing(monkeypatch, 60, torch.OutOfMemoryError("CUDA out of memory."))
    trained, held, _ = fit(rows=8)
    parts = trained.at(2)
    for name, factors in whole.items():
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(factors, parts[name], strict=True))
    assert trained.forward_tokens < fit(rows=8)[0].forward_tokens
    assert not any(layer._forward_hooks for layer in held.base.model.modules())
    failing(monkeypatch, 5, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(ComposeError, match=r"Shorten example \d"):
        fit(rows=8)[0].at(1)


def test_the_base_and_the_modules_stay_frozen(fit):
    made, held, _ = fit()
    before = {name: p.clone() for name, p in held.base.model.named_parameters()}
    made.at(3)
    assert all(torch.equal(before[name], p) and not p.requires_grad for name, p in held.base.model.named_parameters())
    assert not any(layer._forward_hooks for layer in held.base.model.modules())


def learnable(count, answers=("w1", "w2")):
    """Answers that a rank-1 change can learn: which of two words the question begins with."""
    return tuple(Example(f"{answers[n % 2]} {e.input}", answers[n % 2]) for n, e in enumerate(make_examples(count)))


def test_it_learns_what_examples_have_in_common(make_spec, four, base_paths):
    spec = make_spec("endless", four, "tune", {**SMALL, "dtype": "float32"}, examples=learnable(12))
    result = run.compose(spec, Watcher())
    assert result.verdict == "tuned" and not any(result.weights.values()) and "adapter_model.safetensors" in result.files
    bare = scoring.score_adapter(base_paths["endless"], None, learnable(40)[12:], "cpu", "float32")
    tuned = scoring.score_adapter(base_paths["endless"], spec.out_dir, learnable(40)[12:], "cpu", "float32")
    assert tuned.loss < bare.loss / 2 and tuned.accuracy > bare.accuracy
    readme, recipe = (Path(spec.out_dir) / "README.md").read_text(), json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    assert "trained adapter has" in result.summary and "## Parents" not in readme and "takes the examples too" in readme
    assert recipe["rebuilt_from"] == "parents and examples" and recipe["trained"]["stopped_at"] > 0
    assert result.report["scored_on"]["composed"].startswith("examples held out")


@pytest.mark.parametrize(("method", "extra"), [("tune", {}), ("medley+tune", {"budget": 22})])
def test_nothing_is_kept_where_the_folds_do_not_pay(make_spec, four, taught, method, extra):
    rows = taught(four, [0.0, 0.0, 0.0, 0.0], 6)  # the base has no fault to mend
    spec = make_spec("endless", four, method, {**SMALL, "learning_rate": 0.1, **extra}, examples=tuple(Example(r.input, WORDS[n]) for n, r in enumerate(rows)))
    result = run.compose(spec, Watcher())
    tuning = result.report["search"]["tuning"]
    assert tuning["held_out_losses"][0] == min(tuning["held_out_losses"]) and tuning["stopped_at"] == 0
    assert result.report["needs_examples"] is False
    if method == "tune":
        assert result.verdict == "nothing" and result.files == ()


def test_the_residual_and_the_mix_are_one_adapter(make_spec, four, taught, load):
    planted = taught(four, [0.8, 0.0, 0.5, 0.0], 24)
    both = tuple(Example(f"w1 {e.input}", e.output) for e in planted) + learnable(24, ("w3", "w4"))
    spec = make_spec("endless", four, "medley+tune", {"budget": 40, **SMALL, "max_rank": 64, "dtype": "float32"}, examples=both)
    watcher = Watcher()
    result = run.compose(spec, watcher)
    assert result.verdict == "mix" and result.report["search"]["tuning"]["stopped_at"] > 0
    assert result.scores["composed"].loss < min(result.scores[name].loss for name in ("base", "best_single", "uniform"))
    told = result.report["attribution"]
    assert set(told) == {name for name, weight in result.weights.items() if weight} and result.report["attribution_beside_training"]
    assert len(watcher.evaluations) <= watcher.total
    base = load("endless")
    ours = as_module(spec.out_dir)
    (fitted,) = [e for e in watcher.evaluations if e.phase == "tune" and e.rows is None]
    encoded = examples.encode(base, both, PROMPT, TARGET)
    held = bank.load(base, [ours])
    assert loss(held, encoded, (1.0,), {}) == pytest.approx(sum(fitted.detail["sums"]), rel=1e-4)
    recipe = json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    less = bank.load(base, [ours, four[0]])
    without = np.array([[1.0, -recipe["layer_weights"][name][0]] for name in less.stacks])  # the published adapter with the first parent taken off it
    tokens = sum(len(e.answer) for e in encoded)
    assert loss(less, encoded, without, {}) / tokens == pytest.approx(told["acme/m1"]["without_loss"], rel=1e-3)
    assert close(logits(through_peft(base, ours)), mixed(base, [ours], [1.0]))
    assert not close(mixed(base, four, list(result.weights.values())), mixed(base, [ours], [1.0]), 1e-3)
    assert load_file(f"{spec.out_dir}/adapter_model.safetensors")


def test_folds_train_without_their_rows_and_the_cost_is_counted(make_spec, four):
    watcher = Watcher()
    result = run.compose(make_spec("endless", four, "tune", SMALL, examples=learnable(12)), watcher)
    checks = [e for e in watcher.evaluations if e.phase == "tune" and e.rows is not None]
    assert len(checks) == 3 * 6 and sorted({r for e in checks for r in e.rows}) == list(range(12))
    stopped = result.report["search"]["tuning"]["stopped_at"]
    fixed = 1 + 4 + 1  # base, singles, uniform
    training = 3 * 10 * 2 * (8 / 12) + stopped * 2
    assert result.report["spent"] == pytest.approx(fixed + training + 6 + 1, abs=0.01)


def test_a_finished_fit_is_not_trained_again(make_spec, four, monkeypatch):
    spec, watcher = make_spec("endless", four, "tune", SMALL, examples=learnable(9)), Watcher()
    whole = run.compose(spec, watcher)
    steps = []
    train = Fit._train
    monkeypatch.setattr(Fit, "_train", lambda self: (steps.append(self.rows), train(self)))
    again = replace(make_spec("endless", four, "tune", SMALL, examples=learnable(9)), history=tuple(watcher.evaluations))
    assert run.compose(again, Watcher()).scores == whole.scores
    assert steps == [9] * whole.report["search"]["tuning"]["stopped_at"]  # the last fit alone, for its factors


@pytest.mark.parametrize(
    ("losses", "single", "pays"),
    [
        ([[5.0, 0.0, 9.0], [5.0, 9.0, 0.0], [5.0, 1.0, 6.0]], 20.0, False),  # each fold wants another length: none holds for rows that had no say
        ([[5.0, 1.0, 2.0], [5.0, 2.0, 1.0], [5.0, 1.0, 1.0]], 20.0, True),
        ([[5.0, 1.0, 2.0], [5.0, 2.0, 1.0], [5.0, 1.0, 1.0]], 4.5, False),  # the best module alone does as well
        ([[5.0, 4.8, 9.0], [5.0, 4.8, 9.0], [5.0, 4.8, 9.0]], 20.0, False),
    ],
)
def test_a_length_must_hold_for_rows_that_had_no_say_in_it(losses, single, pays):
    ladders = [[Measured((), (row,), loss, (loss,), (False,)) for loss in rungs] for row, rungs in enumerate(losses)]
    task = SimpleNamespace(evaluator=SimpleNamespace(tokens=(1, 1, 1)), folds=((0,), (1,), (2,)))
    alone = Measured((), (0, 1, 2), single, (single, 0.0, 0.0), (False,) * 3)
    assert tune._pays(ladders, tune._held_out(task, ladders), alone) is pays


def test_it_is_measured_a_few_times():
    assert tune._steps({"steps": 20}) == [4, 8, 12, 16, 20]
    assert tune._steps({"steps": 1}) == [1] and tune._steps({"steps": 3}) == [1, 2, 3]


def test_added_changes_add_up():
    chance = torch.Generator().manual_seed(0)

    def change(rank):
        return export.Change(torch.randn(5, rank, generator=chance), torch.randn(rank, 7, generator=chance), 0.5)

    left, right = {"a": change(2), "b": change(1)}, {"b": change(3), "c": change(2)}
    both = export.added(left, right)
    assert set(both) == {"a", "b", "c"} and both["b"].lost == 1.0
    assert torch.allclose(both["b"].b @ both["b"].a, left["b"].b @ left["b"].a + right["b"].b @ right["b"].a, atol=1e-5)


class Killed(Watcher):
    """An observer whose worker dies at the n-th training step or measurement of a search."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def enough(self):
        self.left -= 1
        if self.left < 0:
            raise Stopped
        return False


@pytest.mark.parametrize("after", [3, 17, 31, 52])
def test_a_worker_that_dies_in_the_middle_of_a_fit_costs_nothing_but_time(make_spec, four, after):
    spec, watcher = make_spec("endless", four, "tune", SMALL, examples=learnable(9)), Watcher()
    run.compose(spec, watcher)
    killed, resumed = Killed(after), Watcher()
    with pytest.raises(Stopped):
        run.compose(make_spec("endless", four, "tune", SMALL, examples=learnable(9)), killed)
    again = make_spec("endless", four, "tune", SMALL, examples=learnable(9), history=tuple(killed.evaluations))
    run.compose(again, resumed)
    assert killed.evaluations + resumed.evaluations == watcher.evaluations and killed.evaluations
    ours, theirs = (Path(s.out_dir, "adapter_model.safetensors").read_bytes() for s in (spec, again))
    assert ours == theirs


def test_a_finished_training_that_is_taken_over_is_not_ended(make_spec, four):
    spec, watcher = make_spec("endless", four, "tune", SMALL, examples=learnable(12)), Watcher()
    whole = run.compose(spec, watcher)
    again = make_spec("endless", four, "tune", SMALL, examples=learnable(12), history=tuple(watcher.evaluations))
    ended = run.compose(again, Watcher(enough_after=0))  # its owner asked for the best so far while the file was written
    assert whole.verdict == ended.verdict == "tuned" and "ended_early" not in ended.report["search"]
    ours, theirs = (Path(s.out_dir, "adapter_model.safetensors").read_bytes() for s in (spec, again))
    assert ours == theirs


def test_training_keeps_to_the_tokens_of_a_forward(fit, monkeypatch):
    made, held, encoded = fit(rows=8)
    longest = max(len(e.prompt) + len(e.answer) for e in encoded)
    bounded = Fit(held, (1.0, 0.0), encoded, sorted(held.adapters[0].parts), SMALL, 0, 4 * longest, lambda: None)
    whole, seen = made.at(2), forwards(monkeypatch)
    parts = bounded.at(2)
    assert longest < max(seen) <= 2 * longest  # a backward follows
    for name, factors in whole.items():
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(factors, parts[name], strict=True))


def test_that_nothing_tells_how_long_to_train_is_said(make_spec, adapters):
    rows = tuple(Example("w1 w2", answer) for answer in ("w3", "w4", "w3", "w3", "w3"))
    result = run.compose(make_spec("llama", [adapters("llama", 1), adapters("llama", 2)], "tune", {"steps": 2}, examples=rows), Watcher())
    assert result.verdict == "nothing" and result.summary.startswith("Nothing was trained: all examples ask the same question")


def test_a_training_that_does_not_pay_says_so_and_not_that_nothing_helps(make_spec, adapters, taught):
    chosen = [adapters("llama", seed) for seed in (1, 2)]
    settings = {"steps": 2, "learning_rate": 1e-6, "tuned_rank": 2}
    result = run.compose(make_spec("endless", chosen, "tune", settings, examples=taught(chosen, [1.0, 0.0], 6)), Watcher())
    assert result.verdict == "nothing" and not result.files
    assert "The training came to nothing better than the base model itself" in result.summary and "Nothing here helps" not in result.summary
    assert result.report["scored_on"]["composed"] == "examples held out in turn"
    assert not any("searches on all examples" in note for note in result.report["notes"])
