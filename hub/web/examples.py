"""Reads examples as people send them: JSONL, JSON, CSV, or lines with a tab."""

import json
import re
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from compose_worker.engine import catalogue
from hub.errors import HubError

MAX_BYTES = 5_000_000
MAX_CELL = 100_000  # far more than an example may have: a quotation mark took the rest of the table for one cell
LINE_END = re.compile(r"\r\n|\r|\n")  # other ends of lines may stand in a text
QUOTED = r'"(?P<quoted>[^"]*(?:""[^"]*)*)"(?!")'
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
    read = {".csv": _csv, ".tsv": _plain}.get(PurePosixPath(name.lower()).suffix, read_text)
    return some(read(text), name)


def read_text(text: str) -> Rows:
    """Return the rows of pasted text: a JSON list, JSON lines, or a table with a tab between input and output, or a comma or semicolon where that is plain."""
    text = text.removeprefix("\ufeff")
    lines = [line for line in LINE_END.split(text) if line.strip()]
    first = lines[0].lstrip() if lines else ""
    if first.startswith("[") and isinstance(found := _json(text), list):
        return _named(found)
    if first.startswith("{") and isinstance(_json(first), dict):
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


def _json(text: str) -> Any:
    """What a JSON text says, control characters in its strings or not; None where it is none."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _json_lines(lines: list[str]) -> Rows:
    return _named([line if (found := _json(line)) is None else found for line in lines])  # the check of the examples says which row it is


def _named(rows: Rows) -> Rows:
    """Refuse rows that all call their parts something else: nobody knows which is which."""
    keys = sorted({key for row in rows if isinstance(row, dict) for key in row})
    if keys and "input" not in keys and "output" not in keys:
        there = ", ".join(f'"{key[:40]}"' for key in keys[:5])
        raise _fault(f'The rows have {there}{" and more" if len(keys) > 5 else ""}. Call what is asked "input" and the answer "output".')
    return rows


def _csv(text: str) -> Rows:
    return _table(_rows(text, _delimiter(text)))


def _plain(text: str) -> Rows:
    """The rows of a table with tabs, or with what else stands between columns where that is plain."""
    if "\t" not in text and _is_table(rows := _rows(text, _delimiter(text))):
        return _table(rows)
    return _table(_rows(text, "\t"))


def _table(cells: list[list[str]]) -> Rows:
    first, second = 0, 1
    if cells and (named := _header(cells[0])):
        first, second = named
        cells = cells[1:]
    elif wide := [row for row in cells if any(cell.strip() for cell in row[2:])]:
        raise _fault(f"The table has {max(map(len, wide))} columns, and its first line does not name them. Name the two that count: input and output.")
    return [{"input": _cell(row, first), "output": _cell(row, second)} for row in cells]


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """The rows that hold anything. A cell in quotation marks may hold everything; one that goes on after them is taken as it is, marks and all."""
    rest = rf"[^{delimiter}\r\n]"
    cell = re.compile(rf'{QUOTED} *(?!{rest})|(?P<torn>(?=")(?:"[^"\t\r\n]*"|{rest})*)|(?P<bare>{rest}*)')
    rows: list[list[str]] = [[]]
    at = 0
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
