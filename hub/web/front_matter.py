"""What a card's front matter shows on the page: prompts to try (`widget`) and results that the author states (`model-index`)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_PROMPTS, MAX_RESULTS = 12, 60
MAX_TEXT, MAX_NAME = 2000, 120


@dataclass(frozen=True)
class Prompt:
    """One question to ask the adapter, and what it is to answer."""

    title: str
    text: str
    answer: str


@dataclass(frozen=True)
class Result:
    """One measured number, as the author states it."""

    task: str
    dataset: str
    metric: str
    value: str
    source: str


@dataclass(frozen=True)
class FrontMatter:
    """The parts of the front matter that have a place of their own."""

    prompts: list[Prompt]
    results: list[Result]


def read(data: Mapping[str, Any]) -> FrontMatter:
    """Return what is there and has the usual shape; everything else is left out."""
    prompts = [prompt for entry in _list(data.get("widget"))[:MAX_PROMPTS] if (prompt := _prompt(entry))]
    return FrontMatter(prompts, [row for _, row in zip(range(MAX_RESULTS), _results(data), strict=False)])


def _prompt(entry: Any) -> Prompt | None:
    given = _dict(entry)
    said = [(_text(_dict(message).get("role"), MAX_NAME), _text(_dict(message).get("content"))) for message in _list(given.get("messages"))]
    text = _text(given.get("text")) or "\n".join(f"{role}: {content}" for role, content in said if content)[:MAX_TEXT]
    if not text:
        return None
    return Prompt(_text(given.get("example_title"), MAX_NAME), text, _text(_dict(given.get("output")).get("text")))


def _results(data: Mapping[str, Any]) -> Iterator[Result]:
    for model in _list(data.get("model-index")):
        for result in _list(_dict(model).get("results")):
            task, dataset, source = (_dict(_dict(result).get(part)) for part in ("task", "dataset", "source"))
            where = ", ".join(filter(None, (_name(dataset), *(_text(dataset.get(part), MAX_NAME) for part in ("config", "split")))))
            for metric in _list(_dict(result).get("metrics")):
                if value := _number(_dict(metric).get("value")):
                    yield Result(_name(task), where, _name(_dict(metric)), value, _name(source))


def _name(given: Mapping[str, Any]) -> str:
    return _text(given.get("name"), MAX_NAME) or _text(given.get("type"), MAX_NAME)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(value, 40)
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)[:40]


def _text(value: Any, limit: int = MAX_TEXT) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
