"""Reads examples as people send them: JSONL, JSON, CSV, or lines with a tab."""

import json
import re
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from compose_worker.engine import catalogue
from hub.errors import HubError

MAX_BYTES = 5_000_000
MAX_CHARACTERS = 1_500_000  # more than as many examples as are allowed may have, and no more than is read in a few seconds whatever they are
MAX_CELL = 100_000  # far more than an example may have: a quotation mark took the rest of the table for one cell
LINE_END = re.compile(r"\r\n|\r|\n")  # other ends of lines may stand in a text
QUOTED = r'"(?P<quoted>[^"]*(?:""[^"]*)*)"(?!")'
QUOTED_CELL = re.compile(rf"(?:\A|(?<=[,;\t\r\n])){QUOTED}")
SEPARATOR_LINE = re.compile(r"sep=([,;\t])[ \t]*(?:\r\n|\r|\n)", re.IGNORECASE)  # spreadsheets write and read it
SEPARATORS = ("\t", ",", ";")
PARTS = ("input", "output")
Rows = list[Any]  # an input and an output each, or whatever else was sent in their place


def read_file(name: str, stream: BinaryIO) -> Rows:
    """Return the rows of an uploaded file, of which there is at least one."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _fault(f"{name} is larger than {MAX_BYTES // 1_000_000} MB. {catalogue.MAX_EXAMPLES} examples are the most that can be used.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _fault(f"{name} is not a text file in UTF-8. Save it as CSV or JSONL in UTF-8.") from error
    if len(text) > MAX_CHARACTERS:
        raise _fault(f"{name} has more than {MAX_CHARACTERS:,} characters. {catalogue.MAX_EXAMPLES} examples are the most that can be used.")
    read = {".csv": _csv, ".tsv": _plain}.get(PurePosixPath(name.lower()).suffix, read_text)
    return some(read(text), name)


def read_text(text: str) -> Rows:
    """Return the rows of pasted text: a JSON list, JSON lines, or a table with a tab between input and output, or a comma or semicolon where that is plain."""
    text = text.removeprefix("\ufeff")
    lines = [line for line in LINE_END.split(text) if line.strip()]
    first = lines[0].lstrip() if lines else ""
    if first.startswith("[") and isinstance(found := _json(text), list):
        return _named(found)
    if first.startswith("{"):
        _refuse_one_object(text, lines)
        if isinstance(_json(first), dict):
            return _json_lines(lines)
    if not first.startswith(("[", "{")) or any("\t" in line.strip() and _json(line) is None for line in lines):
        return _plain(text)
    if first.startswith("["):
        raise _fault("The examples begin like a JSON list, but are not one. Write one object a line, or a whole list in square brackets.")
    return _json_lines(lines)


def some(rows: Rows, source: str) -> Rows:
    """Return the rows, or say that their source holds none."""
    if not rows:
        raise _fault(f"{source} holds no rows.")
    return rows


def cells(rows: Rows) -> list[dict[str, str]]:
    """Return rows as the table editor shows them; what is no row is kept as an input, whole, so nothing typed is lost."""
    return [_pair(row) or {"input": row if isinstance(row, str) else _as_json(row), "output": ""} for row in rows]


def write(rows: Rows) -> str:
    """Return rows as JSON lines, as read_text takes them."""
    return "\n".join(row if isinstance(row, str) and _is_storable(row) else _as_json(row) for row in rows)


def _pair(row: Any) -> dict[str, str] | None:
    """Both parts of a row; None where two cells cannot say all that it holds."""
    if not isinstance(row, dict) or set(row) - set(PARTS) or not all(value is None or isinstance(value, str) for value in row.values()):
        return None
    return {key: row.get(key) or "" for key in PARTS}


def _as_json(value: Any) -> str:
    """A value as JSON that a page can hold: half of a surrogate pair is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if _is_storable(text) else json.dumps(value)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(message: str) -> HubError:
    return HubError("examples-invalid", message, fields={"examples": message})


