"""Finds what no database stores as text: NUL characters and halves of surrogate pairs."""

import math
from typing import Any


def fault(value: str) -> str:
    """Return why `value` cannot be stored, or an empty string."""
    if "\x00" in value:
        return "it holds a NUL character."
    try:
        value.encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair."
    return ""


def faults(value: Any, path: str = "") -> dict[str, str]:
    """Return what is wrong with the texts and numbers inside a JSON value, by path."""
    if isinstance(value, str):
        problem = fault(value)
        return {path: problem} if problem else {}
    if isinstance(value, float) and not math.isfinite(value):
        return {path: "it is too large a number."}
    found: dict[str, str] = {}
    if isinstance(value, dict):
        for key, item in value.items():
            if problem := fault(key):
                found[path] = f"a name in it cannot be used: {problem}"
            found |= faults(item, f"{path}.{key}".strip("."))
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            found |= faults(item, f"{path}.{number}".strip("."))
    return found
