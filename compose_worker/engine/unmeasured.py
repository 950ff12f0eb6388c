"""Composes by given weights where there are no examples: nothing is measured, and no base model is needed."""

from typing import Any

from compose_worker.engine import card, merge, spectrum
from compose_worker.engine import export as exporter
from compose_worker.engine.choice import Choice
from compose_worker.engine.clock import Clock
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.layout import Layout
from compose_worker.engine.spec import Observer, Result, Spec


def compose(spec: Spec, clock: Clock, observer: Observer) -> Result:
    """Merge the modules as the settings say and write the result."""
    observer.planned(0)
    settings = spec.settings
    with clock.stage(observer, "loading", "Reading the adapters."):
        adapters = merge.read(spec.modules)
        weights = merge.weights(spec.method, [module.id for module in spec.modules], settings["weights"])
    with clock.stage(observer, "search", "Adding the adapters up by the weights given."):
        changes = merge.merge(spec.method, adapters, weights, *merge.how(settings), spec.seed, int(settings["max_rank"]))
    with clock.stage(observer, "export", "Writing the adapter."):
        options = exporter.options(settings)
        layout = Layout.from_adapters(adapters, spec.base_model)
        exported = exporter.export(changes, layout, options, spec.out_dir)
        check_made(exported)
    choice = _choice(spec, weights)
    shares = spectrum.shares(adapters, weights) if merge.is_sum(spec.method) else {}
    found = spectrum.summary(exported.values, shares)
    report: dict[str, Any] = {
        "method": spec.method,
        "space": "exact",
        "device": "cpu",
        "dtype": "float64",
        "seconds": dict(clock.seconds),
        "examples": 0,
        "chosen": choice.candidate,
        "notes": spectrum.notes(exported.energy_kept, found),
        "search": {"weights": dict(zip((module.id for module in spec.modules), weights, strict=True))},
        "export": exported.as_json(options),
        "spectrum": found,
        "forgetting": None,
    }
    files = (*exported.files, *card.write(spec, layout.task_type == "SEQ_2_SEQ_LM", choice, report))
    return Result(dict(report["search"]["weights"]), {}, choice.verdict, choice.summary, files, report)


def check_made(exported: exporter.Exported) -> None:
    """Raise `change-zero` if what was asked for changes nothing."""
    if not any(bool(values.any()) for values in exported.values.values()):
        raise ComposeError("change-zero", "With these weights the adapters cancel each other out, or none of them changes anything. Give other weights.")


def _choice(spec: Spec, weights: tuple[float, ...]) -> Choice:
    used = sum(1 for weight in weights if weight)
    verdict = "single" if merge.is_sum(spec.method) and [w for w in weights if w] == [1.0] else "mix"
    summary = f"{'One adapter was' if used == 1 else f'{used} adapters were'} put together by the weights given. Nothing was measured: there were no examples."
    return Choice("mix", verdict, weights, {}, {}, {}, summary)
