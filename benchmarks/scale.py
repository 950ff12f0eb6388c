"""What the hub's work costs as the catalogue and the queue grow, on a throw-away PostgreSQL: python -m benchmarks.scale [--sizes 1000,10000,100000,1000000].

A database of your own (DATABASE_URL, an empty PostgreSQL) and --results let a long run go on where it was interrupted.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "benchmarks" / "scale.md"
SIZES = "1000,10000,100000,1000000"
QUEUES = "0,100,1000,10000"
FLAT = 1.6  # times as much for ten times the rows: what an index that is a step deeper and memory that is a little colder cost
Probe = Callable[[], Any]
Cell = tuple[float, int]  # milliseconds, queries
Row = dict[int, Cell]  # by size


def main() -> None:
    """Grow, measure, print, and write the report."""
    options = _options()
    sizes, queues = ([int(part) for part in text.split(",")] for text in (options.sizes, options.queues))
    _refuse_odd(sizes)
    with tempfile.TemporaryDirectory(prefix="medley-scale-") as folder:
        load = os.getloadavg()[0]
        _set_up(Path(folder))
        end = time.monotonic() + options.minutes * 60
        state = State.at(options.results)
        _measure(state, sizes, queues, options.seconds, end)
        text = _report(state.tables, state.notes, load)
    print(text)
    if options.report:
        REPORT.write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help="numbers of adapters, each a whole multiple of the one before and of 1000")
    parser.add_argument("--queues", default=QUEUES, help="numbers of jobs that wait, growing")
    parser.add_argument("--seconds", type=float, default=1, help="how long each thing is done over and over; it is done at least three times")
    parser.add_argument("--minutes", type=float, default=60, help="after which no larger catalogue is begun")
    parser.add_argument("--results", type=Path, help="a file by which an interrupted run goes on; DATABASE_URL then names a database that stays")
    parser.add_argument("--no-report", dest="report", action="store_false", help=f"do not write {REPORT.relative_to(ROOT)}")
    return parser.parse_args()


def _refuse_odd(sizes: list[int]) -> None:
    from itertools import pairwise

    if any(large % small or large <= small for small, large in pairwise(sizes)):
        raise SystemExit("Each size is a whole multiple of the one before.")


def _set_up(folder: Path) -> None:
    """Point the project to servers and a store of its own, before Django reads its settings."""
    from tests import servers

    given = os.environ.get("DATABASE_URL", "")
    settings = {
        "DATABASE_URL": given if given.startswith("postgres") else servers.postgres(servers.temporary_folder()),
        "CELERY_BROKER_URL": "filesystem://",
        "CACHE_URL": "locmemcache://scale",
        "MEDLEY_DATA": str(folder),
        "DJANGO_SETTINGS_MODULE": "benchmarks.plain_settings",
        "THROTTLE_ANON": "100000000/min",
        "DEBUG": "0",
        "ALLOWED_HOSTS": "testserver,localhost",
        "X_ACCEL": "/_blobs",
    }
    os.environ |= settings
    import django
    from django.core.management import call_command

    django.setup()
    from django.db import connection

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:  # one process does all the work of a query, so that what it computes is seen
        cursor.execute("ALTER ROLE CURRENT_USER SET max_parallel_workers_per_gather = 0")
    connection.close()


def _measure(state: "State", sizes: list[int], queues: list[int], seconds: float, end: float) -> None:
    """Measure what each thing costs by size, and note what there was no time for."""
    from benchmarks import scale_catalogue, scale_probes

    for size in (size for size in sizes if size > state.adapters):
        if state.adapters and time.monotonic() > end:
            state.notes.append(f"There was no time for {size:,} adapters.")
            break
        start = time.perf_counter()
        scale_catalogue.grow(state.adapters, size)
        state.adapters = size
        state.notes.append(f"Making {size:,} adapters took {time.perf_counter() - start:.0f} s; the database has {_gigabytes():.1f} GB then.")
        _fill_column(state, size, scale_probes.of_catalogue(), seconds)
    for number in (number for number in queues if number > state.waiting):
        scale_catalogue.queue(max(0, state.waiting), number)
        state.waiting = number
        _fill_column(state, number, scale_probes.of_queue(), seconds)


@dataclass
class State:
    """What was measured so far, and what the database holds; kept in a file, so that a long run can go on where it was interrupted."""

    path: Path | None
    adapters: int = 0
    waiting: int = -1
    tables: dict[str, dict[str, Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, path: Path | None) -> Self:
        """Return what a file holds, or a beginning."""
        if path is None or not path.exists():
            return cls(path)
        found = json.loads(path.read_text())
        rows = found.pop("tables")
        tables = {title: {name: {int(size): tuple(cell) for size, cell in row.items()} for name, row in group.items()} for title, group in rows.items()}
        return cls(path, tables=tables, **found)

    def keep(self) -> None:
        """Write it down."""
        if self.path is not None:
            found = {name: value for name, value in asdict(self).items() if name != "path"}
            self.path.write_text(json.dumps(found))


def _fill_column(state: State, size: int, probes: dict[str, dict[str, Probe]], seconds: float) -> None:
    for title, group in probes.items():
        for name, probe in group.items():
            cell = _cost(probe, seconds)
            state.tables.setdefault(title, {}).setdefault(name, {})[size] = cell
            print(f"{size:>9,}  {name:<60} {cell[0]:9.1f} ms  {cell[1]:3} queries", flush=True)
    state.keep()


def _cost(probe: Probe, seconds: float) -> Cell:
    """Return the median of the milliseconds that site and database compute, and the queries of one time."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    probe()
    with CaptureQueriesContext(connection) as captured:
        probe()
    queries = len(captured)  # now: the next request begins a new list
    times: list[float] = []
    spent = 0.0
    end = time.perf_counter() + seconds
    while (time.perf_counter() < end or len(times) < 3) and spent < 10 * seconds + 10:
        start, busy = time.perf_counter(), _computed()
        probe()
        times.append(_computed() - busy)
        spent += time.perf_counter() - start
    return median(times) * 1000, queries


