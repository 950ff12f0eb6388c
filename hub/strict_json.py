"""Reads JSON that strangers sent: no duplicate keys, no NaN, bounded nesting and bounded numbers."""

import json
from typing import Any

MAX_DEPTH = 16
MAX_DIGITS = 25


class JsonFault(ValueError):
    """Why a text is not the JSON we accept, in words that fit after "... is not valid JSON: "."""


def shown(text: object, limit: int = 80) -> str:
    """`text` in a form that is safe inside a message: one short line without invisible characters."""
    line = "".join(character if character.isprintable() else "\ufffd" for character in str(text)[: limit + 1])
    return f"{line[:limit]}..." if len(line) > limit else line


def loads(raw: bytes) -> Any:
    """The value of a JSON text, or JsonFault. The caller bounds the length of `raw` first."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
    except UnicodeDecodeError:
        raise JsonFault("it is not UTF-8 text") from None
    except RecursionError:
        raise JsonFault("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise JsonFault(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    _check_depth(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonFault(f'the key "{shown(twice)}" appears twice')
    return found


def _integer(digits: str) -> int:
    # Python reads a number of n digits in n*n time, and refuses over 4300 of them with an error of its own.
    if len(digits) > MAX_DIGITS:
        raise JsonFault("it holds a number with too many digits")
    return int(digits)


def _constant(name: str) -> float:
    raise JsonFault(f"{name} is not a JSON number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for container in level for item in _children(container)]
        if not level:
            return
    raise JsonFault("it is nested too deeply")


def _children(container: Any) -> list[Any]:
    items = container.values() if isinstance(container, dict) else container if isinstance(container, list) else ()
    return [item for item in items if isinstance(item, (dict, list))]
