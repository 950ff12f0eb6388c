"""The page about reliability says what the tests say."""

from tests.faults import table


def test_the_table_is_current() -> None:
    assert table.PAGE.read_text() == table.page(), "run: python -m tests.faults.table"


def test_every_row_says_something() -> None:
    rows = table.rows()
    assert len(rows) > 12 and all(row.what and row.tried and row.held for row in rows)
    assert len({row.what for row in rows}) == len(rows)
