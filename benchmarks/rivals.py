"""What is compared: the engine's methods, and the base model, in-context learning, single adapters, their mean, and peft's own mixes."""

import copy
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from compose_worker.engine import base_models, catalogue, examples, scoring
from compose_worker.engine import run as engine
from compose_worker.engine.scores import Rows
from compose_worker.engine.spec import PROMPT, TARGET, Evaluation, Example, Module, Spec

SCANNED = ("base", "single", "uniform")  # phases that every method of the engine begins with
UNSCANNED = ("lorahub", "tune")  # make no use of them, and get what they cost as search budget
COMPARED = ("select", "cma", "lorahub", "tune", "medley", "medley+tune")


@dataclass(frozen=True)
class Cell:
    """One task with one draw of examples."""

    task: str
    shots: int
    seed: int
    modules: tuple[Module, ...]
    shown: tuple[Example, ...]
    held_out: tuple[Example, ...]


@dataclass(frozen=True)
class Outcome:
    """How a method did on the held-out rows, and what finding it cost in forwards over the examples."""

    rows: Rows
    tokens: tuple[int, ...]
    spent: float
    notes: Mapping[str, Any] = field(default_factory=dict)


class _Watcher:
    """Keeps what was measured, for the next method on the same examples."""

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []

    def planned(self, total: int) -> None:
        pass

    def stage(self, name: str, sentence: str) -> None:
        pass

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)

    def improved(self, weights: Mapping[str, float], loss: float) -> None:
        pass

    def enough(self) -> bool:
        return False


class Lab:
    """The base model, and what was measured once and holds for every seed."""

    def __init__(self, base_path: str, budget: int) -> None:
        self.base_path = base_path
        self.budget = budget
        self.scores: dict[tuple[Any, ...], scoring.Scored] = {}
        self.scans: dict[tuple[Any, ...], tuple[Evaluation, ...]] = {}
        self.mixes: dict[tuple[Any, ...], tuple[Evaluation, ...]] = {}  # what `medley` measured, which `medley+tune` begins with

    @cached_property
    def base(self) -> base_models.Base:
        return base_models.load(self.base_path)

    def scored(self, cell: Cell, modules: Sequence[Module], weights: Sequence[float], space: str = "exact") -> Outcome:
        """A fixed mix on the held-out rows; remembered, since every seed asks for the same ones."""
        key = (cell.task, len(cell.held_out), tuple(m.id for m in modules), tuple(weights), space)
        if key not in self.scores:
            self.scores[key] = scoring.score_mix(self.base_path, modules, weights, cell.held_out, space)
        return Outcome(self.scores[key].rows, self.scores[key].tokens, 0.0)

    def scan(self, cell: Cell) -> tuple[Evaluation, ...]:
        """Base, every module alone and their mean on the examples, as the engine measures them; once for all methods of a cell."""
        key = (cell.task, cell.shots, cell.seed)
        if key not in self.scans:
            self.compose(cell, "select", {})
        return self.scans[key]

    def _published(self, cell: Cell, folder: Path) -> Outcome:
        """An adapter on the held-out rows; the same weights are measured once, whichever method wrote them."""
        key = (cell.task, len(cell.held_out), hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest())
        if key not in self.scores:
            self.scores[key] = scoring.score_mix(self.base_path, [Module("result", "", str(folder))], [1.0], cell.held_out)
        return Outcome(self.scores[key].rows, self.scores[key].tokens, 0.0)

    def compose(self, cell: Cell, method: str, settings: Mapping[str, Any]) -> Outcome:
        """Run a method of the engine and score the adapter that it writes."""
        key = (cell.task, cell.shots, cell.seed)
        watcher = _Watcher()
        with tempfile.TemporaryDirectory() as folder:
            spec = Spec(
                base_model="benchmark/base",
                base_path=self.base_path,
                modules=cell.modules,
                examples=cell.shown,
                method=method,
                settings=catalogue.check(method, settings),
                seed=cell.seed,
                name="benchmark/result",
                out_dir=folder,
                history=self.mixes.get(key, self.scans.get(key, ())) if method == "medley+tune" else self.scans.get(key, ()),
                explain=False,  # it changes nothing that is measured here
                shortlist=len(cell.modules) if method == "lorahub" else None,  # LoraHub mixes one shape: the commonest
            )
            result = engine.compose(spec, watcher)
            if key not in self.scans:
                self.scans[key] = tuple(e for e in watcher.evaluations if e.phase in SCANNED)
            if method == "medley":
                self.mixes[key] = (*self.scans[key], *(e for e in watcher.evaluations if e.phase not in SCANNED))
            scored = self._published(cell, Path(folder)) if result.files else self.scored(cell, (), ())
        notes = {"verdict": result.verdict, "chosen": result.report["chosen"], "weights": {name: w for name, w in result.weights.items() if w != 0.0}}
        # LoraHub is given its modules by a search of the catalogue that leaves none out: what that measures on the way is no part of the method.
        unused = sum(e.phase == "strength" for e in watcher.evaluations) + (len(cell.modules) + 2 if method in UNSCANNED else 0)
        spent = result.report["spent"] - unused
        return Outcome(scored.rows, scored.tokens, spent, notes)


