"""The card and the recipe: complete, parsable, and safe against what users write."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from compose_worker.engine import card, run
from tests.engine.conftest import Watcher

NASTY = 'a/<script>alert(1)</script>|`x`\n---\nlicense: "mit"\n# big [link](http://evil)'


@pytest.fixture
def made(make_spec, three, taught):
    def make(change=lambda module: module, **changes):
        modules = three("llama")
        examples = taught(modules, [0.8, 0.4, 0.0])
        spec = make_spec("endless", [change(m) for m in modules], "cma", {"budget": 16}, examples=examples, **changes)
        run.compose(spec, Watcher())
        return spec, (Path(spec.out_dir) / "README.md").read_text(), json.loads((Path(spec.out_dir) / "recipe.json").read_text())

    return make


def front_matter(readme):
    _, head, body = readme.split("---\n", 2)
    return yaml.safe_load(head), body


def test_front_matter(made):
    _, readme, recipe = made()
    head, body = front_matter(readme)
    assert len(head["base_model"]) > 2
    assert head == {
        "license": "apache-2.0",
        "base_model": ["acme/tiny-endless", *(p["id"] for p in sorted(recipe["parents"], key=lambda p: -abs(p["weight"])) if p["weight"])],
        "base_model_relation": "merge",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "peft", "medley", "composition"],
    }
    assert "| acme/m1 |" in body and "95 % interval" in body and "PeftModel.from_pretrained" in body


def test_recipe(made, three):
    spec, _, recipe = made()
    assert [p["id"] for p in recipe["parents"]] == [m.id for m in spec.modules]
    for parent, module in zip(recipe["parents"], spec.modules, strict=True):
        assert parent["revision"] == module.revision
        assert parent["weights_sha256"] == hashlib.sha256((Path(module.path) / "adapter_model.safetensors").read_bytes()).hexdigest()
    weights = (Path(spec.out_dir) / "adapter_model.safetensors").read_bytes()
    assert recipe["result"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert recipe["settings"] == dict(spec.settings) and recipe["seed"] == 0 and recipe["method"] == "cma" and recipe["space"] == "exact"
    rows = json.dumps([{"input": e.input, "output": e.output} for e in spec.examples], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert recipe["examples"] == {"count": 12, "sha256": hashlib.sha256(rows.encode()).hexdigest()}


def test_the_examples_themselves_stay_private(made):
    spec, readme, recipe = made()
    for text in (readme, json.dumps(recipe)):
        assert spec.examples[0].input not in text


def test_words_of_users_cannot_break_out(made):
    _, readme, _ = made(lambda m: replace(m, id=NASTY + m.id, licence=NASTY), description=NASTY, base_model=NASTY, name=NASTY)
    head, body = front_matter(readme)
    assert head["base_model"][0] == NASTY and head["base_model"][1].startswith(NASTY) and head["license"] == NASTY
    outside = body.split("```python")[0] + body.split("```")[2]
    assert "<script>" not in outside and "[link](" not in outside
    assert not [line for line in outside.splitlines() if line.startswith("# big") or line == "---"]
    code = body.split("```python\n")[1].split("\n```")[0]
    compile(code, "card", "exec")
    assert [line for line in body.splitlines() if line.startswith("| a/") and line.replace("\\|", "").count("|") != 5] == []


@pytest.mark.parametrize(
    ("licences", "expected"),
    [(["mit", "mit"], ("mit", ["mit"])), (["mit", "apache-2.0"], ("other", ["apache-2.0", "mit"])), ([None, None], ("other", ["unknown"]))],
)
def test_licence_of_the_result(adapters, licences, expected):
    module = adapters("llama", 1)
    assert card.licence([replace(module, licence=licence) for licence in licences]) == expected


def test_different_licences_are_named(made):
    _, readme, recipe = made(lambda m: replace(m, licence={"acme/m1": None, "acme/m2": "mit"}.get(m.id, "gpl-3.0")))
    head, body = front_matter(readme)
    used = [p for p in recipe["parents"] if p["weight"]]
    assert len(used) > 1
    assert head["license"] == "other" and all((p["licence"] or "unknown") in head["license_name"] for p in used)
    assert "| unknown |" in body


def test_the_code_on_the_card_takes_any_prompt(made):
    _, readme, _ = made(prompt="{input} {json}: {}")
    line = next(line for line in readme.splitlines() if line.startswith("prompt = "))
    assert eval(line.removeprefix("prompt = ")) == "... {json}: {}"
