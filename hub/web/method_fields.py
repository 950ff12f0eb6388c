"""Methods and their settings as the compose form shows and reads them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from compose_worker.engine import catalogue

# What a newcomer chooses between, in plain words; the other methods are folded away, with the catalogue's own words.
PLAIN = {
    "medley": "Finds out how much of each adapter helps, and publishes the mix only if it also does better on examples that it did not learn from.",
    "select": "Tries the adapters one by one and publishes the one that answers your examples best. The quickest.",
    "medley+tune": "Mixes first, then trains a little on your examples for what no adapter brings, if that pays. Takes longer.",
}


@dataclass(frozen=True)
class Field:
    """One setting of a method, as a form field."""

    setting: catalogue.Setting
    name: str
    value: Any
    problem: str = ""


@dataclass(frozen=True)
class Choice:
    """One method to choose, in words, with its settings."""

    method: catalogue.Method
    words: str
    fields: list[Field]


def choices(form: forms.Form, problems: Mapping[str, str]) -> dict[str, list[Choice]]:
    """Return all methods: the plain ones, and the others. Problems are of the method that is chosen, under "settings." and a setting's name."""
    rows = {m.name: m for m in catalogue.METHODS}
    chosen = form["method"].value()
    words = {**PLAIN, **{m.name: m.summary for m in catalogue.METHODS if m.name not in PLAIN}}
    found = [Choice(rows[name], said, _fields(form, rows[name], problems if name == chosen else {})) for name, said in words.items()]
    return {"plain": found[: len(PLAIN)], "others": found[len(PLAIN) :]}


def said_of(setting: catalogue.Setting, problem: str) -> str:
    """Return the catalogue's sentence as it is told at the setting's own field, which bears its title."""
    return problem if setting.kind == "weights" else problem.replace(f"The setting {setting.name!r} must", "Must", 1)


def given(data: Mapping[str, Any], method: catalogue.Method) -> dict[str, Any]:
    """Return the settings that were sent, as numbers where they are numbers; the catalogue judges them. What is no text is a value already."""
    found: dict[str, Any] = {}
    for setting in method.settings:
        value = data.get(f"{method.name}.{setting.name}")
        if setting.kind == "bool":
            found[setting.name] = value if isinstance(value, bool) else value is not None
        elif isinstance(value, str) and value.strip():
            found[setting.name] = _number(value) if setting.kind in ("int", "float") else _weights(value) if setting.kind == "weights" else value
        elif value is not None and not isinstance(value, str):
            found[setting.name] = value
    return found


def _weights(text: str) -> Any:
    """Read one adapter a line, with its weight after it; a line that is something else is left for the catalogue to refuse."""
    found: dict[str, list[Any]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *number = line.rsplit(None, 1)
        found.setdefault(name, []).append(_number("".join(number).replace("\u2212", "-")))
    return {name: weights[0] if len(weights) == 1 else weights for name, weights in found.items()}


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number


def _fields(form: forms.Form, method: catalogue.Method, problems: Mapping[str, str]) -> list[Field]:
    found = []
    for setting in method.settings:
        name = f"{method.name}.{setting.name}"
        value = form.data.get(name) if form.is_bound else form.initial.get(name)
        value = setting.default if value is None else value
        if isinstance(value, dict):
            value = "\n".join(f"{name} {str(float(weight)).removesuffix('.0')}" for name, weight in value.items())
        found.append(Field(setting, name, value, said_of(setting, problems.get(f"settings.{setting.name}", ""))))
    return found