def run(lab: Lab, cell: Cell, method: str) -> Outcome:
    """Let one method solve one cell."""
    if method in SIMPLE:
        return SIMPLE[method](lab, cell)
    lab.scan(cell)
    return lab.compose(cell, method, _settings(lab, cell, method))


def _settings(lab: Lab, cell: Cell, method: str) -> dict[str, int]:
    """What makes budgets equal. A step of training costs a gradient on every fold's rest and one on all rows, its checks six forwards in all."""
    budget = lab.budget + (len(cell.modules) + 2 if method in UNSCANNED else 0)
    if method == "tune":
        return {"steps": max(1, (budget - 7) // 6)}
    return {"budget": budget} if any(setting.name == "budget" for setting in catalogue.method(method).settings) else {}


def _base(lab: Lab, cell: Cell) -> Outcome:
    return lab.scored(cell, (), ())


def _uniform(lab: Lab, cell: Cell) -> Outcome:
    return lab.scored(cell, cell.modules, [1 / len(cell.modules)] * len(cell.modules))


def _best_single(lab: Lab, cell: Cell) -> Outcome:
    """The module with the lowest loss on the examples, whatever the base does."""
    singles = [e for e in lab.scan(cell) if e.phase == "single"]
    best = min(range(len(singles)), key=lambda index: singles[index].loss)
    outcome = lab.scored(cell, [cell.modules[best]], [1.0])
    return replace(outcome, spent=float(len(singles)), notes={"chosen": cell.modules[best].id})


def _in_context(lab: Lab, cell: Cell) -> Outcome:
    """The base model with the examples before every question; what it read of them is kept, so that a question costs its own tokens."""
    base = lab.base
    text = "".join(PROMPT.replace("{input}", e.input) + TARGET.replace("{output}", e.output) + "\n\n" for e in cell.shown)
    shown = base.tokenizer(text, return_tensors="pt")["input_ids"].to(base.device)
    encoded = examples.encode(base, cell.held_out, PROMPT, TARGET)
    sums: dict[int, float] = {}
    exact: dict[int, bool] = {}
    with torch.inference_mode():
        memory = base.model(shown, use_cache=True, logits_to_keep=1).past_key_values
        for batch in examples.batches(base, encoded):
            outcome = examples.run(base, _after(memory, shown.shape[1], batch))
            sums.update(zip(batch.rows, outcome.sums, strict=True))
            exact.update(zip(batch.rows, outcome.exact, strict=True))
    order = range(len(encoded))
    return Outcome(Rows(tuple(sums[r] for r in order), tuple(exact[r] for r in order)), tuple(len(e.answer) for e in encoded), 0.0)


def _after(memory: Any, length: int, batch: examples.Batch) -> examples.Batch:
    """The batch as it goes on from what the model has read."""
    ids = batch.inputs["input_ids"]
    own = batch.inputs.get("attention_mask", torch.ones_like(ids))
    mask = torch.cat([torch.ones(ids.shape[0], length, dtype=own.dtype, device=own.device), own], dim=1)
    read = copy.deepcopy(memory)
    read.batch_repeat_interleave(ids.shape[0])
    return replace(batch, inputs={"input_ids": ids, "attention_mask": mask, "past_key_values": read})


def _peft(kind: str) -> Callable[[Lab, Cell], Outcome]:
    def solve(lab: Lab, cell: Cell) -> Outcome:
        """peft's `add_weighted_adapter` at 1/N, over the modules of the commonest shape, which is all that it can add."""
        alike = _alike(cell.modules)
        with tempfile.TemporaryDirectory() as folder:
            key = ("peft", kind, cell.task, len(cell.held_out), tuple(m.id for m in alike))
            if key not in lab.scores:
                lab.scores[key] = scoring.score_mix(lab.base_path, [_mixed_by_peft(lab, alike, kind, folder)], [1.0], cell.held_out)
        return Outcome(lab.scores[key].rows, lab.scores[key].tokens, 0.0)

    return solve


def _mixed_by_peft(lab: Lab, modules: Sequence[Module], kind: str, folder: str) -> Module:
    model = PeftModel.from_pretrained(copy.deepcopy(lab.base.model), modules[0].path, adapter_name="m0")
    for index, module in enumerate(modules[1:], 1):
        model.load_adapter(module.path, adapter_name=f"m{index}")
    names = [f"m{index}" for index in range(len(modules))]
    model.add_weighted_adapter(names, [1 / len(names)] * len(names), "mean", combination_type=kind)
    model.save_pretrained(folder, selected_adapters=["mean"])
    return Module("peft", "", str(Path(folder) / "mean"))


def _alike(modules: Sequence[Module]) -> tuple[Module, ...]:
    def shape(module: Module) -> tuple[Any, ...]:
        config = json.loads((Path(module.path) / "adapter_config.json").read_text(encoding="utf-8"))
        return config["r"], config["lora_alpha"], config.get("use_rslora", False), tuple(sorted(config["target_modules"]))

    commonest = Counter(map(shape, modules)).most_common(1)[0][0]
    return tuple(module for module in modules if shape(module) == commonest)


SIMPLE: dict[str, Callable[[Lab, Cell], Outcome]] = {
    "base": _base,
    "in-context": _in_context,
    "best single": _best_single,
    "uniform": _uniform,
    "peft linear": _peft("linear"),
    "peft svd": _peft("svd"),
}
