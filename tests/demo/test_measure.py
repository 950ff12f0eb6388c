"""The demo's figures: the best single adapter is chosen on the examples, and every candidate is scored on the held-out rows."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from compose_worker.engine import base_models, scoring
from compose_worker.engine.spec import PROMPT, Example, Module
from demo import measure
from tests.engine import conftest as tiny


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A tiny base model without an end token, three random adapters, and rows whose answers are those that the first one gives."""
    root = tmp_path_factory.mktemp("measure")
    tiny._model("llama").save_pretrained(root / "base")
    tiny.save_tokenizer(root / "base", eos=None)
    folders = {}
    for seed, name in enumerate(("a/first", "b/second", "c/third")):
        torch.manual_seed(seed)
        model = get_peft_model(tiny._model("llama"), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
        for key, value in model.state_dict().items():
            if "lora_B" in key:
                value.copy_(torch.randn_like(value))
        model.save_pretrained(root / name)
        folders[name] = str(root / name)
    tokenizer = AutoTokenizer.from_pretrained(root / "base")
    taught = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(root / "base"), folders["a/first"]).eval()
    rows = []
    for word in tiny.WORDS:
        logits = taught(**tokenizer(PROMPT.replace("{input}", word), return_tensors="pt")).logits[0, -1]
        rows.append({"input": word, "output": tokenizer.decode([int(logits.argmax())])})
    yield str(root / "base"), folders, rows
    base_models.forget()


def test_every_candidate_is_scored_on_the_held_out_rows(stage):
    base, folders, rows = stage
    question = {"base": base, "examples": rows[:10], "held_out": rows[10:], "singles": folders, "results": {"composed": folders["b/second"]}, "answers": 3}
    found = measure.measure(question)
    held_out = [Example(**row) for row in rows[10:]]
    assert found["best_single"] == "a/first"
    assert found["scores"]["best_single"]["accuracy"] > 0.9  # the engine may round to bf16
    assert found["scores"]["base"] == {**vars(scoring.score_adapter(base, None, held_out))}
    assert found["scores"]["composed"]["loss"] == scoring.score_adapter(base, folders["b/second"], held_out).loss
    mix = scoring.score_mix(base, [Module(name, "", folder) for name, folder in folders.items()], [1 / 3] * 3, held_out)
    assert found["scores"]["uniform"]["loss"] == mix.score.loss
    assert {score["n"] for score in found["scores"].values()} == {30}
    assert len(found["answers"]) == 3


def test_peft_alone_gives_the_answers(stage):
    base, folders, rows = stage
    answers = measure.greedy(base, folders["a/first"], [row["input"] for row in rows[:5]])
    assert [answer.split()[0] for answer in answers] == [row["output"] for row in rows[:5]]


def test_without_a_result_there_are_no_answers(stage):
    base, folders, rows = stage
    found = measure.measure({"base": base, "examples": rows[:5], "held_out": rows[5:9], "singles": folders, "results": {}, "answers": 3})
    assert found["answers"] == [] and "composed" not in found["scores"]


def test_the_driver_does_not_load_torch():
    code = "import sys; sys.argv = ['demo/run.py']; import demo.run; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
