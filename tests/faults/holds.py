"""Stops a process of the hub exactly where it writes a certain row: a trigger in the database makes it wait for a lock that the test holds."""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

NUMBERS = itertools.count(20_000)
TABLES = ("hub_logline", "hub_evaluation", "hub_adapter", "hub_revision")
INSTALL = """
CREATE TABLE IF NOT EXISTS faults_hold (place text, patterns text[], number bigint);
CREATE OR REPLACE FUNCTION faults_wait() RETURNS trigger AS $$
DECLARE hold record;
BEGIN
  FOR hold IN SELECT * FROM faults_hold WHERE place = TG_TABLE_NAME LOOP
    IF to_jsonb(NEW)::text LIKE ALL (hold.patterns) THEN
      PERFORM pg_advisory_lock_shared(hold.number);
      PERFORM pg_advisory_unlock_shared(hold.number);
    END IF;
  END LOOP;
  RETURN NEW;
END $$ LANGUAGE plpgsql;
"""


class Holds:
    """The lock of a test, over a connection of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(INSTALL)
            for table in TABLES:
                connection.execute(f"CREATE OR REPLACE TRIGGER faults_wait BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION faults_wait()")
            connection.execute("DELETE FROM faults_hold")

    @contextmanager
    def at(self, table: str, /, **columns: object) -> Iterator["Hold"]:
        """Whoever writes a row with these values (texts: that begin so) waits until this ends, or is let go."""
        hold = Hold(self.address, table, [_pattern(name, value) for name, value in columns.items()])
        try:
            yield hold
        finally:
            hold.let_go()


class Hold:
    """One place at which processes wait."""

    def __init__(self, address: str, table: str, patterns: list[str]) -> None:
        self._connection = psycopg.connect(address, autocommit=True)
        self._number = next(NUMBERS)
        self._connection.execute("SELECT pg_advisory_lock(%s)", [self._number])
        self._connection.execute("INSERT INTO faults_hold VALUES (%s, %s, %s)", [table, patterns, self._number])

    def wait(self, count: int = 1, seconds: float = 200) -> None:
        """Wait until somebody waits here."""
        deadline = time.monotonic() + seconds
        while self.waiting() < count:
            assert time.monotonic() < deadline, "nobody came to the place where the test waits for them"
            time.sleep(0.02)

    def waiting(self) -> int:
        """How many wait here."""
        row = self._connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", [self._number]).fetchone()
        assert row is not None
        return int(row[0])

    def let_go(self) -> None:
        """Let whoever waits go on; nobody is held here any more."""
        if self._connection.closed:
            return
        try:
            self._connection.execute("DELETE FROM faults_hold WHERE number = %s", [self._number])
        except (psycopg.OperationalError, psycopg.InterfaceError):  # the server has been restarted meanwhile, and its locks are gone
            pass
        finally:
            self._connection.close()


def _pattern(name: str, value: object) -> str:
    """A LIKE pattern for a column in a row as JSON."""
    if isinstance(value, str):
        return f'%"{name}": {json.dumps(value)[:-1]}%'
    return f'%"{name}": {value}%'
