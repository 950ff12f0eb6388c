"""A row of every table, for tests that must forget none: what a verb has not made is made up."""

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.utils import timezone

VALUES: "dict[type[models.Field[Any, Any]], Any]" = {
    models.BooleanField: True,
    models.DateTimeField: timezone.now,
    models.DateField: timezone.localdate,
    models.FloatField: 0.5,
    models.IntegerField: 1,
    models.JSONField: lambda: {"a": 1},
    models.BinaryField: b"bytes",
}


def fill(tables: Iterable[type[models.Model]]) -> None:
    """Put a row into each of these tables that has none."""
    for model in tables:
        if not model._base_manager.exists():
            make(model)


def make(model: type[models.Model]) -> models.Model:
    """Make up a row: what it must name is there already, or is made up too."""
    given = {}
    for field in model._meta.concrete_fields:
        if isinstance(field, models.ForeignKey):
            target = field.remote_field.model
            row = target._base_manager.first()
            given[field.name] = row if row is not None or field.null else make(target)
        elif not field.has_default() and not field.null and not field.blank and not isinstance(field, models.AutoField):
            given[field.name] = _value(field)
    return model._base_manager.create(**given)


def _value(field: Any) -> Any:
    if field.choices:
        return field.choices[0][0]
    found = next((value for kind, value in VALUES.items() if isinstance(field, kind)), field.name[: field.max_length])
    return found() if callable(found) else found
