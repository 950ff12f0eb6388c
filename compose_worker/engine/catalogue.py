"""The composition methods and their settings as data without torch: form, API schema, docs page and worker read it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compose_worker.engine.errors import ComposeError

Value = int | float | bool | str | dict[str, float]

MIN_EXAMPLES = 5
MAX_EXAMPLES = 100
MAX_EXAMPLE_CHARACTERS = 8_000  # input and output together; the tokenizer has the last word
MAX_MODULES = 50
MAX_AUTO_MODULES = 2_000  # how many modules "find them for me" looks at
TRIED = 32  # how many of those it measures alone, at least; the others are judged by their first-order effect


@dataclass(frozen=True)
class Setting:
    """One number or choice that a method takes; of the kind "weights" one number for each adapter, by its id."""

    name: str
    title: str
    help: str
    kind: str  # "int", "float", "bool", "choice" or "weights"
    default: Value
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A way to compose; its function lives in `methods/<name>.py`."""

    name: str
    title: str
    summary: str
    settings: tuple[Setting, ...]
    reference: str = ""
    needs_examples: bool = True  # where not, the weights are given: no examples are needed, no base model, and the adapters must be named


def _budget(default: int) -> Setting:
    return Setting("budget", "Budget", "How many candidate mixes may be measured on your examples.", "int", default, 1, 1000)


def _tuning(steps: int) -> tuple[Setting, ...]:
    return (
        Setting("steps", "Training steps", "Steps over all examples at most; each costs two measurements, and each fold trains too.", "int", steps, 1, 500),
        Setting("learning_rate", "Learning rate", "Of AdamW.", "float", 0.002, 0.000001, 0.1),
        Setting("tuned_rank", "Trained rank", "Rank of what is trained.", "int", 8, 1, 64),
    )


def _weights(default: str) -> Setting:
    text = f"How much of each adapter to take. Those that you do not name take {default}; a negative weight subtracts."
    return Setting("weights", "Weights", text, "weights", {}, -10.0, 10.0)


RANK = Setting("max_rank", "Largest rank", "The rank of the result; a smaller one gives a smaller file and cuts the faintest changes.", "int", 16, 1, 256)
MEAN_RANK = Setting(
    "mean_rank",
    "Mean rank",
    "So many ranks for each layer on average, shared out by how much each layer needs; in the serving profile the same for all. 0 is no limit.",
    "int",
    0,
    0,
    256,
)
MAX_BYTES = Setting(
    "max_bytes", "Largest file", "Bytes that the weights file may have; ranks are cut where they carry least. 0 is no limit.", "int", 0, 0, 10_000_000_000
)
PROFILE = Setting(
    "profile",
    "Made for",
    "serving: one rank for all layers, right in every server. peft: a rank for each layer, which some servers cannot read.",
    "choice",
    "serving",
    choices=("serving", "peft"),
)
DTYPE = Setting("dtype", "Stored as", "Number format of the result's tensors.", "choice", "bfloat16", choices=("bfloat16", "float16", "float32"))
FILE = (RANK, MEAN_RANK, MAX_BYTES, PROFILE, DTYPE)  # how the result is written: settings of every method
BY_USE = Setting("by_use", "Cut by use", "Where ranks are cut, keep what your examples use most rather than what is largest.", "bool", False)
SECONDS = Setting(
    "seconds", "Time limit", "Seconds after which the search ends with the best so far; such a run cannot be repeated exactly. 0 is none.", "int", 0, 0, 86_400
)
SHORTLIST = Setting("shortlist", "Modules kept", 'With "find them for me": how many of the tried adapters take part in the mix.', "int", 20, 1, MAX_MODULES)
LEARNING = (SECONDS, SHORTLIST, BY_USE)  # settings of the methods that learn from examples
COMMON = (*LEARNING, *FILE)

DENSITY = "Share of each adapter's numbers that is kept in each layer, "
SIGN = Setting(
    "sign",
    "Majority by",
    "How the sign of each number is voted on: by the sum of the changes, or by counting them.",
    "choice",
    "total",
    choices=("total", "frequency"),
)

