"""Where a composed revision comes from, as the asker may see it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hub.models import Adapter, Parent, Revision
from hub.web import charts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

PRIVATE = "a private adapter"


@dataclass(frozen=True)
class Node:
    """A parent: its adapter is None where it is deleted, or hidden from the asker."""

    parent: Parent
    adapter: Adapter | None
    hidden: bool
    strand: charts.Strand


@dataclass(frozen=True)
class Lineage:
    """The parents of a revision, largest weight first, and its held-out scores."""

    nodes: list[Node]
    scores: list[charts.Row]
    has_hidden: bool


def of(actor: "Actor", revision: Revision) -> Lineage:
    """Return the lineage with the names of adapters that the asker may not see left out."""
    rows = sorted(revision.parents.select_related("adapter__owner"), key=lambda p: -abs(p.weight))
    nodes = []
    for parent, strand in zip(rows, charts.strands([p.weight for p in rows]), strict=True):
        adapter = parent.adapter
        hidden = parent.is_hidden_from(actor)
        nodes.append(Node(parent, None if hidden else adapter, hidden, strand))
    secret = {node.parent.repo_id for node in nodes if node.hidden}
    scores = [
        replace(row, note=PRIVATE) if row.note in secret else row for row in charts.score_rows(revision.scores, "This mix" if len(rows) > 1 else "This adapter")
    ]
    return Lineage(nodes, scores, bool(secret))
