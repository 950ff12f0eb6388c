"""The page about Hugging Face clients says what the tests say."""

from tests.hf import conformance


def test_the_table_is_current():
    assert conformance.PAGE.read_text() == conformance.page(), "run: python -m tests.hf.conformance"


def test_every_row_says_something():
    rows = conformance.rows()
    assert len(rows) > 30
    assert all(row.area and row.call and row.answer in conformance.ANSWERS for row in rows)
    assert len({(row.area, row.call) for row in rows}) == len(rows)
