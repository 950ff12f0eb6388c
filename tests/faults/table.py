"""Makes the table of docs/reliability.md from the tests of this folder; `python -m tests.faults.table` writes it into its page."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
Test = TypeVar("Test", bound=Callable)


class Row(NamedTuple):
    """What was broken, what was tried, what held, and the test that shows it."""

    what: str
    tried: str
    held: str
    test: str


def fault(what: str, tried: str, held: str) -> Callable[[Test], Test]:
    """Say what a test breaks and what must hold. The table reads this from the source; the test itself stays as it is."""
    return lambda test: test


def rows() -> list[Row]:
    """Return what the tests say, as they come."""
    return [row for path in sorted(FOLDER.glob("test_*.py")) for row in _of(path)]


def table() -> str:
    """Return the table in Markdown."""
    lines = ["| fault | tried | held | test |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.tried} | {row.held} | `{row.test}` |" for row in rows())])


def page() -> str:
    """Return the page with the table in its place."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def _of(path: Path) -> list[Row]:
    found = []
    for node in ast.parse(path.read_text()).body:
        marks = node.decorator_list if isinstance(node, ast.FunctionDef) else []
        for mark in marks:
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "fault" and isinstance(node, ast.FunctionDef):
                what, tried, held = (str(ast.literal_eval(argument)) for argument in mark.args)
                found.append(Row(what, tried, held, f"{path.stem}::{node.name}"))
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
