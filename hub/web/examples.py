"""Reads examples as people send them: JSONL, JSON, CSV, or lines with a tab."""

import csv
import io
import json
import re
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from compose_worker.engine import catalogue
from hub.errors import HubError

MAX_BYTES = 5_000_000
Rows = list[Any]  # an input and an output each, or whatever else was sent in their place


def read_file(name: str, stream: BinaryIO) -> Rows:
    """Return the rows of an uploaded file."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _fault(f"{name} is larger than {MAX_BYTES // 1_000_000} MB. {catalogue.MAX_EXAMPLES} examples are the most that can be used.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _fault(f"{name} is not a text file in UTF-8. Save it as CSV or JSONL in UTF-8.") from error
    suffix = PurePosixPath(name.lower()).suffix
    if suffix == ".csv":
        return _table(_rows(text, _delimiter(text)))
    return read_text(text)


def read_text(text: str) -> Rows:
    """Return the rows of pasted text: a JSON list, JSON lines, or a table with a tab between input and output, or a comma or semicolon where that is plain."""
    text = text.removeprefix("\ufeff")
    start = text.lstrip()[:1]
    if start == "[":
        return _list(text)
    if start == "{":
        return _lines(text)
    if "\t" not in text and _is_table(rows := _rows(text, _delimiter(text))):
        return _table(rows)
    return _table(_rows(text, "\t"))


def cells(rows: Rows) -> list[dict[str, str]]:
    """Return rows as the table editor shows them; what is no row is kept as an input, so nothing typed is lost."""
    found = []
    for row in rows:
        pair = row if isinstance(row, dict) else {"input": row}
        found.append({key: value if isinstance(value := pair.get(key, ""), str) else json.dumps(value, ensure_ascii=False) for key in ("input", "output")})
    return found


def write(rows: Rows) -> str:
    """Return rows as JSON lines, as read_text takes them."""
    return "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)


def _fault(message: str) -> HubError:
    return HubError("examples-invalid", message, fields={"examples": message})


def _list(text: str) -> Rows:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _fault("The examples begin like a JSON list, but are not one. Write one object a line, or a whole list in square brackets.") from error
    return _named(list(found))


def _lines(text: str) -> Rows:
    return _named([_line(line) for line in re.split(r"\r\n|\r|\n", text) if line.strip()])  # other ends of lines may stand in a text


def _named(rows: Rows) -> Rows:
    """Refuse rows that all call their parts something else: nobody knows which is which."""
    keys = sorted({key for row in rows if isinstance(row, dict) for key in row})
    if keys and "input" not in keys and "output" not in keys:
        there = ", ".join(f'"{key[:40]}"' for key in keys[:5])
        raise _fault(f'The rows have {there}{" and more" if len(keys) > 5 else ""}. Call what is asked "input" and the answer "output".')
    return rows


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line  # the check of the examples says which row it is


def _table(cells: list[list[str]]) -> Rows:
    first, second = 0, 1
    if cells and (named := _header(cells[0])):
        first, second = named
        cells = cells[1:]
    elif wide := [row for row in cells if any(cell.strip() for cell in row[2:])]:
        raise _fault(f"The table has {max(map(len, wide))} columns, and its first line does not name them. Name the two that count: input and output.")
    return [{"input": _cell(row, first), "output": _cell(row, second)} for row in cells]


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """The rows that hold anything; a quotation mark that is never closed would swallow all that follow it."""
    last = 0
    try:
        strict = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for _ in strict:
            last = strict.line_num
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise _fault(
                f"The quotation mark that begins in line {last + 1} is never closed. Close it, or write it twice inside of quotation marks."
            ) from error
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise _fault(f"The table cannot be read: {error}. Check the quotation marks.") from error
    return [row for row in rows if any(cell.strip() for cell in row)]


def _header(row: list[str]) -> tuple[int, int] | None:
    """Where input and output stand, if the row says so."""
    names = [cell.strip().lower() for cell in row]
    return (names.index("input"), names.index("output")) if "input" in names and "output" in names else None


def _is_table(rows: list[list[str]]) -> bool:
    """Whether pasted lines are rows of a table: their first line names the columns, or each has two; several that have as many more each are one too."""
    if not rows or _header(rows[0]) is not None:
        return bool(rows)
    widths = {len(row) for row in rows}
    return len(widths) == 1 and (widths == {2} or (len(rows) > 1 and min(widths) > 2))


def _cell(row: list[str], number: int) -> str:
    return row[number].strip() if number < len(row) else ""


def _delimiter(text: str) -> str:
    line = text.split("\n", 1)[0]
    return max((",", ";", "\t"), key=line.count)
