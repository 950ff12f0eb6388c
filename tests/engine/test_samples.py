"""Sample answers of a finished composition: whose they are, and that they are what the models write."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compose_worker.engine import bank, base_models, examples, forgetting, run
from compose_worker.engine.hung import hung
from tests.engine.conftest import Watcher


def greedy(base, prompt, count):
    """What the model writes with what hangs on it, by the plain definition."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(base.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return base.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True).strip()


def test_it_works(make_spec, three, taught):
    modules = three("llama")
    spec = replace(make_spec("endless", modules, examples=taught(modules, [0.8, 0.6, 0.0])), samples=8)
    result = run.compose(spec, Watcher())
    said = result.report["samples"]
    assert said["held_out"] is True and said["best_single"] == result.scores["best_single"].module
    rows = [line["row"] for line in said["rows"]]
    assert len(rows) == 8 and rows == sorted(set(rows))
    assert all(any(row in fold for row in rows) for fold in result.report["folds"])
    base = base_models.load(spec.base_path, "cpu", "float32")
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    longest = 8 + max(len(e.answer) for e in encoded)
    best = next(index for index, module in enumerate(modules) if module.id == said["best_single"])
    for line in said["rows"]:
        prompt = encoded[line["row"]].prompt
        assert line["base"] == greedy(base, prompt, longest)
        with bank.load(base, [modules[best]]).mixed(torch.tensor([1.0])):
            assert line["best_single"] == greedy(base, prompt, longest)
    assert any(line["composed"] not in (line["base"], line["best_single"]) for line in said["rows"])
    # In one forward or in many, with and without padding, they are the same; and they are nobody's but the owner's.
    for path in Path(spec.out_dir).iterdir():
        path.unlink()
    again = run.compose(replace(spec, forward_tokens=1), Watcher())
    assert again.report["samples"] == said
    for name in ("README.md", "recipe.json"):
        assert "samples" not in (Path(spec.out_dir) / name).read_text()


def test_what_was_trained_answers_as_the_file_does(make_spec, three, taught):
    modules = three("llama")
    spec = replace(make_spec("endless", modules, "tune", {"steps": 20}, examples=taught(modules, [0.8, 0.6, 0.0])), samples=2)
    said = run.compose(spec, Watcher()).report["samples"]
    assert said["held_out"] is False and len(said["rows"]) == 2
    base = base_models.load(spec.base_path, "cpu", "float32")
    encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
    with hung(base, forgetting.read(spec.out_dir)):
        for line in said["rows"]:
            assert line["composed"] == greedy(base, encoded[line["row"]].prompt, 8 + max(len(e.answer) for e in encoded))


def test_an_encoder_decoder_and_its_end(make_spec, three):
    spec = replace(make_spec("t5", three("t5"), "linear", {"weights": {"acme/m1": 2.0}}), samples=3)
    said = run.compose(spec, Watcher()).report["samples"]
    assert [line["row"] for line in said["rows"]] == sorted(line["row"] for line in said["rows"]) and len(said["rows"]) == 3
    assert all("<" not in line[name] for line in said["rows"] for name in ("base", "best_single", "composed"))


def test_who_gives_up_is_heard_between_answers(make_spec, three, taught):
    class Stop(Exception):
        pass

    class GivesUp(Watcher):
        late = False

        def stage(self, name, sentence):
            self.late = self.late or sentence == "Writing sample answers."
            super().stage(name, sentence)

        def enough(self):
            if self.late:
                raise Stop
            return super().enough()

    modules = three("llama")
    spec = replace(make_spec("endless", modules, examples=taught(modules, [0.8, 0.6, 0.0])), samples=2)
    with pytest.raises(Stop):
        run.compose(spec, GivesUp())
    assert "samples" not in run.compose(replace(spec, samples=0), Watcher()).report


def test_answers_are_text_that_can_be_kept(make_spec, three, taught, monkeypatch):
    modules = three("llama")
    spec = replace(make_spec("endless", modules, "select", examples=taught(modules, [0.8, 0.6, 0.0])), samples=2)
    monkeypatch.setattr(type(base_models.load(spec.base_path, "cpu", "float32").tokenizer), "decode", lambda *args, **more: " \0no\0" + "x" * 3000)
    said = run.compose(spec, Watcher()).report["samples"]
    assert {line[who] for line in said["rows"] for who in ("base", "best_single", "composed")} == {"no" + "x" * 1998}
