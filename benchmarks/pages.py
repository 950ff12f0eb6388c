"""What the pages and listings of a large catalogue cost, beside an empty Django view in the same run: python -m benchmarks.pages [--adapters 100000].

Runs on DATABASE_URL if it names a PostgreSQL with a database that is empty or was filled by an earlier run, else on a throw-away server. Nothing else
may run on the machine.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "benchmarks" / "pages.md"
QUERIES, TIMES_EMPTY, SEARCH_MS = 12, 10.0, 150.0  # what a page may cost


def main() -> int:
    """Fill, measure, print, and write the report; 1 where a page costs more than it may."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="medley-pages-") as folder:
        _set_up(Path(folder))
        from django.core.management import call_command
        from django.db import connection

        from benchmarks import catalogue_filler
        from hub.models import Adapter

        call_command("migrate", verbosity=0)
        start = time.perf_counter()
        if not (there := Adapter.objects.count()):
            catalogue_filler.fill(options.adapters)
        elif there != options.adapters:
            sys.exit(f"This database holds {there} adapters: measure it with --adapters {there}, or name one that is empty.")
        print(f"{options.adapters} adapters in {time.perf_counter() - start:.0f} s on {connection.vendor}", flush=True)
        from hub.services import shelf

        sets = shelf.fill()
        rows = _measure(options.seconds)
        text = _report(rows, options, connection.vendor, sets.took)
    print(text)
    if options.report:
        REPORT.write_text(text)
    return 0 if all(row["holds"] for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3, help="how long each page is asked for")
    parser.add_argument("--no-report", dest="report", action="store_false", help=f"do not write {REPORT.relative_to(ROOT)}")
    return parser.parse_args()


def _set_up(folder: Path) -> None:
    """Point the project to a database and a store of its own, before Django reads its settings."""
    from tests import servers

    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        place = servers.temporary_folder()
        os.environ["DATABASE_URL"] = servers.postgres(place)
    os.environ |= {"MEDLEY_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "benchmarks.transfer_settings", "THROTTLE_ANON": "100000000/min", "DEBUG": "0"}
    os.environ["ALLOWED_HOSTS"] = "testserver,localhost"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("collectstatic", verbosity=0, interactive=False)


def _pages() -> dict[str, str]:
    from benchmarks.catalogue_filler import COMMON, RARE
    from hub.models import Adapter, Tag

    one = Adapter.objects.select_related("owner").filter(private=False).order_by("-downloads").first()
    assert one is not None
    tag = Tag.objects.order_by("pk").first()
    assert tag is not None
    three = f"base_model={one.base_model}&rank={one.rank}&licence={one.licence}"
    return {
        "an empty view": "/empty",
        "home": "/",
        "list": "/adapters",
        "search, a rare word": f"/adapters?q={RARE}",
        "search, a word of every card": f"/adapters?q={COMMON}",
        "search, three facets": f"/adapters?{three}",
        "search, a word and three facets": f"/adapters?q={COMMON}&{three}",
        "adapter page": f"/{one.repo_id}",
        "user page": f"/{one.owner.username}",
        "list, one base model": f"/adapters?base_model={one.base_model}",
        "base models": "/base-models",
        "base model page": f"/base-models/{one.base_model}",
        "preview picture": f"/{one.repo_id}/preview.png",
        "API list": "/api/v1/adapters",
        "API list, the 500th page": "deep",
        "Hugging Face list, 100 a page": "/api/models?limit=100",
        "tag suggestions": f"/adapters/tags?q={tag.name[:3]}",
    }


def _measure(seconds: float) -> list[dict[str, Any]]:
    """Ask for each page as strangers do, with and without what was kept for them, and as somebody who is logged in."""
    from django.test import Client

    from hub.models import User

    stranger, person = Client(), Client()
    person.force_login(User.objects.get_or_create(username="reader", email="reader@example.org")[0])
    rows: list[dict[str, Any]] = []
    for name, path in _pages().items():
        if path == "deep":
            path = _deep(stranger)
        again, _ = _ask(stranger, path, seconds)
        fresh, queries = _ask(stranger, path, seconds, forget=True)
        own, own_queries = _ask(person, path, seconds)
        row: dict[str, Any] = {"name": name, "again": median(again), "fresh": median(fresh), "fresh_p95": quantiles(fresh, n=20)[18], "queries": queries}
        row |= {"own": median(own), "own_p95": quantiles(own, n=20)[18], "own_queries": own_queries}
        row["empty"] = (rows or [row])[0]["again"]
        row["holds"] = (
            max(queries, own_queries) <= QUERIES
            and max(row["again"], row["own"]) <= TIMES_EMPTY * row["empty"]
            and (not name.startswith("search") or row["fresh_p95"] * 1000 <= SEARCH_MS)
        )
        rows.append(row)
        print(_line(row), flush=True)
    return rows


def _deep(client: Any) -> str:
    """The address of a page far down, as a client reaches it by following the cursors."""
    path = "/api/v1/adapters?limit=100"
    for _ in range(500):
        if not (address := client.get(path).json()["next"]):
            break
        path = urlsplit(address)._replace(scheme="", netloc="").geturl()
    return path


def _ask(client: Any, path: str, seconds: float, *, forget: bool = False) -> tuple[list[float], int]:
    from django.core.cache import caches
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    for _ in range(3):
        answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}: {answer.content[:500]!r}")
    if forget:
        caches["pages"].clear()
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    queries = len(captured)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 20:
        if forget:
            caches["pages"].clear()
        start = time.perf_counter()
        b"".join(client.get(path))
        times.append(time.perf_counter() - start)
    return times, queries


