"""Methods and their settings as the compose form shows and reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from compose_worker.engine import catalogue
from hub.errors import HubError

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


@dataclass(frozen=True)
class Choice:
    """One method to choose, in words, with its settings."""

    method: catalogue.Method
    words: str
    fields: list[Field]


def choices(form: forms.Form) -> dict[str, list[Choice]]:
    """Return all methods: the plain ones, and the others."""
    rows = {m.name: m for m in catalogue.METHODS}
    plain = [Choice(rows[name], words, _fields(form, rows[name])) for name, words in PLAIN.items()]
    others = [Choice(m, m.summary, _fields(form, m)) for m in catalogue.METHODS if m.name not in PLAIN]
    return {"plain": plain, "others": others}


def given(data: Mapping[str, Any], method: catalogue.Method) -> dict[str, Any]:
    """Return the settings that were sent, as numbers where they are numbers; the catalogue judges them."""
    found: dict[str, Any] = {}
    for setting in method.settings:
        value = data.get(f"{method.name}.{setting.name}")
        if setting.kind == "bool":
            found[setting.name] = value is not None
        elif value is not None and value.strip():
            found[setting.name] = _number(value) if setting.kind in ("int", "float") else _weights(value) if setting.kind == "weights" else value
    return found


def _weights(text: str) -> Any:
    """Read one adapter a line, with its weight after it; a line that is something else is left for the catalogue to refuse."""
    found: dict[str, Any] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *number = line.rsplit(None, 1)
        if name in found:
            told = f"There are two lines with a weight for {name[:140]!r}. Remove one of them."
            raise HubError("setting-invalid", told, fields={"settings": told})
        found[name] = _number("".join(number).replace("\u2212", "-"))
    return found


def _number(text: str) -> Any:
    try:
        number = float(text)
        return int(number) if number.is_integer() else number
    except (ValueError, OverflowError):
        return text


def _fields(form: forms.Form, method: catalogue.Method) -> list[Field]:
    found = []
    for setting in method.settings:
        name = f"{method.name}.{setting.name}"
        value = form.data.get(name) if form.is_bound else form.initial.get(name)
        value = setting.default if value is None else value
        if isinstance(value, dict):
            value = "\n".join(f"{name} {weight:g}" for name, weight in value.items())
        found.append(Field(setting, name, value))
    return found
