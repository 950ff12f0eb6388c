"""A recipe is enough to build the weights again, byte for byte; where it is not, or something differs, that is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from peft import PeftConfig
from safetensors.torch import load_file, save_file

from compose_worker.engine import catalogue, merge, rebuild, run
from compose_worker.engine.errors import ComposeError
from tests.engine.conftest import Watcher, edit_config

WEIGHTS = "adapter_model.safetensors"
SETTINGS = {"cma": {"budget": 10, "mean_rank": 3, "profile": "peft"}, "lorahub": {"budget": 8}, "select": {}, "medley": {"budget": 22, "max_rank": 5}}


@pytest.fixture
def made(make_spec, three, taught, adapters):
    def make(method, **settings):
        chosen = [adapters("llama", seed) for seed in (1, 2, 3)] if method == "lorahub" else list(three("llama"))
        rows = () if method in merge.RULES else taught(chosen, [0.8, 0.4, 0.0])
        spec = make_spec("endless", chosen, method, {**SETTINGS.get(method, {}), **settings}, examples=rows, seed=5)
        assert run.compose(spec, Watcher()).files
        return spec, json.loads((Path(spec.out_dir) / "recipe.json").read_text())

    return make


@pytest.mark.parametrize("method", [m.name for m in catalogue.METHODS if "tune" not in m.name])
def test_the_recipe_rebuilds_the_file(made, tmp_path, method):
    spec, recipe = made(method)
    used = {row["id"] for row in rebuild.parents(recipe)}
    folders = [m.path for m in spec.modules if m.id in used]
    assert rebuild.rebuild(recipe, folders, str(tmp_path)) == recipe["result"]["weights_sha256"]
    assert (tmp_path / WEIGHTS).read_bytes() == (Path(spec.out_dir) / WEIGHTS).read_bytes()
    verdict = rebuild.compare(recipe, str(tmp_path), spec.out_dir)
    assert verdict.agrees and "byte for byte" in verdict.sentence


@pytest.mark.parametrize("method", ["medley", "cma", "linear"])
def test_parents_without_a_weight_change_nothing(make_spec, adapters, taught, tmp_path, method):
    three = [adapters("llama", seed) for seed in (1, 2, 3)]
    untrained = replace(adapters("llama", 4, size=0.0), id="acme/untrained")
    settings = {"weights": {"acme/untrained": 0.0}} if method == "linear" else {"budget": 30}
    spec = make_spec("endless", [three[0], untrained, *three[1:]], method, settings, examples=taught(three, [0.8, 0.4, -0.3], 24))
    result = run.compose(spec, Watcher())
    recipe = json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    if method == "medley":
        assert result.verdict == "mix" and result.weights["acme/untrained"] == 0.0 and recipe["layer_weights"]
    used = {row["id"] for row in rebuild.parents(recipe)}
    folders = [m.path for m in spec.modules if m.id in used]
    assert rebuild.rebuild(recipe, folders, str(tmp_path)) == recipe["result"]["weights_sha256"]


def test_another_weight_is_another_file(made, tmp_path):
    spec, recipe = made("linear")
    recipe["parents"][0]["weight"] += 0.25
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    verdict = rebuild.compare(recipe, str(tmp_path), spec.out_dir)
    assert not verdict.agrees and "another mix" in verdict.sentence


def test_another_rounding_is_told_from_another_mix(made, tmp_path):
    spec, recipe = made("linear", dtype="float32")
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    tensors = load_file(tmp_path / WEIGHTS)
    name = sorted(tensors)[0]
    tensors[name][0, 0] *= 1 + 1e-6
    save_file(tensors, tmp_path / WEIGHTS)
    said = rebuild.compare(recipe, str(tmp_path), spec.out_dir).sentence
    assert f"1 of {len(tensors)} tensors" in said and "rounds like this" in said


def test_published_weights_that_were_replaced(made, tmp_path):
    spec, recipe = made("linear")
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    (Path(spec.out_dir) / WEIGHTS).write_bytes(b"other")
    verdict = rebuild.compare(recipe, str(tmp_path), spec.out_dir)
    assert not verdict.agrees and "were replaced" in verdict.sentence


def refused(recipe, folders, out, code):
    with pytest.raises(ComposeError) as caught:
        rebuild.rebuild(recipe, folders, str(out))
    assert caught.value.code == code
    return caught.value.message


def test_a_parent_that_is_not_the_one_named(made, tmp_path, adapters):
    spec, recipe = made("linear")
    folders = [m.path for m in spec.modules]
    swapped = [adapters("llama", 8).path, *folders[1:]]
    assert "acme/m1" in refused(recipe, swapped, tmp_path, "parent-changed")
    edited = edit_config(spec.modules[1], tmp_path / "edited", lora_alpha=99)
    assert "adapter_config.json of acme/m2" in refused(recipe, [folders[0], edited.path, folders[2]], tmp_path, "parent-changed")


@pytest.mark.parametrize("spoil", [{"parents": None}, {"parents": [{"id": 1}]}, {"result": {}}, {"settings": None}])
def test_what_is_no_recipe(made, tmp_path, spoil):
    spec, recipe = made("linear")
    refused({**recipe, **spoil}, [m.path for m in spec.modules], tmp_path, "recipe-invalid")


def test_what_examples_shaped_needs_them_again(made, tmp_path):
    spec, recipe = made("cma", by_use=True)
    assert recipe["rebuilt_from"] == "parents and examples"
    assert "what the examples use" in refused(recipe, [m.path for m in spec.modules], tmp_path, "recipe-needs-examples")
    trained = {**recipe, "trained": {"stopped_at": 4}}
    assert "trained on examples" in refused(trained, [m.path for m in spec.modules], tmp_path, "recipe-needs-examples")


def test_recipes_from_before_there_were_profiles_rebuild(made, tmp_path):
    spec, recipe = made("cma", profile="serving", mean_rank=0)
    old = {key: value for key, value in recipe.items() if key not in ("rebuilt_from", "trained")}
    used = {row["id"] for row in rebuild.parents(recipe)}
    old["settings"] = {key: recipe["settings"][key] for key in ("budget", "bound", "max_rank", "dtype", "shortlist")}
    assert rebuild.rebuild(old, [m.path for m in spec.modules if m.id in used], str(tmp_path)) == recipe["result"]["weights_sha256"]


CHANGED = {
    "lora_alpha": -24, "alpha_pattern": {"q_proj": 0}, "rank_pattern": {"q_proj": 1}, "use_rslora": True, "target_modules": ["q_proj"],
    "base_model_name_or_path": "acme/other", "modules_to_save": ["lm_head"], "layers_to_transform": [0], "fan_in": 1,
    "task_type": "junk", "r": 8.0, "init_lora_weights": 1, "exclude_modules": ["q_proj"], "lora_bias": True,
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGED)
@pytest.mark.parametrize("profile", ["peft", "serving"])
def test_a_published_config_that_was_changed(made, tmp_path, field, profile):
    spec, recipe = made("linear", profile=profile)
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    config = Path(spec.out_dir) / "adapter_config.json"
    assert rebuild.compare(recipe, str(tmp_path), spec.out_dir).agrees
    config.write_text(json.dumps({**json.loads(config.read_text()), field: CHANGED[field]}))
    verdict = rebuild.compare(recipe, str(tmp_path), spec.out_dir)
    assert not verdict.agrees and field in verdict.sentence and "makes another adapter of them" in verdict.sentence


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"target_modules": "all-linear"}', '{"target_modules": [{}]}'])
def test_a_published_config_that_is_none(made, tmp_path, content):
    spec, recipe = made("linear")
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    (Path(spec.out_dir) / "adapter_config.json").write_text(content)
    assert not rebuild.compare(recipe, str(tmp_path), spec.out_dir).agrees


def test_configs_with_whole_and_with_last_names_are_one(make_spec, three, tmp_path):
    """With examples the base model is at hand, and the published config may name the layers by their last parts."""
    spec = make_spec("llama", three("llama"), "linear", {"profile": "peft"})
    run.compose(spec, Watcher())
    recipe = json.loads((Path(spec.out_dir) / "recipe.json").read_text())
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    ours, theirs = (json.loads((Path(folder) / "adapter_config.json").read_text())["target_modules"] for folder in (tmp_path, spec.out_dir))
    assert ours != theirs and rebuild.compare(recipe, str(tmp_path), spec.out_dir).agrees


def without(recipe, name):
    return {key: value for key, value in recipe.items() if key != name}


EDITS = {
    "no method": lambda r: without(r, "method"),
    "a list for a method": lambda r: {**r, "method": []},
    "another method": lambda r: {**r, "method": "sorcery"},
    "no seed": lambda r: without(r, "seed"),
    "a word for a seed": lambda r: {**r, "seed": "one"},
    "another dtype": lambda r: {**r, "settings": {**r["settings"], "dtype": "int7"}},
    "text for bytes": lambda r: {**r, "settings": {**r["settings"], "max_bytes": "5"}},
    "settings as text": lambda r: {**r, "settings": "none"},
    "no number": lambda r: {**r, "parents": [{**row, "weight": float("nan")} for row in r["parents"]]},
    "layers left out": lambda r: {**r, "method": "medley", "layer_weights": {"model.layers.0.self_attn.q_proj": [1.0] * len(r["parents"])}},
    "no number for a layer": lambda r: {**r, "layer_weights": {"model.layers.0.self_attn.q_proj": [float("inf")] * len(r["parents"])}},
    "no object": lambda r: [],
    "a number beyond all": lambda r: {**r, "parents": [{**row, "weight": 10**400} for row in r["parents"]]},
    "a number beyond all for a layer": lambda r: {**r, "layer_weights": {"model.layers.0.self_attn.q_proj": [10**400] * len(r["parents"])}},
    "a weight beyond sense": lambda r: {**r, "parents": [{**row, "weight": 1e308} for row in r["parents"]]},
    "half a character": lambda r: {**r, "parents": [{**row, "id": "acme/\ud800"} for row in r["parents"]]},
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_recipe_that_was_edited_is_no_recipe(made, tmp_path, edit):
    spec, recipe = made("linear")
    with pytest.raises(ComposeError) as caught:
        edited = EDITS[edit](recipe)
        rebuild.parents(edited)
        rebuild.rebuild(edited, [m.path for m in spec.modules], str(tmp_path))
    assert caught.value.code == "recipe-invalid"


def test_factors_of_unlike_parents_are_not_summed(made, tmp_path):
    spec, recipe = made("linear")
    with pytest.raises(ComposeError):
        rebuild.rebuild({**recipe, "space": "lorahub"}, [m.path for m in spec.modules], str(tmp_path))


@pytest.mark.parametrize("profile", ["peft", "serving"])
def test_a_config_that_peft_wrote_again_says_the_same(made, tmp_path, profile):
    spec, recipe = made("linear", profile=profile)
    rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path))
    PeftConfig.from_pretrained(spec.out_dir).save_pretrained(spec.out_dir)
    assert len(json.loads((Path(spec.out_dir) / "adapter_config.json").read_text())) > 25
    assert rebuild.compare(recipe, str(tmp_path), spec.out_dir).agrees


@pytest.mark.parametrize("method", ["linear", "dare_ties"])
def test_settings_that_are_not_named_take_their_defaults(made, tmp_path, method):
    spec, recipe = made(method)
    recipe["settings"] = {}
    assert rebuild.rebuild(recipe, [m.path for m in spec.modules], str(tmp_path)) == recipe["result"]["weights_sha256"]