def _line(row: dict[str, Any]) -> str:
    def times(kind: str) -> str:
        return f"{row[kind] * 1000:.1f} | {row[kind] / row['empty']:.1f}"

    fresh = f"{times('fresh')} | {row['fresh_p95'] * 1000:.1f} | {row['queries']}"
    own = f"{times('own')} | {row['own_p95'] * 1000:.1f} | {row['own_queries']}"
    return f"| {row['name']}{'' if row['holds'] else ' **missed**'} | {times('again')} | {own} | {fresh} |"


def _report(rows: list[dict[str, Any]], options: argparse.Namespace, vendor: str, shelf_seconds: float) -> str:
    from benchmarks.transfer_report import Machine

    load: Callable[[], tuple[float, ...]] = os.getloadavg
    lines = "\n".join(map(_line, rows))
    missed = ", ".join(row["name"] for row in rows if not row["holds"])
    return f"""# Pages of a large catalogue

`python -m benchmarks.pages --adapters {options.adapters}` wrote this page. {Machine(os.cpu_count() or 1, Machine.now().gigabytes, load()[0])}

{options.adapters:,} adapters of a thousand people on {vendor}. Every page is asked for {options.seconds:g} seconds long in the same process,
through the whole of Django (middleware, sessions, templates) and without a network; "empty" is an address of the same site that answers nothing,
asked the same way. Three askers:

- **a stranger, again**: asks for what another stranger was just shown. Such pages are kept for a minute at most, and only until the next event of any kind
  on the hub (`hub/web/strangers.py`).
- **logged in**: every page is made for them, each time. What they share with everybody is not made anew: counts by facet and rankings of the public part
  (`hub/services/tallies.py`), rows that were drawn before (`hub/web/parts.py`), cards and pictures of weights, which belong to a revision.
- **a stranger, first**: nothing at all was kept of the page, its counts or its ranking; what was drawn of single rows is, and the sets that facets
  are counted with (`hub/services/shelf.py`), which took {shelf_seconds:.1f} s to make: that happens beside the requests, once in a hundred times as long.

A page may cost {QUERIES} queries (first and logged in) and {TIMES_EMPTY:g} times the empty view (again and logged in); the 95th of a hundred searches that
nobody has made before may take {SEARCH_MS:g} ms. {f"Missed: {missed}." if missed else "All hold."}

| | again: ms | × empty | logged in: ms | × empty | p95 ms | queries | first: ms | × empty | p95 ms | queries |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{lines}
"""


if __name__ == "__main__":
    sys.exit(main())
