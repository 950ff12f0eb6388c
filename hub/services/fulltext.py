"""Full-text search on the database that is there: tsvector with a GIN index on PostgreSQL, FTS5 on SQLite.

Every word of a query must be in the title, words or card of an adapter, as it stands, in another form of the same stem, or as the beginning of a longer one.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.expressions import RawSQL

from hub.models import Adapter
from hub.services import texts

MAX_WORDS = 8
MAX_QUERY = 200  # characters
RANKED = 500  # of very many matches, the best are looked for among this many in the title and as many anywhere, the most downloaded first
# Snowball's list of English words that say nothing; PostgreSQL's dictionary leaves them out of a document, so no query may insist on them.
STOP = frozenset(
    """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they them their theirs
    themselves what which who whom this that these those am is are was were be been being have has had having do does did doing a an the and but if or
    because as until while of at by for with about against between into through during before after above below to from up down in out on off over under
    again further then once here there when where why how all any both each few more most other some such no nor not only own same so than too very s t
    can will just don should now
    """.split()  # noqa: SIM905  a list of words reads better so
)
WORD = re.compile(r"[^\W_]+")  # in queries and in what is indexed


def words(q: str) -> list[str]:
    """Return the words of a query that are looked for, at most MAX_WORDS; those that say nothing only where there are no others."""
    found = [word.lower() for word in WORD.findall(texts.storable(q, MAX_QUERY))][:MAX_WORDS]
    return [word for word in found if word not in STOP] or found


def matching(q: str) -> Q:
    """Match the adapters that have all words of `q`. A query without a word matches nothing."""
    found = words(q)
    if not found:
        return Q(pk__in=[])
    return Q(pk__in=RawSQL(*_matches(found)))  # noqa: S611  the query is a parameter  # nosec B611


def keys(q: str, *, most: int = 0, among: Sequence[int] | None = None, title: bool = False) -> list[int]:
    """Return the keys of repositories that have all words of `q`, in their title alone where `title` says so, whoever may see them.

    At most so many, or those of them that are `among` some.
    """
    found = words(q)
    if not found or among == []:
        return []
    sql, params = _matches(found, title=title)
    if among is not None:
        sql, params = f"{sql} AND {_among('adapter_id' if _is_postgresql() else 'rowid')}", [*params, _list(among)]
    if most:
        sql, params = f"{sql} LIMIT %s", [*params, most]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return [key for (key,) in cursor.fetchall()]


def scores(q: str, *, among: Sequence[int]) -> list[tuple[float, int]]:
    """Return how well each of these adapters, which match `q`, does so, with its key: higher is better, popularity breaks near ties."""
    found = words(q)
    if not found or not among:
        return []
    if _is_postgresql():
        score = f"(SELECT ts_rank('{{0.05, 0.2, 0.4, 1.0}}', document, {_tsquery(found)}) FROM hub_searchtext WHERE adapter_id = {_table()}.id)"  # noqa: S608  # nosec B608
        params: list[Any] = list(_tsparams(found))
    else:
        score = f"(SELECT -bm25(hub_searchindex, 10, 4, 1) FROM hub_searchindex WHERE rowid = {_table()}.id AND hub_searchindex MATCH %s)"  # noqa: S608  # nosec B608
        params = [_fts(found)]
    sql = f"SELECT {score} * (1 + 0.1 * ln(1 + downloads + 5 * likes)) AS score, id FROM {_table()} WHERE {_among('id')} ORDER BY score DESC, id DESC"  # noqa: S608  # nosec B608
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, _list(among)])
        return [(score, key) for score, key in cursor.fetchall() if score is not None]


def _is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def _among(column: str) -> str:
    return f"{column} = ANY(%s)" if _is_postgresql() else f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608  # nosec B608


def _list(keys: Sequence[int]) -> list[int] | str:
    return list(keys) if _is_postgresql() else json.dumps(list(keys))


def _matches(found: list[str], title: bool = False) -> tuple[str, list[Any]]:
    if _is_postgresql():
        weight = "A" if title else ""
        return f"SELECT adapter_id FROM hub_searchtext WHERE document @@ {_tsquery(found)}", _tsparams(found, weight)  # noqa: S608  # nosec B608
    return "SELECT rowid FROM hub_searchindex WHERE hub_searchindex MATCH %s", [f"title : ({_fts(found)})" if title else _fts(found)]


def _table() -> str:
    return Adapter._meta.db_table


def _fts(found: list[str]) -> str:
    return " AND ".join(f'"{word}" *' for word in found)


def _tsquery(found: list[str]) -> str:
    return "(" + " && ".join("(to_tsquery('simple', %s) || to_tsquery('english', %s))" for _ in found) + ")"


def _tsparams(found: list[str], weight: str = "") -> list[str]:
    return [f"'{word}':*{weight}" for word in found for _ in range(2)]