METHODS: tuple[Method, ...] = (
    Method(
        "medley",
        "Medley",
        "Learns how much of each adapter to take on each layer, and keeps the mix only if it holds on examples it did not learn from.",
        (_budget(40), *COMMON),
    ),
    Method(
        "cma",
        "Exact mix, blind search",
        "Adds the adapters' changes together and searches their weights without gradients.",
        (_budget(40), Setting("bound", "Largest weight", "Weights stay between minus and plus this number.", "float", 1.5, 0.1, 10.0), *COMMON),
        "nevergrad CMA-ES",
    ),
    Method(
        "lorahub",
        "LoraHub, as published",
        "Mixes the factors instead of the changes. For comparing with the paper; usually worse with more than three adapters.",
        (
            _budget(40),
            Setting("bound", "Largest weight", "Weights stay between minus and plus this number.", "float", 1.5, 0.1, 10.0),
            Setting("l1", "Weight penalty", "Added to the loss of an answer token, per unit of mean absolute weight.", "float", 0.05, 0.0, 10.0),
            *COMMON,
        ),
        "arXiv 2307.13269",
    ),
    Method("select", "One adapter only", "No mixing: publishes the single adapter that does best on your examples.", COMMON),
    Method(
        "tune",
        "Train a new adapter",
        "Trains a small adapter on your examples from scratch, as far as held-out ones say. For comparing: mixing is better where an adapter is near the task.",
        (*_tuning(20), *COMMON),
    ),
    Method(
        "medley+tune",
        "Medley, then training",
        "Mixes as Medley does and trains a small adapter on what is left, if held-out examples say that it pays. Published as one adapter.",
        (_budget(40), *_tuning(10), *COMMON),
        "Chain of LoRA, arXiv 2401.04151",
    ),
    Method(
        "linear",
        "Sum by given weights",
        "Adds the adapters' changes with the weights you give; nothing is searched.",
        (_weights("one over their number"), *FILE),
        needs_examples=False,
    ),
    Method(
        "ties",
        "TIES",
        "Keeps the largest numbers of each adapter's change, votes on each sign, and takes the mean of those that agree.",
        (_weights("1"), Setting("density", "Kept share", DENSITY + "the largest ones.", "float", 0.2, 0.01, 1.0), SIGN, *FILE),
        "arXiv 2306.01708",
        needs_examples=False,
    ),
    Method(
        "dare_ties",
        "DARE with TIES",
        "Drops numbers of each adapter's change at random, makes the rest larger, votes on each sign, and takes the mean of those that agree.",
        (_weights("1"), Setting("density", "Kept share", DENSITY + "drawn by the seed.", "float", 0.5, 0.01, 1.0), SIGN, *FILE),
        "arXiv 2311.03099",
        needs_examples=False,
    ),
    Method(
        "dare_linear",
        "DARE",
        "Drops numbers of each adapter's change at random, makes the rest larger, and adds them with the weights you give.",
        (_weights("one over their number"), Setting("density", "Kept share", DENSITY + "drawn by the seed.", "float", 0.5, 0.01, 1.0), *FILE),
        "arXiv 2311.03099",
        needs_examples=False,
    ),
    Method(
        "magnitude_prune",
        "Largest numbers only",
        "Keeps the largest numbers of each adapter's change and adds them with the weights you give.",
        (_weights("one over their number"), Setting("density", "Kept share", DENSITY + "the largest ones.", "float", 0.5, 0.01, 1.0), *FILE),
        needs_examples=False,
    ),
)
DEFAULT_METHOD = METHODS[0].name
GIVEN_WEIGHTS = frozenset(method.name for method in METHODS if not method.needs_examples)  # methods whose weights are given: examples only score what they make


def method(name: str) -> Method:
    """Return the method called `name`, or raise `unknown-method`."""
    for row in METHODS:
        if row.name == name:
            return row
    raise ComposeError("unknown-method", f"There is no method called {name!r}. Choose one of: {', '.join(m.name for m in METHODS)}.")


def check(method_name: str, settings: Mapping[str, Any]) -> dict[str, Value]:
    """Return every setting of the method with its value, defaults filled in.

    Raises `unknown-method`, `unknown-setting`, `setting-invalid` or `setting-out-of-range`.
    """
    row = method(method_name)
    known = {s.name: s for s in row.settings}
    for name in settings:
        if name not in known:
            raise ComposeError("unknown-setting", f"The method {row.name!r} has no setting {str(name)[:60]!r}. It takes: {', '.join(known)}.")
    return {name: _value(setting, settings.get(name, setting.default)) for name, setting in known.items()}


def problems(method_name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence by name for every setting that the method has and `check` would refuse, where `check` tells of the first alone."""
    found = {}
    for setting in method(method_name).settings:
        try:
            _value(setting, settings.get(setting.name, setting.default))
        except ComposeError as error:
            found[setting.name] = error.message
    return found


def _value(setting: Setting, value: Any) -> Value:
    if setting.kind == "weights":
        return _weights_value(setting, value)
    if setting.kind == "choice":
        if value not in setting.choices:
            raise ComposeError("setting-invalid", f"The setting {setting.name!r} must be one of: {', '.join(setting.choices)}.")
        return str(value)
    if setting.kind == "bool":
        if not isinstance(value, bool):
            raise ComposeError("setting-invalid", f"The setting {setting.name!r} must be true or false.")
        return value
    number = _number(setting, value, f"The setting {setting.name!r}")
    return int(value) if setting.kind == "int" else number


def _number(setting: Setting, value: Any, what: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))
    if not is_number or (setting.kind == "int" and value != int(value)):
        raise ComposeError("setting-invalid", f"{what} must be {'a whole number' if setting.kind == 'int' else 'a number'}.")
    if not setting.minimum <= value <= setting.maximum:
        raise ComposeError("setting-out-of-range", f"{what} must be between {setting.minimum:,.12g} and {setting.maximum:,.12g}.")
    return float(value)


def _weights_value(setting: Setting, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ComposeError("setting-invalid", f'The setting {setting.name!r} must be an object with a number for each adapter, such as {{"acme/sums": 0.5}}.')
    if len(value) > MAX_MODULES:
        raise ComposeError("setting-invalid", f"The setting {setting.name!r} names {len(value)} adapters; at most {MAX_MODULES} can be mixed.")
    return {name: _weight(setting, name, number) for name, number in value.items()}


def _weight(setting: Setting, name: str, number: Any) -> float:
    if isinstance(number, list):
        raise ComposeError("setting-invalid", f"There are {len(number)} weights for {name[:140]!r}. Give it one.")
    return _number(setting, number, f"The weight of {name[:140]!r}")


def check_weights(settings: Mapping[str, Any], ids: Sequence[str]) -> None:
    """Raise `setting-invalid` if weights are given for adapters that do not take part, and `weights-zero` if all are zero."""
    given = settings.get("weights", {})
    strange = next((name for name in given if name not in ids), None)
    if strange is not None:
        raise ComposeError(
            "setting-invalid", f"There is a weight for {strange[:140]!r}, which is not among the adapters. Name it as owner/name, or remove the weight."
        )
    if ids and all(given.get(name, 1.0) == 0 for name in ids):
        raise ComposeError("weights-zero", "Every weight is zero, so the result would be the base model itself. Give at least one adapter a weight.")
