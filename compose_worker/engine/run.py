"""Composes: the order of the steps, top to bottom."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from compose_worker.engine import (
    attribution,
    base_models,
    benefit,
    card,
    catalogue,
    cutting,
    examples,
    forgetting,
    memory,
    merge,
    publish,
    samples,
    scores,
    shortlist,
    spectrum,
    unmeasured,
)
from compose_worker.engine import bank as banks
from compose_worker.engine import export as exporter
from compose_worker.engine.attribution import Part
from compose_worker.engine.bank import Bank
from compose_worker.engine.base_models import Base
from compose_worker.engine.choice import Choice, choose
from compose_worker.engine.clock import Clock
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.evaluator import Evaluator, Measured
from compose_worker.engine.limit import Enough
from compose_worker.engine.methods import METHODS, Row
from compose_worker.engine.publish import Written
from compose_worker.engine.search import Found, Task
from compose_worker.engine.shortlist import Narrowed
from compose_worker.engine.spec import Observer, Result, Spec

FAR = 0.75  # of the best single adapter's loss: where a mix has less, no adapter is near the task, and training on top has most to gain
FEW = 20  # examples below which an interval is wider than most differences


def compose(spec: Spec, observer: Observer) -> Result:
    """Find weights for the modules of `spec` that solve its examples, and write the mix as an adapter."""
    with memory.enough_for("this composition"):
        return _composed(spec, observer)


def _composed(spec: Spec, observer: Observer) -> Result:
    clock = Clock()
    row, spec = _checked(spec)
    if not spec.examples and not catalogue.method(spec.method).needs_examples:
        return unmeasured.compose(spec, clock, observer)
    with clock.stage(observer, "loading", "Loading the base model and the adapters."):
        base = base_models.load(spec.base_path, spec.device, spec.dtype, spec.keep_bases)
        encoded = examples.encode(base, spec.examples, spec.prompt, spec.target)
        narrowed = None
        if spec.shortlist is not None:
            narrowed = shortlist.narrow(spec, base, encoded, max(catalogue.TRIED, spec.shortlist), observer)
            spec = narrowed.spec
        bank = banks.load(base, spec.modules, spec.keep_modules)
        if row.space == "lorahub" and spec.shortlist is None:
            banks.check_alike(bank.adapters)
    exporter.check_room(_layers(spec, bank), {name: base_models.shape(layer) for name, layer in base.layers().items()}, exporter.options(spec.settings))
    evaluator = Evaluator(spec, bank, encoded, observer, row.space)
    folds = scores.folds(spec.examples, spec.seed)
    observer.planned(
        2
        + len(spec.modules)
        + (narrowed is not None) * (1 + len(spec.modules))
        + row.planned(spec.settings, len(folds))
        + (benefit.planned(len(folds)) if "base" in row.rivals else 0)
        + cutting.planned(row.rivals)
        + (attribution.planned(row.attributes, len(spec.modules), len(folds)) if spec.explain else 0)
    )
    with clock.stage(observer, "modules", f"Measuring the base model, {_count(spec)} alone and their mean."):
        task = _measured(spec, evaluator, bank, row, folds)
        if narrowed is not None:
            overflown = [spec.modules[index].id for index, measured in task.singles.items() if measured.overflows]
            narrowed = replace(narrowed, refused={**narrowed.refused, **{name: _too_large(name) for name in overflown}})
    with clock.stage(observer, "search", f"Searching for weights of {len(task.kept)} adapters."):
        found = _searched(row, task)
    with clock.stage(observer, "check", "Comparing the mix with the base model, the best single adapter and the mean."):
        ids = [module.id for module in spec.modules]
        choice = choose(task, found, ids, row.rivals)
        if spec.explain and row.attributes == "folds" and choice.candidate == "mix" and choice.change is None and found.by_fold:
            attributed = attribution.attribute(task, found)
            found, parts = attributed.found, attributed.parts
            choice = choose(task, found, ids, row.rivals, helped=True)
        else:
            parts = _parts(spec, row, task, found, choice)
    with clock.stage(observer, "export", "Writing the adapter and measuring what it does to other text."):
        written = publish.write(spec, base, task, found, choice)
        if written.choice.candidate != choice.candidate:
            parts = _parts(spec, row, task, found, written.choice)
        choice, exported = written.choice, written.exported
        forgot = None if exported is None or not spec.explain else forgetting.measure(base, spec.out_dir)
    report = _report(spec, base, task, found, written, forgot, clock.seconds)
    report["shortlist"] = None if narrowed is None else _looked_at(narrowed)
    report["notes"] += [] if narrowed is None else _left_out(narrowed)
    report["attribution"] = {ids[index]: {"without_loss": part.without_loss, "effect": part.effect} for index, part in parts.items()}
    report["attribution_beside_training"] = bool(parts) and choice.change is not None and found.trained is not None
    files: tuple[str, ...] = ()
    if exported is not None:
        files = (*exported.files, *card.write(spec, base.is_seq2seq, choice, report))
    if exported is not None and spec.samples:
        with clock.stage(observer, "export", "Writing sample answers."):  # after the card, which is for everyone: they are the owner's
            report["samples"] = samples.answers(spec, task, found, choice, observer.enough)
    weights = dict(zip((module.id for module in spec.modules), choice.weights, strict=True))
    return Result(weights, choice.scores, choice.verdict, choice.summary, files, report)


def _parts(spec: Spec, row: Row, task: Task, found: Found, choice: Choice) -> dict[int, Part]:
    """What each module does for what was chosen, on all examples."""
    if not spec.explain:
        return {}
    if row.attributes == "folds" and choice.candidate == "mix" and found.trained is not None:
        return attribution.alone(task, found.mix, found.fitted.loss, found.trained)
    if choice.candidate == "uniform":
        return attribution.alone(task, np.array(task.uniform.weights), task.uniform.loss)
    if row.attributes == "all" and choice.verdict == "mix" and not found.notes.get("ended_early"):
        return attribution.alone(task, found.mix, found.fitted.loss)
    return {}


def _checked(spec: Spec) -> tuple[Row, Spec]:
    settings = catalogue.check(spec.method, spec.settings)
    if not spec.modules:
        raise ComposeError("modules-missing", "There are no adapters to compose. Choose at least one.")
    twice = [name for name, count in Counter(module.id for module in spec.modules).items() if count > 1]
    if twice:
        raise ComposeError("module-twice", f"The adapter {twice[0]} is listed twice. Remove one of the two.")
    catalogue.check_weights(settings, [module.id for module in spec.modules])
    return METHODS[spec.method], replace(spec, settings=settings)


def _layers(spec: Spec, bank: Bank) -> list[list[str]]:
    """The layers of each adapter, any of which may be published alone; where weights are given, those of all that have one."""
    if "weights" not in spec.settings:
        return [list(adapter.parts) for adapter in bank.adapters]
    given = spec.settings["weights"]
    return [sorted({name for adapter in bank.adapters if given.get(adapter.module.id, 1.0) for name in adapter.parts})]


def _searched(row: Row, task: Task) -> Found:
    """What the search finds; where it is ended early, the best of all that was measured till then."""
    limit = task.evaluator.limit
    limit.open = catalogue.method(task.method).needs_examples  # a merge by given weights is what was asked for, and there is nothing to end
    try:
        return row.search(task)
    except Enough:
        searched = [] if task.evaluator.found is None else [task.evaluator.found]
        best = min([task.best_known(mean=row.space != "lorahub"), *searched], key=lambda m: m.loss)  # the mean of changes is no mix of factors
        return Found(best.weights, best, None, {"ended_early": True})
    finally:
        limit.open = False


def _measured(spec: Spec, evaluator: Evaluator, bank: Bank, row: Row, folds: tuple[tuple[int, ...], ...]) -> Task:
    """Measure the candidates that need no search: base, every module alone, and the mean of those that are kept."""
    count = len(spec.modules)
    base = evaluator.measure("base", [0.0] * count)
    alone = [[float(i == index) for i in range(count)] for index in range(count)]
    singles = dict(enumerate(evaluator.measure_many("single", alone)))
    usable = _usable(spec, base, singles)
    halves = {} if spec.shortlist is None else dict(enumerate(evaluator.measure_many("strength", [[w / 2 for w in weights] for weights in alone])))
    alike = _alike(bank, usable) if row.space == "lorahub" and spec.shortlist is not None else usable
    kept = _shortlisted(spec, {index: singles[index] for index in alike}, halves)
    kept = tuple(sorted(kept, key=lambda index: spec.modules[index].id))  # a blind search sees its weights in this order, whatever that of the modules is
    evaluator.active = tuple(sorted(kept))
    uniform = evaluator.measure("uniform", [1 / len(kept) if i in kept else 0.0 for i in range(count)])
    unlike = tuple(index for index in usable if index not in alike)
    return Task(evaluator, count, kept, spec.settings, spec.seed, base, singles, uniform, folds, spec.method, unlike)


def _usable(spec: Spec, base: Measured, singles: Mapping[int, Measured]) -> list[int]:
    """The modules that leave the base model with numbers to compare; others are refused, or left out of those that were found for the user."""
    if base.overflows:
        row = base.sums.index(max(base.sums)) + 1
        raise ComposeError("base-model-unsupported", f"The base model itself predicts no finite numbers for example {row}. Choose another, or float32.")
    usable = [index for index, measured in singles.items() if not measured.overflows]
    if len(usable) < len(singles) and (spec.shortlist is None or not usable):
        module = next(spec.modules[index] for index in singles if index not in usable)
        raise ComposeError("module-not-finite", _too_large(module.id))
    return usable


def _too_large(name: str) -> str:
    return f"With the adapter {name} the base model predicts no finite numbers: the adapter's own are too large. Leave it out."


def _alike(bank: Bank, usable: Sequence[int]) -> list[int]:
    """The modules of the commonest shape: LoraHub can only mix those of one."""
    shapes = {index: tuple(sorted((name, part.rank, part.scale) for name, part in bank.adapters[index].parts.items())) for index in usable}
    commonest = Counter(shapes.values()).most_common(1)[0][0]
    return [index for index in usable if shapes[index] == commonest]


def _shortlisted(spec: Spec, singles: Mapping[int, Measured], halves: Mapping[int, Measured]) -> tuple[int, ...]:
    """The modules that take part in the mix: all, or the best alone, at full or half strength, where a shortlist is wanted."""
    candidates = list(singles)
    if spec.shortlist is None:
        return tuple(candidates)
    best = sorted(candidates, key=lambda index: (min(singles[index].loss, halves[index].loss), index))[: max(1, spec.shortlist)]
    return tuple(sorted(best))


def _report(
    spec: Spec,
    base: Base,
    task: Task,
    found: Found,
    written: Written,
    forgot: Mapping[str, Any] | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    choice, exported, by_use = written.choice, written.exported, written.by_use
    tokens = task.evaluator.tokens
    singles = {spec.modules[i].id: {"loss": m.loss, "accuracy": sum(m.exact) / len(m.exact), "kept": i in task.kept} for i, m in task.singles.items()}
    suggested = _suggested(task, choice, written.cuts)
    made_of = None if exported is None else _spectrum(task, choice, exported)
    notes = _notes(task, found, choice, suggested)
    if exported is not None and made_of is not None:
        notes += _file_notes(spec, exported, made_of, by_use, forgot)
    notes += [*examples.doubts(spec.examples), *written.notes]
    return {
        "method": spec.method,
        "space": publish.space(task, choice),
        "cut_by_use": by_use,
        "needs_examples": (by_use and exported is not None and not exported.as_is)
        or (choice.change is not None and found.learned),  # to be rebuilt from its recipe
        "device": str(base.device),
        "dtype": str(base.dtype).removeprefix("torch."),
        "forward_tokens": task.evaluator.forward_tokens,
        "seconds": dict(seconds),
        "examples": len(tokens),
        "answer_tokens": sum(tokens),
        "folds": [list(fold) for fold in task.folds],
        "scored_on": choice.scored_on,
        "candidates": choice.losses,
        "chosen": choice.candidate,
        "singles": singles,
        "spent": round(task.evaluator.spent, 3),
        "notes": notes,
        "suggested_method": suggested,
        "search": {**found.notes, "fitted_loss": found.fitted.loss, "weights": {spec.modules[i].id: found.weights[i] for i in task.alone}},
        "export": None if exported is None else exported.as_json(exporter.options(spec.settings)),
        "cuts": cutting.as_json(written.cuts, tokens),
        "unwritten": dict(written.unwritten),
        "spectrum": made_of,
        "forgetting": forgot,
    }


def _looked_at(narrowed: Narrowed) -> dict[str, Any]:
    return {
        "looked_at": narrowed.looked_at,
        "tried": [module.id for module in narrowed.spec.modules],
        "effects": narrowed.effects,
        "left_out": narrowed.refused,
        "copies": narrowed.copies,
    }


def _left_out(narrowed: Narrowed) -> list[str]:
    """Which of the adapters found could not take part."""
    notes = []
    if narrowed.refused:
        names = sorted(narrowed.refused)
        notes.append(f"Left out because they cannot be composed: {_listed(names)}. {narrowed.refused[names[0]]}")
    if narrowed.copies:
        names = sorted(narrowed.copies)
        notes.append(f"Left out as copies of another adapter: {_listed(names)}. {names[0]} has the weights of {narrowed.copies[names[0]]}.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _spectrum(task: Task, choice: Choice, exported: exporter.Exported) -> dict[str, Any]:
    is_sum = merge.is_sum(task.method) if choice.change is not None else publish.space(task, choice) == "exact"
    shares = spectrum.shares(task.evaluator.bank.adapters, choice.layers or choice.weights) if is_sum else {}
    return spectrum.summary(exported.values, shares)


def _notes(task: Task, found: Found, choice: Choice, suggested: str | None) -> list[str]:
    """What a reader of the scores should know, in words."""
    notes = []
    if not task.folds:
        considered = " and no mix was fitted to them" if METHODS[task.method].rivals else ""
        notes.append(f"All examples ask the same question, so none could be held out{considered}.")
    if found.notes.get("ended_early"):
        notes.append("The search ended early; what is published is the best it had measured by then.")
    elif found.held_out is None and found.learned and not METHODS[task.method].rivals:
        notes.append("This method searches on all examples, so its own score is not from held-out ones.")
    elif choice.candidate == "mix" and len(task.evaluator.tokens) < FEW:
        notes.append("With so few examples the scores are rough: look at the intervals.")
    if task.unlike:
        notes.append(
            f"LoraHub mixes only adapters of one rank, scale and layers: {len(task.kept)} of the commonest kind took part, "
            f"and {len(task.unlike)} of {'other kinds' if len(task.unlike) > 1 else 'another kind'} could not."
        )
    if suggested:
        notes.append("No adapter comes near this task alone. The method 'medley+tune' goes on from such a mix and trains a little: it may do better.")
    return notes


def _file_notes(spec: Spec, exported: exporter.Exported, made_of: Mapping[str, Any], by_use: bool, forgot: Mapping[str, Any] | None) -> list[str]:
    """What a user of the file should know, in words."""
    notes = spectrum.notes(exported.energy_kept, made_of, by_use)
    if spec.explain and forgot is None:
        notes.append("What the adapter does to ordinary text is not known: the worker has no memory to measure it, or the tokenizer knows no such text.")
    if spec.settings.get("by_use") and not by_use:
        notes.append("The worker has no memory to weigh directions by what your examples use, so they were cut by size.")
    return notes


def _suggested(task: Task, choice: Choice, cuts: cutting.Cuts) -> str | None:
    """Another method that may do better. What a single adapter is worth cut says nothing of how near it comes."""
    far = task.method == "medley" and choice.candidate == "mix" and "single" not in cuts and choice.losses["mix"] < FAR * choice.losses["single"]
    return "medley+tune" if far else None


def _count(spec: Spec) -> str:
    return "1 adapter" if len(spec.modules) == 1 else f"{len(spec.modules)} adapters"
