"""The starter catalogue is sound, diverse and honest: files, configs, cards and figures agree with each other."""

import hashlib
import json
import re
import zlib
from pathlib import Path

import pytest

from demo import base_model, starters
from hub import adapter_format, card
from hub.models.accounts import validate_username
from hub.models.adapters import validate_adapter_name

FOLDER = starters.FOLDER
RECORD = json.loads((FOLDER / "metrics.json").read_text())
STARTERS = starters.starters()
each = pytest.mark.parametrize("starter", STARTERS, ids=lambda starter: starter.id)


def card_of(starter: starters.Starter) -> card.Card:
    return card.parse((starter.path / "README.md").read_text())


def inspected(starter: starters.Starter) -> adapter_format.Facts:
    def opener(path: Path):
        return lambda: path.open("rb")

    facts = adapter_format.inspect([adapter_format.File(name, path.stat().st_size, opener(path)) for name, path in starter.files.items()])
    assert facts is not None
    return facts


def test_it_is_a_diverse_dozen():
    found = [inspected(starter) for starter in STARTERS]
    assert len(STARTERS) >= 11
    assert len({starter.owner for starter in STARTERS}) == 3
    assert {facts.rank for facts in found} == {4, 8, 16}
    assert {tuple(sorted(facts.target_modules)) for facts in found} == {("q_proj", "v_proj"), ("k_proj", "o_proj", "q_proj", "v_proj")}
    assert sum(facts.use_rslora for facts in found) >= 1
    assert len(starters.one_shape(STARTERS)) >= 5


def test_it_takes_at_most_12_megabytes_in_git():
    contents = [path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(len(zlib.compress(content)) for content in contents) <= 12_000_000
    assert sum(map(len, contents)) <= 12_000_000


def test_every_folder_has_a_record_and_every_record_a_folder():
    assert set(RECORD["adapters"]) == {starter.id for starter in STARTERS}


@each
def test_the_hub_would_take_it(starter):
    validate_username(starter.owner)
    validate_adapter_name(starter.id.partition("/")[2])
    assert set(starter.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    facts = inspected(starter)
    assert facts.composable, facts.refusal
    assert (facts.dtype, facts.base_model, facts.task_type) == ("bfloat16", base_model.BASE_MODEL, "CAUSAL_LM")


@each
def test_weights_and_config_are_those_of_the_record(starter):
    record, facts = RECORD["adapters"][starter.id], inspected(starter)
    assert hashlib.sha256(starter.files["adapter_model.safetensors"].read_bytes()).hexdigest() == record["sha256"]
    assert (facts.rank, facts.alpha, facts.use_rslora, sorted(facts.target_modules)) == (record["rank"], record["alpha"], record["rslora"], record["targets"])


@each
def test_the_card_names_licence_base_and_data(starter):
    parsed = card_of(starter)
    assert parsed.licence == "apache-2.0"
    assert parsed.base_model == base_model.BASE_MODEL
    assert (parsed.languages, parsed.datasets, parsed.data["library_name"]) == (["en"], ["google/bigbench"], "peft")
    assert "lora" in parsed.tags and len(parsed.tags) >= 3
    assert parsed.summary.endswith("A LoRA for SmolLM2-135M-Instruct.")
    assert f"`{RECORD['adapters'][starter.id]['bigbench_task']}`" in parsed.body
    assert {"Data", "Prompt", "Training", "Measured on held-out rows", "Limits"} == set(re.findall(r"^## (.+)$", parsed.body, re.MULTILINE))


@each
def test_the_figures_on_the_card_are_those_of_the_record(starter):
    record, body = RECORD["adapters"][starter.id], card_of(starter).body
    cells = dict(re.findall(r"^\| ([a-z][^|]*?) \| ([^|]*?) \|", body, re.MULTILINE))
    pairs = {name: (float(before), float(after)) for name, before, after in re.findall(r"^\| ([a-z][^|]*?) \| ([\d.]+) \| ([\d.]+) \|$", body, re.MULTILINE)}
    assert pairs == {
        "loss (nats a token)": (record["loss_before"], record["loss_after"]),
        "exact match": (record["accuracy_before"], record["accuracy_after"]),
    }
    assert (int(cells["rank"]), int(cells["steps"]), int(cells["rows a step"])) == (record["rank"], record["steps"], record["batch"])
    assert cells["alpha"].startswith(f"{record['alpha']}, ") and ("rsLoRA" in cells["alpha"]) == record["rslora"]
    assert cells["target modules"] == ", ".join(f"`{name}`" for name in record["targets"])
    assert f"{record['train_rows']:,} rows to train on" in body


def test_the_overview_lists_the_same_figures():
    rows = re.findall(
        r"^\| (\S+/\S+) \| (\S+) \| [^|]+ \| [^|]+ \| ([\d.]+) -> ([\d.]+) \| ([\d.]+) -> ([\d.]+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE
    )
    assert {name: (task, *map(float, figures)) for name, task, *figures in rows} == {
        name: (r["bigbench_task"], r["loss_before"], r["loss_after"], r["accuracy_before"], r["accuracy_after"]) for name, r in RECORD["adapters"].items()
    }
