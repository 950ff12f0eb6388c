"""The table of composition methods: a method is one file, one function and one row here; `catalogue.METHODS` describes the same rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compose_worker.engine.methods import cma, lorahub, medley, select
from compose_worker.engine.search import Found, Task


@dataclass(frozen=True)
class Row:
    """How the engine runs a method."""

    search: Callable[[Task], Found]
    planned: Callable[[Mapping[str, Any], int], int]  # (settings, folds) -> evaluations the search takes at most
    space: str = "exact"
    may_decline: bool = True  # whether base, best single and uniform mix may win over what the method found


METHODS: dict[str, Row] = {
    "medley": Row(medley.search, medley.planned),
    "cma": Row(cma.search, cma.planned, may_decline=False),
    "lorahub": Row(lorahub.search, lorahub.planned, space="lorahub", may_decline=False),
    "select": Row(select.search, select.planned),
}
