"""Runs a query that Django has put into SQL once before: for the few calls where building the query costs more than running it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.base import ModelState

M = TypeVar("M", bound=Model)
Build = Callable[..., "QuerySet[Any, tuple[Any, ...]]"]


def first(build: Build, **values: str | int) -> tuple[Any, ...] | None:
    """Return the first row of the query that `build` makes of these values.

    `build` sees stand-ins of the same types, once; so it must not decide anything by them, and its columns must be texts and whole numbers.
    """
    sql, places = _compiled(build, tuple((name, type(value)) for name, value in values.items()), connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(sql, [values[place.name] if isinstance(place, _Place) else place for place in places])
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def load(model: type[M], **columns: Any) -> M:
    """Return the row of a model of which these columns are known; the others are read when they are asked for.

    It is what `from_db` makes, without the signals around a model's `__init__`, which cost as much as a query here.
    """
    assert columns.keys() <= _names(model), f"{model.__name__} has no such columns"
    row = model.__new__(model)
    row._state = ModelState()
    row._state.adding, row._state.db = False, connection.alias
    row.__dict__.update(columns)
    return row


@lru_cache(maxsize=100)
def _names(model: type[Model]) -> frozenset[str]:
    return frozenset(field.attname for field in model._meta.concrete_fields)


class _Place:
    """Where a value goes among the parameters."""

    def __init__(self, name: str) -> None:
        self.name = name


@lru_cache(maxsize=100)
def _compiled(build: Build, names: tuple[tuple[str, type], ...], vendor: str) -> tuple[str, list[Any]]:
    stand_ins = {name: -1 - number if kind is int else f"stand-in for {name}" for number, (name, kind) in enumerate(names)}
    sql, parameters = build(**stand_ins)[:1].query.sql_with_params()
    places = {value: _Place(name) for name, value in stand_ins.items()}
    found = [places.get(value, value) for value in parameters]
    assert {place.name for place in found if isinstance(place, _Place)} == set(stand_ins), "a value was changed on its way into the query"
    return sql, found
