"""Writes what was chosen; where its file does worse than another candidate, or does not fit the size allowed, that one is chosen and written."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compose_worker.engine import catalogue, cutting, memory, unmeasured, use
from compose_worker.engine import export as exporter
from compose_worker.engine.base_models import Base
from compose_worker.engine.choice import Choice, choose
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.layout import Layout
from compose_worker.engine.methods import METHODS
from compose_worker.engine.modules import Adapter
from compose_worker.engine.search import Found, Task
from compose_worker.engine.spec import Spec

UNWRITABLE = ("setting-out-of-range", "export-overflow")  # codes of what another candidate may be without


@dataclass(frozen=True)
class Written:
    """What was chosen in the end, its file if it has one, and what keeps other candidates from being published as they are."""

    choice: Choice
    exported: exporter.Exported | None
    by_use: bool  # whether what was cut was chosen by what the examples use
    cuts: cutting.Cuts
    unwritten: Mapping[str, str]  # why, by candidate
    notes: tuple[str, ...]


def write(spec: Spec, base: Base, task: Task, found: Found, choice: Choice) -> Written:
    """Write what was chosen into `spec.out_dir`, each candidate at most once. Raise what keeps it from being written if nothing else helps."""
    rivals = METHODS[spec.method].rivals
    ids = [module.id for module in spec.modules]
    files: dict[str, tuple[exporter.Exported, bool]] = {}
    cuts: dict[str, cutting.Cut] = {}
    barred: dict[str, ComposeError] = {}
    with tempfile.TemporaryDirectory(dir=spec.out_dir) as drafts:
        while choice.verdict != "nothing" and choice.candidate not in files:
            candidate = choice.candidate
            draft = Path(drafts) / candidate
            draft.mkdir()
            try:
                files[candidate] = _export(spec, base, task, choice, draft)
            except ComposeError as error:
                if not rivals or error.code not in UNWRITABLE:
                    raise
                barred[candidate] = error
            else:
                if not cutting.is_cut(files[candidate][0]):
                    break
                cuts[candidate] = cutting.measure(task, found, candidate, files[candidate][0], draft)
            choice = choose(task, found, ids, rivals, helped=True, cuts=cuts, barred=tuple(barred))
        said = cutting.notes(cuts, choice.candidate, task.evaluator.tokens)
        if choice.verdict == "nothing" and barred:
            raise next(iter(barred.values()))
        if choice.verdict == "nothing":
            return Written(choice, None, False, cuts, {}, tuple(said))
        for path in (Path(drafts) / choice.candidate).iterdir():
            shutil.move(path, Path(spec.out_dir) / path.name)
    exported, by_use = files[choice.candidate]
    unwritten = {name: error.message for name, error in barred.items()}
    notes = [f"{cutting.NAMES[name].capitalize()} could not be written. {why}" for name, why in unwritten.items()]
    return Written(choice, exported, by_use, cuts, unwritten, (*notes, *said))


def space(task: Task, choice: Choice) -> str:
    """How what is published is added up: changes, or the factors of changes."""
    return METHODS[task.method].space if choice.candidate == "mix" else "exact"


def _export(spec: Spec, base: Base, task: Task, choice: Choice, folder: Path) -> tuple[exporter.Exported, bool]:
    changes = choice.change or _changes(task.evaluator.bank.adapters, choice, space(task, choice))
    grams = None
    if spec.settings.get("by_use"):
        grams = memory.or_none("weighing by use", lambda: use.grams(base, task.evaluator.encoded, {name: change.a for name, change in changes.items()}))
        task.evaluator.spent += 1.0
    exported = exporter.export(changes, Layout.of(base, spec.base_model), exporter.options(spec.settings), str(folder), grams)
    if not catalogue.method(spec.method).needs_examples:
        unmeasured.check_made(exported)
    return exported, grams is not None


def _changes(adapters: Sequence[Adapter], choice: Choice, how: str) -> exporter.Changes:
    if how == "lorahub":
        return exporter.lorahub(adapters, choice.weights)
    return exporter.exact(adapters, choice.weights if choice.layers is None else choice.layers)
