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


@pytest.mark.parametrize(
    "text", ["input,output\na,b\n\nHello, world,Hi", "input\toutput\na\tb\nHello\tworld\tHi", "id,input,output,\n1,a,b\n2,Hello, world,Hi"]
)
def test_a_row_that_is_wider_than_its_header_is_refused(text: str) -> None:
    for read in (examples.read_text, lambda text: examples.read_file("x.csv", io.BytesIO(text.encode()))):
        with pytest.raises(
            HubError, match=r"Row 2 has \d cells, and the first line names \d. Put a cell that holds the separator into quotation marks"
        ) as caught:
            read(text)
        assert caught.value.code == "examples-invalid"
    assert examples.read_text("input,output\na,b,\nc,d,  ,") == TWO


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, world;Hallo Welt\nYes;Ja", [("Hello, world", "Hallo Welt"), ("Yes", "Ja")]),
        ('"Hello, you, there";"x"', [("Hello, you, there", "x")]),
        ('"line, one,\nmore";x\nb;c', [("line, one,\nmore", "x"), ("b", "c")]),
        ("\ninput;output\na;b", [("a", "b")]),
        ('input,output\n"a\tb",c', [("a\tb", "c")]),
        ('"a\tb",c\n"d\te",f', [("a\tb", "c"), ("d\te", "f")]),
        ("a, b, c\td\ne\tf", [("a, b, c", "d"), ("e", "f")]),
        ("Hello, you\tHi\nYes, sir\tOk, then", [("Hello, you", "Hi"), ("Yes, sir", "Ok, then")]),
        ("sep=;\ninput;output\na;b", [("a", "b")]),
        ("SEP=;\r\nYes, sir;Ja, ja", [("Yes, sir", "Ja, ja")]),
    ],
)
def test_the_separator_is_the_one_that_fits_every_row(text: str, wanted: list[tuple[str, str]]) -> None:
    for rows in (examples.read_text(text), examples.read_file("x.csv", io.BytesIO(text.encode()))):
        assert [(row["input"], row["output"]) for row in rows] == wanted


def test_tabs_between_pasted_cells_are_the_separator() -> None:
    rows = examples.read_text('Hello, you\tHi\nYes, sir\n5", a\t5" b')
    assert [list(row.values()) for row in rows] == [["Hello, you", "Hi"], ["Yes, sir", ""], ['5", a', '5" b']]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello, world;Hallo Welt\nYes, sir;Jawohl", "Write input,output or input;output as the first line"),
        ("input,label\na,b", "Name the two that count: input and output."),
        ("Text\tOutput\t\na\tb\t", "Name the two that count: input and output."),
        ('input,output\na,"b\nc,d', "begins in line 2 is never closed"),
        ('sep=,\n"a,b', "begins in line 2 is never closed"),
    ],
)
def test_what_a_table_leaves_open_is_asked(text: str, said: str) -> None:
    for read in (examples.read_text, lambda text: examples.read_file("x.csv", io.BytesIO(text.encode()))):
        with pytest.raises(HubError) as caught:
            read(text)
        assert said in caught.value.message


@pytest.mark.parametrize(
    "text", ['{"examples": [{"input": "a", "output": "b"}]}', '{\n  "input": "a",\n  "output": "b"\n}', '{\n"rows": [\n{"input": "a", "output": "b"}\n]}']
)
def test_one_object_around_everything_is_refused(text: str) -> None:
    with pytest.raises(HubError, match="Write one object a line, or a list in square brackets"):
        examples.read_file("x.json", io.BytesIO(text.encode()))
    assert examples.read_text('{"input": "a", "output": "b"}') == TWO[:1]


def test_numbers_are_text_and_other_values_are_not() -> None:
    rows = examples.read_text('{"input": 417, "output": 1.10}\n{"input": "a", "output": true}\n{"input": NaN, "output": "b"}\n{"input": [1], "output": {}}')
    assert rows[:2] == [{"input": "417", "output": "1.10"}, {"input": "a", "output": True}]
    assert examples.cells(rows) == [
        {"input": "417", "output": "1.10"},
        {"input": '{"input": "a", "output": true}', "output": ""},
        {"input": '{"input": NaN, "output": "b"}', "output": ""},
        {"input": '{"input": [1], "output": {}}', "output": ""},
    ]


def test_the_editor_keeps_rows_that_two_cells_cannot_say() -> None:
    lines = ['{"question": "lost?", "answer": "d"}', '{"prompt": "p", "output": "ö"}', '{"instruction": "i", "input": "a", "output": "b"}']
    rows = examples.read_text("\n".join(['{"input": "a", "output": null}', *lines]))
    assert examples.cells(rows) == [{"input": "a", "output": ""}, *({"input": line, "output": ""} for line in lines)]


def test_half_of_a_surrogate_pair_is_written_as_it_is_in_json() -> None:
    rows = [{"input": "\ud800", "output": "ö"}, "\udfff", {"input": "ö", "output": "b"}]
    assert examples.write(rows).split("\n")[2] == '{"input": "ö", "output": "b"}'
    assert examples.read_text(examples.write(rows).encode().decode()) == rows
    with pytest.raises(HubError) as caught:
        examples.read_text('{"\\ud800": "a"}')
    assert caught.value.message.encode()


def test_a_file_with_more_text_than_all_examples_may_have() -> None:
    with pytest.raises(HubError, match="more than 1,500,000 characters"):
        examples.read_file("x.csv", io.BytesIO(b"a,b\n" * 400_000))