def _json(text: str) -> Any:
    """What a JSON text says, control characters in its strings or not; None where it is none. A decimal number is text: 1.10 stays as it was written."""
    try:
        return json.loads(text, strict=False, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _json_lines(lines: list[str]) -> Rows:
    return _named([line if (found := _json(line)) is None else found for line in lines])  # the check of the examples says which row it is


def _refuse_one_object(text: str, lines: list[str]) -> None:
    """Refuse a text that is one object over several lines, or one around a list of rows: its lines are no rows."""
    found = _json(text)
    if isinstance(found, dict) and (len(lines) > 1 or any(_is_list_of_objects(value) for value in found.values())):
        raise _fault("The examples are one JSON object. Write one object a line, or a list in square brackets.")


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _named(rows: Rows) -> Rows:
    """Rows with their numbers as text. Those that all call their parts something else are refused: nobody knows which is which."""
    keys = sorted({key for row in rows if isinstance(row, dict) for key in row})
    if keys and "input" not in keys and "output" not in keys:
        there = ", ".join(_as_json(key[:40]) for key in keys[:5])
        raise _fault(f'The rows have {there}{" and more" if len(keys) > 5 else ""}. Call what is asked "input" and the answer "output".')
    return [_with_text(row) for row in rows]


def _with_text(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    return {key: str(value) if key in PARTS and type(value) is int else value for key, value in row.items()}  # a bool is an int too


def _csv(text: str) -> Rows:
    rows = _split(text)
    return _table(_rows(text, _delimiter(text)) if rows is None else rows)


def _plain(text: str) -> Rows:
    """The rows of a table with tabs, or with what else stands between columns where that is plain."""
    rows = _split(text, tabs_count=True)
    return _table(_rows(text, "\t") if rows is None else rows)


def _split(text: str, *, tabs_count: bool = False) -> list[list[str]] | None:
    """The rows as the separator splits them that the text names, in a line of its own or by its header, or that gives all rows the same width; else None.

    Where tabs count, one outside of quotation marks is no part of a cell.
    """
    if told := SEPARATOR_LINE.match(text):
        return _rows(text, told[1], told.end())
    read, faults = _readings(text)
    if headed := [rows for rows in read.values() if _header(rows[0])]:
        return headed[0]
    if "\t" not in QUOTED_CELL.sub("", text):
        read.pop("\t", None)
    elif tabs_count:
        return read.get("\t")
    if even := [separator for separator, rows in read.items() if _is_even(rows)]:
        return read[_best(even, read)]
    if fault := faults.get(_delimiter(text)):
        raise fault
    return None


def _readings(text: str) -> tuple[dict[str, list[list[str]]], dict[str, HubError]]:
    """The rows by each separator that the text holds, and why it cannot be read by others."""
    read, faults = {}, {}
    for separator in SEPARATORS:
        try:
            if separator in text and (rows := _rows(text, separator)):
                read[separator] = rows
        except HubError as error:
            faults[separator] = error
    return read, faults


def _best(even: list[str], read: dict[str, list[list[str]]]) -> str:
    """The separator that makes two columns; a tab is seldom part of a text, and which of the others is meant nobody knows."""
    pairs = [separator for separator in even if len(read[separator][0]) == len(PARTS)]
    if len(pairs) > 1 and "\t" not in pairs:
        raise _fault("Both commas and semicolons part every row into two. Write input,output or input;output as the first line, or keep to one separator.")
    return (pairs or even)[0]


def _table(cells: list[list[str]]) -> Rows:
    first, second = 0, 1
    if cells and (named := _header(cells[0])):
        first, second = named
        _refuse_wider(cells)
        cells = cells[1:]
    elif cells and _names_one(cells[0]):
        raise _fault("The first line names only one of its two columns. Name the two that count: input and output.")
    elif wide := [row for row in cells if any(cell.strip() for cell in row[2:])]:
        raise _fault(f"The table has {max(map(len, wide))} columns, and its first line does not name them. Name the two that count: input and output.")
    return [{"input": _cell(row, first), "output": _cell(row, second)} for row in cells]


def _refuse_wider(cells: list[list[str]]) -> None:
    """Refuse a row with more cells than its header: a text was torn, and its rest would be lost."""
    header, *rows = map(_width, cells)
    for number, width in enumerate(rows, 1):
        if width > header:
            text = f"Row {number} has {width} cells, and the first line names {header}. Put a cell that holds the separator into quotation marks."
            raise _fault(text)


def _width(row: list[str]) -> int:
    """How many cells a row has up to the last that holds anything."""
    return max((number for number, cell in enumerate(row, 1) if cell.strip()), default=0)


def _rows(text: str, delimiter: str, at: int = 0) -> list[list[str]]:
    """The rows that hold anything. A cell in quotation marks may hold everything; one that goes on after them is taken as it is, marks and all."""
    rest = rf"[^{delimiter}\r\n]"
    cell = re.compile(rf'{QUOTED} *(?!{rest})|(?P<torn>(?=")(?:"[^"\t\r\n]*"|{rest})*)|(?P<bare>{rest}*)')
    rows: list[list[str]] = [[]]
    while found := cell.match(text, at):
        if found["quoted"] is None and text.startswith('"', at):
            _require_closed(text, at)
        rows[-1].append(_checked((found["quoted"] or "").replace('""', '"') or found["torn"] or found["bare"] or ""))
        at = found.end()
        if at == len(text):
            break
        if end := LINE_END.match(text, at):
            rows.append([])
        at = end.end() if end else at + 1
    return [row for row in rows if any(cell.strip() for cell in row)]


def _require_closed(text: str, at: int) -> None:
    """Refuse a quotation mark that is never closed: it would swallow all that follows it."""
    if not re.compile(QUOTED).match(text, at):
        line = len(LINE_END.findall(text, 0, at)) + 1
        raise _fault(f"The quotation mark that begins in line {line} is never closed. Close it, or write it twice inside of quotation marks.")


def _checked(cell: str) -> str:
    if len(cell) > MAX_CELL:
        raise _fault(f"The table cannot be read: a cell has {len(cell):,} characters. Check the quotation marks.")
    return cell


def _header(row: list[str]) -> tuple[int, int] | None:
    """Where input and output stand, if the row says so."""
    names = [cell.strip().lower() for cell in row]
    return (names.index("input"), names.index("output")) if "input" in names and "output" in names else None


def _names_one(row: list[str]) -> bool:
    names = [cell.strip().lower() for cell in row if cell.strip()]
    return len(names) == len(PARTS) and len({*names} & {*PARTS}) == 1


def _is_even(rows: list[list[str]]) -> bool:
    """Whether lines are rows of a table that names no columns: each has two cells, or several lines have as many more each."""
    widths = {len(row) for row in rows}
    return len(widths) == 1 and (widths == {2} or (len(rows) > 1 and min(widths) > 2))


def _cell(row: list[str], number: int) -> str:
    return row[number].strip() if number < len(row) else ""


def _delimiter(text: str) -> str:
    line = next((line for line in LINE_END.split(text) if line.strip()), "")
    return max((",", ";", "\t"), key=line.count)
