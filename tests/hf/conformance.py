"""Makes the table of what works with Hugging Face clients from the tests of this folder; `python -m tests.hf.conformance` writes it into its page."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parents[1] / "docs" / "huggingface.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
ANSWERS = ("works", "differs", "501")
Test = TypeVar("Test", bound=Callable)


class Row(NamedTuple):
    """One call of a client, how Medley answers, and the test that shows it."""

    area: str
    call: str
    answer: str
    note: str
    test: str


def conforms(area: str, call: str, answer: str = "works", note: str = "") -> Callable[[Test], Test]:
    """Say which call a test proves. The table reads this from the source; the test itself stays as it is."""
    assert answer in ANSWERS, answer
    return lambda test: test


def rows() -> list[Row]:
    """Return what the tests say, sorted by area as they come."""
    return [row for path in sorted(FOLDER.glob("test_*.py")) for row in _of(path)]


def table() -> str:
    """Return the table in Markdown."""
    lines = ["| client | call | answer | | test |", "|---|---|---|---|---|"]
    areas = list(dict.fromkeys(row.area for row in rows()))
    for row in sorted(rows(), key=lambda r: areas.index(r.area)):
        lines.append(f"| {row.area} | `{row.call}` | {row.answer} | {row.note} | `{row.test}` |")
    return "\n".join(lines)


def page() -> str:
    """Return the page with the table in its place."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def _of(path: Path) -> Iterator[Row]:
    tree = ast.parse(path.read_text())
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names.update(_constants(node.targets[0], node.value))
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "conforms":
                    area, call, answer, note, *_ = [*(_text(a, names) for a in mark.args), "", "", ""]
                    named = {str(k.arg): _text(k.value, names) for k in mark.keywords}
                    yield Row(area, call, named.get("answer", answer) or "works", named.get("note", note), f"{path.stem}::{node.name}")


def _constants(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for inner, text in zip(target.elts, value.elts, strict=True):
            yield from _constants(inner, text)
    elif isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield target.id, value.value


def _text(node: ast.expr, names: dict[str, str]) -> str:
    return names[node.id] if isinstance(node, ast.Name) else str(ast.literal_eval(node))


if __name__ == "__main__":
    PAGE.write_text(page())
