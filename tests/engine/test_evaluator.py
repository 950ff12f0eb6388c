"""Measuring many candidates at once: equal to one by one, bounded in memory, and resumed bit for bit."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compose_worker.engine import bank, examples, run
from compose_worker.engine import evaluator as measuring
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.evaluator import Evaluator
from compose_worker.engine.modules import factors as factors_of
from compose_worker.engine.spec import Example
from tests.engine.conftest import Stopped, Watcher, make_examples
from tests.engine.test_resume import through_json

CANDIDATES = [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.3, 0.4, -0.5), (0.0, 0.0, 1.0), (1 / 3, 1 / 3, 1 / 3)]


@pytest.fixture
def evaluator(load, make_spec, three):
    def make(kind, watcher=None, count=9, modules=None, **changes):
        spec = make_spec(kind, modules or three(kind), examples=make_examples(count), **changes)
        base = load(kind)
        encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
        return Evaluator(spec, bank.load(base, spec.modules), encoded, watcher or Watcher())

    return make


def forwards(monkeypatch):
    """Count forwards and the padded tokens of each."""
    seen = []
    whole = examples.run

    def counted(base, batch):
        seen.append(max(tensor.numel() for tensor in batch.inputs.values()))
        return whole(base, batch)

    monkeypatch.setattr(examples, "run", counted)
    return seen


def same(left, right):
    assert (left.weights, left.rows, left.exact) == (right.weights, right.rows, right.exact)
    assert left.loss == pytest.approx(right.loss, rel=1e-5)
    assert left.sums == pytest.approx(right.sums, rel=1e-5)


def test_a_population_is_what_its_members_are_alone(evaluator, kind, monkeypatch):
    one, many = evaluator(kind), evaluator(kind)
    alone = [one.measure("search", w) for w in CANDIDATES]
    seen = forwards(monkeypatch)
    together = many.measure_many("search", CANDIDATES)
    assert len(seen) < len(CANDIDATES)
    for left, right in zip(together, alone, strict=True):
        same(left, right)
    assert many.spent == one.spent == len(CANDIDATES)


def test_each_member_has_rows_of_its_own(evaluator, kind):
    rows = [(0, 1, 2), None, (8, 4), (3,), (5, 6, 7, 8), None]
    one, many = evaluator(kind), evaluator(kind)
    for left, w, r in zip(many.measure_many("fold", CANDIDATES, rows), CANDIDATES, rows, strict=True):
        same(left, one.measure("fold", w, r))


def test_gradients_in_a_population(evaluator, kind):
    one, many = evaluator(kind), evaluator(kind)
    together = many.measure_many("search", CANDIDATES, gradient=True)
    for measured, weights in zip(together, CANDIDATES, strict=True):
        alone = one.measure("search", weights, gradient=True)
        same(measured, alone)
        assert measured.gradient == pytest.approx(alone.gradient, rel=1e-3, abs=1e-5)


def test_a_gradient_is_what_autograd_finds_through_merged_weights(evaluator, kind):
    found = evaluator(kind, count=4)
    model = found.bank.base.model
    weights = torch.tensor([0.3, 0.4, -0.5], requires_grad=True)
    merged = dict(model.named_parameters())
    for index, adapter in enumerate(found.bank.adapters):
        for name, a, b in factors_of(adapter):
            change = adapter.parts[name].scale * b @ a
            key = f"{name}.weight"
            merged[key] = merged[key] + weights[index] * (change.t() if kind == "gpt2" else change)
    loss = torch.tensor(0.0)
    for e in found.encoded:
        if kind == "t5":
            inputs = {"input_ids": torch.tensor([e.prompt]), "labels": torch.tensor([e.answer])}
        else:
            inputs = {"input_ids": torch.tensor([[*e.prompt, *e.answer]]), "labels": torch.tensor([[-100] * len(e.prompt) + list(e.answer)])}
        loss = loss + torch.func.functional_call(model, merged, kwargs=inputs).loss * len(e.answer)
    (expected,) = torch.autograd.grad(loss / sum(found.tokens), weights)
    measured = found.measure("search", weights.tolist(), gradient=True)
    assert measured.gradient == pytest.approx(expected.tolist(), rel=1e-3)
    assert measured.loss == pytest.approx(float(loss) / sum(found.tokens), rel=1e-5)


def test_a_module_on_the_vocabulary_projection_takes_part(evaluator, adapters):
    modules = [adapters("llama", 5, target_modules=["lm_head", "q_proj"]), adapters("llama", 1), adapters("llama", 2)]
    one, many = evaluator("llama", modules=modules), evaluator("llama", modules=modules)
    for left, weights in zip(many.measure_many("search", CANDIDATES), CANDIDATES, strict=True):
        same(left, one.measure("search", weights))


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.lists(st.floats(-1.5, 1.5).map(lambda w: w * (abs(w) > 0.3)), min_size=3, max_size=3), min_size=1, max_size=7),
    tokens=st.sampled_from([1, 30, 100, 2048]),
    seed=st.integers(0, 5),
)
def test_no_division_into_forwards_changes_a_loss(shared, weights, tokens, seed):
    one, make = shared
    count = random.Random(seed).randint(1, 9)
    rows = [tuple(range(count))] * len(weights)
    for left, w in zip(make(tokens).measure_many("fold", weights, rows), weights, strict=True):
        same(left, one.measure("fold", w, rows[0]))


@pytest.fixture(scope="module")
def shared(request, base_paths, adapters, tmp_path_factory):
    """An evaluator that does one line at a time, and a maker of others on the same bank."""
    from compose_worker.engine import base_models
    from compose_worker.engine.spec import Spec

    modules = tuple(adapters("llama", seed) for seed in (1, 2, 3))
    base = base_models.load(base_paths["llama"], "cpu", "float32")
    spec = Spec("acme/tiny", base_paths["llama"], modules, make_examples(9), "cma", {}, 0, "acme/mix", str(tmp_path_factory.mktemp("out")))
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    loaded = bank.load(base, modules)

    def make(tokens):
        return Evaluator(replace(spec, forward_tokens=tokens), loaded, encoded, Watcher())

    return make(1), make


@pytest.mark.parametrize("tokens", [1, 64, 200])
def test_a_forward_is_no_larger_than_the_setting(evaluator, kind, monkeypatch, tokens):
    found = evaluator(kind, forward_tokens=tokens)
    longest = max(len(e.prompt) + len(e.answer) for e in found.encoded)
    seen = forwards(monkeypatch)
    found.measure_many("search", CANDIDATES)
    assert max(seen) <= max(tokens, longest)
    if tokens > longest:
        assert max(seen) > longest  # it is used


def test_the_history_gets_them_one_by_one(evaluator):
    watcher = Watcher()
    evaluator("llama", watcher).measure_many("search", CANDIDATES)
    assert [e.weights for e in watcher.evaluations] == CANDIDATES
    assert [e.step for e in watcher.evaluations] == list(range(len(CANDIDATES)))
    assert watcher.best[0][1] > watcher.best[-1][1]


@pytest.mark.parametrize("done", range(len(CANDIDATES) + 1))
def test_going_on_inside_a_population_is_bit_for_bit_the_same(evaluator, monkeypatch, done):
    monkeypatch.setattr(measuring, "CHUNK", 200)  # several chunks
    watcher = Watcher()
    whole = evaluator("llama", watcher, forward_tokens=100).measure_many("search", CANDIDATES)
    history = through_json(watcher.evaluations)
    again = Watcher()
    resumed = evaluator("llama", again, forward_tokens=100, history=history[:done]).measure_many("search", CANDIDATES)
    assert resumed == whole
    assert through_json(again.evaluations) == history[done:]


def test_whoever_takes_over_from_a_worker_with_smaller_forwards_keeps_to_them(evaluator, monkeypatch):
    monkeypatch.setattr(measuring, "CHUNK", 200)
    first, second, third = Watcher(), Watcher(), Watcher()
    whole = evaluator("gpt2", first, forward_tokens=40).measure_many("search", CANDIDATES)
    history = through_json(first.evaluations)
    assert {e.detail["forward_tokens"] for e in history} == {40}
    assert evaluator("gpt2", second, history=history[:2]).measure_many("search", CANDIDATES) == whole
    taken = (*history[:2], *through_json(second.evaluations))
    assert evaluator("gpt2", third, history=taken[:-1]).measure_many("search", CANDIDATES) == whole
    evaluator("gpt2", usual := Watcher()).measure("search", CANDIDATES[0])
    assert "forward_tokens" not in usual.evaluations[0].detail


def test_it_stops_between_chunks(evaluator, monkeypatch):
    seen = forwards(monkeypatch)
    monkeypatch.setattr(measuring, "CHUNK", 120)
    found = evaluator("llama", Watcher(stop_after=0), forward_tokens=60)
    with pytest.raises(Stopped):
        found.measure_many("search", [(w / 100, 0.0, 0.0) for w in range(1, 100)])
    assert sum(seen) < 1000  # the rest was never measured


def failing(monkeypatch, limit, error):
    """Let every forward of more than so many padded tokens run out of memory."""
    whole = examples.run

    def run_out(base, batch):
        if max(tensor.numel() for tensor in batch.inputs.values()) > limit:
            raise error
        return whole(base, batch)

    monkeypatch.setattr(examples, "run", run_out)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")]
)
@pytest.mark.parametrize("gradient", [False, True])
def test_out_of_memory_halves_the_population_and_goes_on(evaluator, monkeypatch, error, gradient):
    expected = evaluator("llama").measure_many("search", CANDIDATES, gradient=gradient)
    failing(monkeypatch, 70, error)
    found = evaluator("llama")
    for left, right in zip(found.measure_many("search", CANDIDATES, gradient=gradient), expected, strict=True):
        same(left, right)
    assert found.forward_tokens in ((128,) if gradient else (64,))
    assert not any(layer._forward_hooks for layer in found.bank.base.model.modules())


def test_too_little_memory_for_one_example(evaluator, monkeypatch):
    failing(monkeypatch, 5, torch.OutOfMemoryError("CUDA out of memory."))
    found = evaluator("llama")
    with pytest.raises(ComposeError, match=r"example \d") as caught:
        found.measure_many("search", CANDIDATES)
    assert caught.value.code == "out-of-memory"


def test_another_error_is_not_taken_for_it(evaluator, monkeypatch):
    failing(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        evaluator("llama").measure("search", CANDIDATES[0])


def test_a_composition_survives_it_and_says_so(make_spec, three, taught, monkeypatch):
    modules = three("llama")
    rows = taught(modules, [0.8, 0.6, 0.0])
    plain = run.compose(make_spec("endless", modules, "cma", {"budget": 12}, examples=rows), Watcher())
    failing(monkeypatch, 100, torch.OutOfMemoryError("CUDA out of memory."))
    result = run.compose(make_spec("endless", modules, "cma", {"budget": 12}, examples=rows), Watcher())
    assert result.report["forward_tokens"] < plain.report["forward_tokens"]
    assert list(result.weights.values()) == pytest.approx(list(plain.weights.values()), abs=1e-3)


def test_lorahub_measures_one_at_a_time(load, make_spec, adapters):
    modules = [adapters("llama", seed) for seed in (1, 2, 3)]
    spec = make_spec("llama", modules)
    base = load("llama")
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    loaded = bank.load(base, modules)
    found = Evaluator(spec, loaded, encoded, Watcher(), "lorahub").measure_many("search", CANDIDATES)
    alone = Evaluator(spec, loaded, encoded, Watcher(), "lorahub")
    assert [m.sums for m in found] == [alone.measure("search", w).sums for w in CANDIDATES]
    exact = Evaluator(spec, loaded, encoded, Watcher()).measure("search", CANDIDATES[3])
    assert found[3].loss != pytest.approx(exact.loss, rel=1e-3)


@pytest.mark.parametrize("method", ["medley", "cma", "tune", "medley+tune"])
def test_a_job_that_ran_out_of_memory_is_taken_over_to_the_bit(load, make_spec, three, monkeypatch, method):
    modules = three("gpt2")
    settings = {"steps": 4, "tuned_rank": 2, "learning_rate": 0.02} if "tune" in method else {}
    rows = tuple(Example(example.input, "w3 w9") for example in make_examples(9))
    failing(monkeypatch, 70, torch.OutOfMemoryError("CUDA out of memory."))

    def composed(history=()):
        spec = make_spec("gpt2", modules, method, {**settings, **({"budget": 14} if method != "tune" else {})}, examples=rows, history=history)
        watcher = Watcher()
        result = run.compose(spec, watcher)
        files = {path.name: path.read_bytes() for path in Path(spec.out_dir).glob("adapter_*")}
        return result.scores, files, watcher.evaluations

    scores, files, history = composed()
    assert history[-1].detail["forward_tokens"] < examples.room(load("gpt2"), 0)
    for kept in range(0, len(history), 5):
        again = composed(through_json(history[:kept]))
        assert (again[0], again[1]) == (scores, files), kept
        assert [e.detail["sums"] for e in again[2]] == [e.detail["sums"] for e in history[kept:]]


@pytest.mark.parametrize("spoilt", [{}, {"sums": [1.0]}, {"gradient": "AAAA"}])
def test_lines_that_do_not_hold_what_was_measured_are_passed_over(make_spec, three, taught, spoilt):
    modules = three("llama")
    rows = taught(modules, [0.8, 0.4, 0.0])
    watcher = Watcher()
    whole = run.compose(make_spec("endless", modules, "medley", {"budget": 22}, examples=rows), watcher)
    broken = tuple(replace(e, detail={**e.detail, **spoilt} if spoilt else {}) for e in through_json(watcher.evaluations))
    again = run.compose(make_spec("endless", modules, "medley", {"budget": 22}, examples=rows, history=broken), Watcher())
    assert (again.weights, again.scores) == (whole.weights, whole.scores)


@pytest.mark.parametrize("method", ["tune", "medley+tune"])
def test_training_that_ran_out_of_memory_goes_on_in_the_same_parts_elsewhere(make_spec, three, monkeypatch, method):
    modules = three("gpt2")
    rows = tuple(Example(example.input, "w3 w9") for example in make_examples(9))
    settings = {"steps": 5, "tuned_rank": 2, "learning_rate": 0.02, **({} if method == "tune" else {"budget": 14})}

    def composed(history=()):
        spec = make_spec("gpt2", modules, method, settings, examples=rows, history=history)
        watcher = Watcher()
        run.compose(spec, watcher)
        return (Path(spec.out_dir) / "adapter_model.safetensors").read_bytes(), watcher.evaluations

    whole = examples.run

    def run_out(base, batch):
        if torch.is_grad_enabled() and batch.inputs["input_ids"].numel() > 60:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(base, batch)

    with monkeypatch.context() as small:
        small.setattr(examples, "run", run_out)
        file, history = composed()
    fell = next(place for place, e in enumerate(history) if "forward_tokens" in e.detail)
    for kept in range(fell + 1, len(history), 4):
        assert composed(through_json(history[:kept]))[0] == file, kept
