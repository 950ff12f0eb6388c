"""Pages of rows, newest first, with the Link header by which clients find the next one."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, JsonResponse

SIZE = 100
Row = TypeVar("Row", bound=Model)


def newest_first(request: HttpRequest, rows: QuerySet[Row], shape: Callable[[Row], Any], prepare: Callable[[list[Row]], None] | None = None) -> JsonResponse:
    """Answer with one page of the rows, each in its shape; `prepare` sees all of them first."""
    rows = rows.order_by("-pk")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows[: SIZE + 1])
    if prepare:
        prepare(found[:SIZE])
    response = JsonResponse([shape(row) for row in found[:SIZE]], safe=False)
    if len(found) > SIZE:
        params = request.GET.copy()
        params["before"] = str(found[SIZE - 1].pk)
        response["Link"] = f'<{request.build_absolute_uri(request.path)}?{params.urlencode()}>; rel="next"'
    return response
