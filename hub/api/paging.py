"""Pages of listings: the limit and cursor of a request, and the address of the next page."""

from typing import TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from hub.errors import HubError

MAX_LIMIT = 100
DEFAULT_LIMIT = 30
Row = TypeVar("Row", bound=Model)


def limit(request: Request) -> int:
    """Return how many items the request wants."""
    given = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (given.isascii() and given.isdigit() and len(given) < 10 and 1 <= int(given) <= MAX_LIMIT):
        raise HubError("limit-invalid", f"The limit is a number from 1 to {MAX_LIMIT}.", fields={"limit": f"1 to {MAX_LIMIT}."})
    return int(given)


def next_url(request: Request, cursor: str) -> str | None:
    """Return the address of the page that starts at `cursor`, with the filters of this one."""
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor) if cursor else None


def newest_first(request: Request, rows: QuerySet[Row]) -> tuple[list[Row], str | None]:
    """Return a page of rows, the newest first, and the address of the next one; rows that come meanwhile do not shift it."""
    cursor = request.query_params.get("cursor", "")
    if cursor:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise HubError("cursor-invalid", "This cursor is not one of ours. Start from the first page.", fields={"cursor": "Not one of ours."})
        rows = rows.filter(pk__lt=int(cursor))
    size = limit(request)
    found = list(rows.order_by("-pk")[: size + 1])
    more = len(found) > size
    return found[:size], next_url(request, str(found[size - 1].pk) if more else "")
