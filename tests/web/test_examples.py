"""Examples as people send them."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError
from hub.web import examples

TWO = [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "input,output\na,b\nc,d\n"),
        ("x.csv", "\ufeffinput,output\r\na,b\r\n\r\nc,d"),
        ("x.csv", "Output;id;Input\nb;1;a\nd;2;c"),
        ("x.csv", "a,b\nc,d"),
        ("x.CSV", '"a","b"\n"c","d"'),
        ("x.tsv", "a\tb\nc\td"),
        ("x.tsv", "input\toutput\na\tb\nc\td"),
        ("x.jsonl", '{"input": "a", "output": "b"}\n\n{"input": "c", "output": "d"}\n'),
        ("x.json", '[{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]'),
        ("x.txt", "a\tb\nc\td"),
        ("x.txt", "\ufeffinput,output\na,b\nc,d"),
        ("x.txt", "a;b\nc;d"),
    ],
)
def test_it_works(name: str, text: str) -> None:
    assert examples.read_file(name, io.BytesIO(text.encode())) == TWO


def test_cells_with_line_breaks_and_quotes() -> None:
    assert examples.read_file("x.csv", io.BytesIO(b'"a\nb","say ""hi"""\n')) == [{"input": "a\nb", "output": 'say "hi"'}]


def test_a_missing_cell_is_empty() -> None:
    assert examples.read_text("only one\n\nx\ty") == [{"input": "only one", "output": ""}, {"input": "x", "output": "y"}]


def test_what_is_no_row_is_kept_for_the_check() -> None:
    rows = examples.read_text('{"input": "a", "output": "b"}\nnot json\n[1]')
    assert rows == [{"input": "a", "output": "b"}, "not json", [1]]
    assert examples.cells(rows)[1:] == [{"input": "not json", "output": ""}, {"input": "[1]", "output": ""}]
    assert examples.cells([{"input": 5, "output": None}]) == [{"input": "5", "output": "null"}]


def test_writing_is_reading_backwards() -> None:
    rows = [{"input": "ä\t\n", "output": '"'}, {"input": "x\u2028y\u2029\x85\x0b\x0c", "output": "y"}]
    assert examples.read_text(examples.write(rows)) == rows


@pytest.mark.parametrize("text", ["[1, 2", "[" * 100_000, '[{"input": ]'])
def test_a_broken_list(text: str) -> None:
    with pytest.raises(HubError, match="JSON list"):
        examples.read_text(text)


def test_a_huge_cell_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(HubError, match="cannot be read"):
        examples.read_file("x.csv", io.BytesIO(b"a," + b"x" * 200_000))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}', '"completion", "prompt"'),
        ('[{"question": "a", "answer": "b"}]', 'Call what is asked "input" and the answer "output"'),
        ("id,question,answer\n1,a,b\n2,c,d", "has 3 columns, and its first line does not name them"),
        ("1\ta\tb\n2\tc\td", "has 3 columns, and its first line does not name them"),
    ],
)
def test_parts_that_nobody_can_tell_apart_are_named(text: str, said: str) -> None:
    with pytest.raises(HubError) as caught:
        examples.read_text(text)
    assert caught.value.code == "examples-invalid" and said in caught.value.message


def test_a_file_with_more_columns_must_name_them() -> None:
    with pytest.raises(HubError, match="has 3 columns"):
        examples.read_file("x.csv", io.BytesIO(b"id,question,answer\n1,a,b\n"))
    assert examples.read_file("x.csv", io.BytesIO(b"id,input,output\n1,a,b\n")) == [{"input": "a", "output": "b"}]
    assert examples.read_file("x.csv", io.BytesIO(b"a,b,\nc,d,\n")) == [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]


def test_nothing() -> None:
    assert examples.read_text("") == examples.read_text(" \n\n") == []


@pytest.mark.parametrize("text", ["input,output\na,b\nc,d", "output;input;id\nb;a;1\nd;c;2", "a,b\nc,d\n"])
def test_a_pasted_table(text: str) -> None:
    assert examples.read_text(text) == TWO


