"""The speed benchmark: its models and modules are what the engine takes, and its page says what was measured."""

import json

import pytest

from benchmarks import shapes, speed, speed_parts
from compose_worker.engine import bank, base_models


@pytest.mark.parametrize(("kind", "ends"), [("llama", ("q_proj", "v_proj")), ("t5", ("q", "v"))])
def test_models_and_modules_load(tmp_path, monkeypatch, kind, ends):
    monkeypatch.setattr(shapes, "SMALL_LLAMA", {**shapes.SMALL_LLAMA, "vocab_size": 60, "num_hidden_layers": 2, "hidden_size": 36, "intermediate_size": 20})
    monkeypatch.setattr(shapes, "SMALL_T5", {**shapes.SMALL_T5, "vocab_size": 60, "num_layers": 2, "num_decoder_layers": 1, "d_model": 16, "d_ff": 20})
    path = getattr(shapes, kind)(tmp_path / "base")
    folders = shapes.modules(tmp_path / "modules", path, 2, 3, ends)
    base = base_models.load(str(path), "cpu", "float32")
    one = speed_parts.evaluator(base, speed_parts.spec_of(path, folders, speed_parts.rows(3, 4, 2), "cma"))
    assert len(one.bank.stacks) == {"llama": 4, "t5": 2 * 2 + 2 * 2 * 1}[kind]
    assert [len(e.prompt) for e in one.encoded] == [6, 8, 10]
    losses = {round(m.loss, 6) for m in one.measure_many("search", [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])}
    assert len(losses) == 3
    assert isinstance(one.bank, bank.Bank)
    name = json.loads((path / "tokenizer_config.json").read_text())["tokenizer_class"]
    assert name == "PreTrainedTokenizerFast"  # older releases, which the reference needs, know no other


def test_export_is_compared_with_a_dense_one(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_parts, "timed", lambda work, repeats=1: (work(), 2.0)[1])
    (found,) = speed_parts.part_e(tmp_path)
    assert found["found"].startswith("1 times") and float(found["found"].split("by ")[1].rstrip(")")) < 1e-10


def test_the_peak_is_what_was_taken_meanwhile():
    with speed_parts.watched() as memory:
        block = bytearray(60_000_000)
        block[::4096] = b"x" * len(block[::4096])
        while memory["peak"] < 50_000_000:
            pass
        del block
    assert 50_000_000 < memory["peak"] < 200_000_000


def test_the_page():
    page = speed.table([{"part": "e", **speed_parts.line("dense / ours", "27 times", "above 20 times")}], 1)
    assert page.startswith("# Speed\n") and page.endswith("| e | dense / ours | 27 times | above 20 times |\n") and "1 thread," in page


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--only", "a,z"])
    assert "no part 'z'" in capsys.readouterr().err
