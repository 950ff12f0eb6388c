"""Builds a composed adapter anew from its recipe and its parents' files, and says how that compares with what was published."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file

from compose_worker.engine import bank as banks
from compose_worker.engine import catalogue, merge, modules
from compose_worker.engine import export as exporter
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.layout import Layout
from compose_worker.engine.spec import Module

FREE = {"target_modules", "task_type", "fan_in_fan_out"}  # of the rebuilt and the published config: these need not be the same


@dataclass(frozen=True)
class Verdict:
    """Whether the rebuilt weights are the published ones, and a sentence for people."""

    agrees: bool
    sentence: str


def parents(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parents with a weight, each with id, revision and hashes; raises `recipe-invalid` for anything that is no recipe."""
    return _read(recipe)[0]


def _read(recipe: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], dict[str, list[float]]]:
    """The parents with a weight; and their weights by layer, where every layer has its own, else nothing."""
    try:
        rows = list(recipe["parents"])
        for row in rows:
            _number(row["weight"])
            for key in ("id", "revision", "weights_sha256", "config_sha256"):
                str.encode(row[key])
        if not isinstance(recipe["result"]["weights_sha256"], str) or not isinstance(recipe["seed"], int):
            raise TypeError
        _settings(recipe)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, ComposeError) as error:
        raise _invalid() from error
    layers = _layer_weights(recipe, len(rows))
    used = [index for index, row in enumerate(rows) if row["weight"] or any(there[index] for there in layers.values())]
    return [rows[index] for index in used], {name: [there[index] for index in used] for name, there in layers.items()}


def check(recipe: Mapping[str, Any]) -> None:
    """Raise `recipe-needs-examples` where the parents alone are not enough."""
    if recipe.get("rebuilt_from") == "parents and examples":
        what = "part of it was trained on examples" if recipe.get("trained") else "its ranks were cut by what the examples use"
        raise ComposeError("recipe-needs-examples", f"This adapter cannot be rebuilt from its parents alone: {what}, and examples stay private.")


def rebuild(recipe: Mapping[str, Any], folders: Sequence[str], out_dir: str) -> str:
    """Write the weights again into `out_dir` from the folders of `parents(recipe)`; return their sha256."""
    check(recipe)
    rows, layers = _read(recipe)
    chosen = [Module(row["id"], row["revision"], folder, row["weights_sha256"], row["config_sha256"]) for row, folder in zip(rows, folders, strict=True)]
    for module in chosen:
        for file, wanted in ((modules.WEIGHTS, module.weights_sha256), (modules.CONFIG, module.config_sha256)):
            if modules.sha256(module, file) != wanted:
                raise ComposeError("parent-changed", f"The file {file} of {module.id} is not the one the recipe names: its sha256 differs.")
    weights = [float(row["weight"]) for row in rows]
    settings = _settings(recipe)
    adapters = merge.read(chosen)
    method = recipe["method"] if recipe.get("chosen") == "mix" else ""
    if recipe.get("space") == "lorahub":
        banks.check_alike(adapters)
        changes: exporter.Changes = exporter.lorahub(adapters, weights)
    elif method in merge.RULES:
        changes = merge.merge(method, adapters, weights, *merge.how(settings), recipe["seed"], int(settings["max_rank"]))
    else:
        if layers and not {name for adapter in adapters for name in adapter.parts} <= layers.keys():
            raise _invalid()
        changes = exporter.exact(adapters, layers or weights)
    if not changes:
        raise _invalid()
    exporter.export(changes, Layout.from_adapters(adapters, str(recipe.get("base_model"))), exporter.options(settings), out_dir)
    return hashlib.sha256((Path(out_dir) / modules.WEIGHTS).read_bytes()).hexdigest()