def test_pasted_lines_with_commas_are_no_table() -> None:
    for text in ("Good morning, dear all\nYes\nOne, two, three", "One, two, three"):
        assert [row["input"] for row in examples.read_text(text)] == text.split("\n")


@pytest.mark.parametrize("text", ['input,output\na,b\n"c,d\ne,f', 'input\toutput\na\tb\n"c\td\ne\tf'])
def test_a_quotation_mark_that_is_never_closed_is_named(text: str) -> None:
    with pytest.raises(HubError, match="begins in line 3 is never closed"):
        examples.read_text(text)


def test_quotation_marks_inside_of_texts_are_texts() -> None:
    assert examples.read_text('say "hi"\tb\n"so" she said\td') == [{"input": 'say "hi"', "output": "b"}, {"input": '"so" she said', "output": "d"}]
    torn = '"Yes" or "no"?\t"ok"\n"so she said\tb\nhe said "hi"\t5"\n""\t""""'
    assert [list(row.values()) for row in examples.read_text(torn)] == [['"Yes" or "no"?', "ok"], ['"so she said', "b"], ['he said "hi"', '5"'], ["", '"']]
    assert examples.read_file("x.csv", io.BytesIO(b'"Yes, sir" or "No, sir",5"\n"a, b" , c')) == [
        {"input": '"Yes, sir" or "No, sir"', "output": '5"'},
        {"input": "a, b", "output": "c"},
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.text(alphabet='ab,;\t"\n\r ', max_size=8), max_size=8))
def test_what_a_spreadsheet_writes_is_read(delimiter: str, cells: list[str]) -> None:
    rows = list(zip(cells[::2], cells[1::2], strict=False))
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows([("input", "output"), *rows])
    wanted = [{"input": asked.strip(), "output": told.strip()} for asked, told in rows if asked.strip() or told.strip()]
    assert examples._csv(written.getvalue()) == wanted


@pytest.mark.parametrize(
    ("asked", "told"),
    [("[3, 1, 2]", "[1, 2, 3]"), ("[INST] hi", "yes"), ("{x} plus 1", "yes"), ('{"input": "a"}', '{"output": "b"}'), ("[]", "{}")],
)
def test_cells_that_begin_like_json(asked: str, told: str) -> None:
    text = f"{asked}\t{told}\na\tb\n"
    wanted = [{"input": asked, "output": told}, TWO[0]]
    assert examples.read_text(text) == wanted
    for name in ("x.tsv", "x.txt", "x.csv") if "," not in text else ("x.tsv", "x.txt"):
        assert examples.read_file(name, io.BytesIO(text.encode())) == wanted


def test_a_table_of_a_file_is_one_whatever_its_cells_hold() -> None:
    assert examples.read_file("x.tsv", io.BytesIO(b'{"a": 1}\t\n[2]\n')) == [{"input": '{"a": 1}', "output": ""}, {"input": "[2]", "output": ""}]


def test_tabs_of_json_are_no_columns() -> None:
    lines = '{"input":\t"a\tb",\t"output": "c"}\nnone\tof it'
    assert examples.read_text(lines) == [{"input": "a\tb", "output": "c"}, "none\tof it"]
    assert examples.read_text('[\n\t{\n\t\t"input": "a",\n\t\t"output": "b"\n\t}\n]') == TWO[:1]
    with pytest.raises(HubError, match="JSON list"):
        examples.read_text('[\n\t{"input": "a" "output": "b"}\n]')


@pytest.mark.parametrize(("name", "text"), [("x.csv", ""), ("x.csv", "input,output\n"), ("x.tsv", "\n \n"), ("x.jsonl", ""), ("x.json", "[]")])
def test_a_file_without_rows_says_so(name: str, text: str) -> None:
    with pytest.raises(HubError, match=f"{name} holds no rows.") as caught:
        examples.read_file(name, io.BytesIO(text.encode()))
    assert caught.value.code == "examples-invalid"
