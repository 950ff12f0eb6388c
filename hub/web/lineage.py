"""Where a composed revision comes from and what was made of an adapter, as the asker may see it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.db.models import Count, Window

from hub.models import Adapter, Parent, Revision
from hub.web import charts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

PRIVATE = "a private adapter"
KIDS = 6
BRANCHES = 12
TREE = 500  # of the latest lines from a parent to a mix


@dataclass(frozen=True)
class Node:
    """A parent or a child: its adapter is None where it is deleted, or hidden from the asker."""

    parent: Parent
    adapter: Adapter | None
    hidden: bool
    strand: charts.Strand


@dataclass(frozen=True)
class Branch:
    """An adapter with what was made from it, the latest first."""

    adapter: Adapter
    kids: list[Adapter]
    uses: int


@dataclass(frozen=True)
class Lineage:
    """The parents of a revision, largest weight first, its held-out scores, and what its adapter went into."""

    nodes: list[Node]
    scores: list[charts.Row]
    has_hidden: bool
    credits: list[tuple[str, int]]  # owners of parents with how many of these are theirs
    kids: list[Node] = field(default_factory=list)
    uses: int = 0  # compositions that the asker may see, those among the kids included


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
    return Lineage(nodes, scores, bool(secret), _credits(nodes))


def with_kids(actor: "Actor", adapter: Adapter, revision: Revision) -> Lineage:
    """Return the lineage with the compositions whose newest revision was made from this adapter, the latest first."""
    seen = Adapter.objects.adapters().visible_to(actor).filter(head__isnull=False)
    rows = Parent.objects.filter(adapter=adapter, revision__in=seen.values("head")).select_related("revision__adapter__owner")
    rows = rows.defer("revision__recipe", "revision__facts", "revision__scores", "revision__adapter__card_text").annotate(uses=Window(Count("pk")))
    found = list(rows.order_by("-pk")[:KIDS])
    strands = charts.strands_out([row.weight for row in found])
    kids = [Node(row, row.revision.adapter, False, strand) for row, strand in zip(found, strands, strict=True)]
    return replace(of(actor, revision), kids=kids, uses=found[0].uses if found else 0)


def tree(actor: "Actor", base_model: str) -> list[Branch]:
    """Return the adapters for a base model that others were made from, those with the most first, each with the latest of what was made from it."""
    seen = Adapter.objects.adapters().visible_to(actor).filter(base_model=base_model, head__isnull=False)
    rows = Parent.objects.filter(adapter__in=seen, revision__in=seen.values("head")).select_related("adapter__owner", "revision__adapter__owner")
    rows = rows.defer("revision__recipe", "revision__facts", "revision__scores", "revision__adapter__card_text", "adapter__card_text").order_by("-pk")
    found: dict[int, tuple[Adapter, list[Adapter]]] = {}
    for row in rows[:TREE]:
        if row.adapter is not None:
            found.setdefault(row.adapter.pk, (row.adapter, []))[1].append(row.revision.adapter)
    branches = [Branch(adapter, kids[:KIDS], len(kids)) for adapter, kids in found.values()]
    return sorted(branches, key=lambda branch: -branch.uses)[:BRANCHES]


def _credits(nodes: Iterable[Node]) -> list[tuple[str, int]]:
    return Counter(node.adapter.owner.username for node in nodes if node.adapter).most_common()