def _computed() -> float:
    """Return the seconds that this process and the database's process for it have computed, which others on the machine hardly change."""
    from django.db import connection

    connection.ensure_connection()
    database = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text().split()[0]
    return time.process_time() + int(database) / 1e9


def _gigabytes() -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return float(cursor.fetchone()[0]) / 1e9


def growth(row: Row) -> float:
    """How many times as much for ten times the rows, over the last step; what costs a millisecond or two counts as flat."""
    sizes = sorted(size for size in row if size)
    if len(sizes) < 2:
        return 1.0
    before, after = sizes[-2:]
    return float((max(row[after][0], 2.0) / max(row[before][0], 2.0)) ** (1 / math.log10(after / before)))


def _report(tables: dict[str, dict[str, Row]], notes: list[str], load: float) -> str:
    from benchmarks.transfer_report import Machine

    machine = Machine(os.cpu_count() or 1, Machine.now().gigabytes, load)
    busy = "" if load < machine.cores / 4 else "\n**The machine was busy with other things: read the growth, not the milliseconds.**\n"
    parts = "\n".join(f"## {title}\n\n{_table(rows)}\n" for title, rows in tables.items())
    return f"""# What grows

`python -m benchmarks.scale` wrote this page. {machine}
{busy}
PostgreSQL as it is installed (128 MB of shared buffers), on the same machine. Numbers are milliseconds that the site's process and the database's compute
together, as the operating system counts them, the median of three times or more: what else runs on the machine changes them little, and waiting for disks
is not in them. "Growth" is how many times as much it takes for ten times the rows, over the last step; up to {FLAT:g} counts as flat. What the site keeps
between requests (pages for strangers) is forgotten before each time. A third of the adapters are of one base model, and one word stands in every card.

{parts}
{" ".join(notes)}
"""


def _table(rows: dict[str, Row]) -> str:
    sizes = sorted({size for row in rows.values() for size in row})
    head = "| | " + " | ".join(f"{size:,}" for size in sizes) + " | queries | growth |"
    lines = [head, "|---|" + "---:|" * (len(sizes) + 2)]
    for name, row in rows.items():
        cells = " | ".join(f"{row[size][0]:.1f}" if size in row else "" for size in sizes)
        rate = growth(row)
        shown = f"{rate:.1f}" if rate <= FLAT else f"**{rate:.1f}**"
        lines.append(f"| {name} | {cells} | {max(queries for _, queries in row.values())} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