def _layer_weights(recipe: Mapping[str, Any], count: int) -> dict[str, list[float]]:
    """The weights by layer of all `count` parents listed."""
    try:
        layers = {str(name): [_number(weight) for weight in there] for name, there in (recipe.get("layer_weights") or {}).items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise _invalid() from error
    if any(len(there) != count for there in layers.values()):
        raise _invalid()
    return layers


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the method knows, with the defaults of those that an old recipe does not name."""
    known = {setting.name for setting in catalogue.method(recipe["method"]).settings}
    return catalogue.check(recipe["method"], {name: value for name, value in recipe["settings"].items() if name in known})


def _number(weight: Any) -> float:
    if not abs(float(weight)) <= modules.LARGEST:  # no number is not
        raise ValueError
    return float(weight)


def compare(recipe: Mapping[str, Any], rebuilt: str, published: str) -> Verdict:
    """Compare the folders with the rebuilt and the published weights, and both with the recipe."""
    ours, theirs = (hashlib.sha256((Path(folder) / modules.WEIGHTS).read_bytes()).hexdigest() for folder in (rebuilt, published))
    stated = recipe["result"]["weights_sha256"]
    if ours == theirs == stated:
        if fault := _config_fault(rebuilt, published):
            return Verdict(False, f"The weights are those rebuilt from the parents, but {modules.CONFIG} makes another adapter of them: {fault}.")
        return Verdict(True, f"The weights rebuilt from the parents are the published ones, byte for byte (sha256 {ours}), and the config is right.")
    if theirs != stated:
        return Verdict(
            False, f"The published weights (sha256 {theirs}) are not those that the recipe names ({stated}). They were replaced after it was written."
        )
    return Verdict(False, f"The rebuilt weights (sha256 {ours}) differ from the published ones ({theirs}): {_difference(rebuilt, published)}")


def _config_fault(rebuilt: str, published: str) -> str:
    """What in the published config makes something else of the weights than the rebuilt one; empty if nothing.

    Without the base model, the rebuilt config names layers by the last parts of their names or whole as the profile says, and may not know the
    kind of task or which way round the base model stores its weights; no loader adds anything else because of these.
    """
    ours, theirs = (_json(folder) for folder in (rebuilt, published))
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return "it is no JSON object"
    names = {key.removeprefix(modules.PREFIX).rsplit(".lora_", 1)[0] for key in modules.Tensors(Module("", "", rebuilt)).names()}
    targets = theirs.get("target_modules")
    meant = {name: {name, name.rsplit(".", 1)[-1]} for name in names}
    if not isinstance(targets, list) or not set(map(str, targets)) <= set().union(*meant.values()):
        return "target_modules names other layers"
    if missed := sorted(name for name, ways in meant.items() if not ways & set(targets)):
        return f"target_modules leaves out {missed[0]}"
    if theirs.get("task_type") not in (ours["task_type"], None, "CAUSAL_LM", "SEQ_2_SEQ_LM"):
        return f"task_type is {str(theirs['task_type'])[:80]!r}"
    unsaid = {**LoraConfig().to_dict(), "peft_version": theirs.get("peft_version"), **ours}  # what a config means that leaves it out
    for name in sorted({*ours, *theirs} - FREE):
        if name not in theirs or name not in unsaid or json.dumps(unsaid[name], sort_keys=True, default=str) != json.dumps(theirs[name], sort_keys=True):
            return f"{name} is {str(theirs.get(name, 'not there'))[:80]!r} where it should be {str(ours.get(name, 'not there'))[:80]!r}"
    return ""


def _json(folder: str) -> Any:
    try:
        return json.loads((Path(folder) / modules.CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _difference(rebuilt: str, published: str) -> str:
    try:
        ours, theirs = load_file(f"{rebuilt}/{modules.WEIGHTS}"), load_file(f"{published}/{modules.WEIGHTS}")
    except (OSError, SafetensorError):
        return "the published file is no safetensors file."
    if {name: t.shape for name, t in ours.items()} != {name: t.shape for name, t in theirs.items()}:
        return "they hold other tensors or shapes."
    other = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    most = max((float((ours[n].double() - theirs[n].double()).abs().max() / theirs[n].double().abs().max().clamp_min(1e-30)) for n in other), default=0.0)
    if most < 0.05:
        return (
            f"{len(other)} of {len(ours)} tensors, by at most {most:.1e} of their largest number. Another machine or another version of torch rounds like this."
        )
    return f"{len(other)} of {len(ours)} tensors, by up to {most:.2g} of their largest number. This is another mix."


def _invalid() -> ComposeError:
    return ComposeError("recipe-invalid", "The file recipe.json is not a recipe that Medley wrote. Nothing can be rebuilt from it.")
