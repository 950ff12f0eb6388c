"""The composition methods and their settings as data without torch: form, API schema, docs page and worker read it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compose_worker.engine.errors import ComposeError

Value = int | float | bool | str

MIN_EXAMPLES = 5
MAX_EXAMPLES = 100
MAX_EXAMPLE_CHARACTERS = 8_000  # input and output together; the tokenizer has the last word
MAX_MODULES = 50
MAX_AUTO_MODULES = 100  # how many modules "find them for me" may try alone


@dataclass(frozen=True)
class Setting:
    """One number or choice that a method takes."""

    name: str
    title: str
    help: str
    kind: str  # "int", "float", "bool" or "choice"
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


def _budget(default: int) -> Setting:
    return Setting("budget", "Budget", "How many candidate mixes may be measured on your examples.", "int", default, 1, 1000)


RANK = Setting("max_rank", "Largest rank", "The rank of the result; a smaller one gives a smaller file and cuts the faintest changes.", "int", 16, 1, 256)
DTYPE = Setting("dtype", "Stored as", "Number format of the result's tensors.", "choice", "bfloat16", choices=("bfloat16", "float16", "float32"))
SHORTLIST = Setting("shortlist", "Modules kept", 'With "find them for me": how many of the tried adapters take part in the mix.', "int", 8, 1, MAX_MODULES)
COMMON = (RANK, DTYPE, SHORTLIST)

METHODS: tuple[Method, ...] = (
    Method(
        "medley",
        "Medley",
        "Starts from the best adapter found, adds what helps, and keeps the mix only if it holds on examples it did not learn from.",
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
            Setting("l1", "Weight penalty", "Loss added per unit of mean absolute weight.", "float", 0.05, 0.0, 10.0),
            *COMMON,
        ),
        "arXiv 2307.13269",
    ),
    Method("select", "One adapter only", "No mixing: publishes the single adapter that does best on your examples.", COMMON),
)
DEFAULT_METHOD = METHODS[0].name


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


def _value(setting: Setting, value: Any) -> Value:
    if setting.kind == "choice":
        if value not in setting.choices:
            raise ComposeError("setting-invalid", f"The setting {setting.name!r} must be one of: {', '.join(setting.choices)}.")
        return str(value)
    if setting.kind == "bool":
        if not isinstance(value, bool):
            raise ComposeError("setting-invalid", f"The setting {setting.name!r} must be true or false.")
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))
    if not is_number or (setting.kind == "int" and value != int(value)):
        kind = "a whole number" if setting.kind == "int" else "a number"
        raise ComposeError("setting-invalid", f"The setting {setting.name!r} must be {kind}.")
    if not (setting.minimum is None or value >= setting.minimum) or not (setting.maximum is None or value <= setting.maximum):
        raise ComposeError("setting-out-of-range", f"The setting {setting.name!r} must be between {setting.minimum:g} and {setting.maximum:g}.")
    return int(value) if setting.kind == "int" else float(value)
