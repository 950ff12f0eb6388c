"""The table of composition methods: a method is one file, one function and one row here; `catalogue.METHODS` describes the same rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compose_worker.engine import merge
from compose_worker.engine.methods import cma, given, lorahub, medley, select, tune
from compose_worker.engine.search import Found, Task


@dataclass(frozen=True)
class Row:
    """How the engine runs a method."""

    search: Callable[[Task], Found]
    planned: Callable[[Mapping[str, Any], int], int]  # (settings, folds) -> evaluations the search takes at most
    space: str = "exact"
    attributes: str = ""  # what says what each module does for the mix: "folds", "all" examples, or nothing, where the mix is no sum of modules
    rivals: tuple[str, ...] = ("base", "single", "uniform")  # what is published instead where it does better on held-out examples


METHODS: dict[str, Row] = {
    "medley": Row(medley.search, medley.planned, attributes="folds"),
    "cma": Row(cma.search, cma.planned, attributes="all", rivals=()),
    "lorahub": Row(lorahub.search, lorahub.planned, space="lorahub", attributes="all", rivals=()),
    "select": Row(select.search, select.planned, rivals=("base", "single")),
    "tune": Row(tune.search, tune.planned, rivals=()),
    "medley+tune": Row(tune.search_on_top, tune.planned_on_top, attributes="folds"),
    **dict.fromkeys(merge.RULES, Row(given.search, given.planned, rivals=())),
    "linear": Row(given.search, given.planned, attributes="all", rivals=()),
}
