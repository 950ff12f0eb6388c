"""Shares a budget of ranks or bytes out among layers, by how much of the change each direction carries."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from compose_worker.engine.errors import ComposeError

FRAME = 48  # bytes at most that a file takes beside its tensors and what its header says of each


@dataclass(frozen=True)
class Budget:
    """Limits on the ranks of all layers; 0 is none."""

    max_rank: int
    mean_rank: int = 0
    max_bytes: int = 0
    uniform: bool = True  # every layer has the same rank


def share(values: Mapping[str, Tensor], costs: Mapping[str, int], heads: Mapping[str, int], budget: Budget) -> dict[str, int]:
    """Return a rank for each layer from its falling singular values; layers with rank 0 are left out.

    `costs` are the bytes that one direction of a layer takes, `heads` those that a layer takes at all.
    """
    wanted = {name: min(budget.max_rank, int((v > 0).sum())) for name, v in values.items()}
    return _uniform(wanted, costs, heads, budget) if budget.uniform else _by_worth(values, wanted, costs, heads, budget)


def _uniform(wanted: Mapping[str, int], costs: Mapping[str, int], heads: Mapping[str, int], budget: Budget) -> dict[str, int]:
    rank = max(1, *wanted.values())
    if budget.mean_rank:
        rank = min(rank, budget.mean_rank)
    if budget.max_bytes:
        rank = min(rank, (budget.max_bytes - sum(heads.values())) // sum(costs.values()))
        if rank < 1:
            raise too_small(sum(heads.values()) + sum(costs.values()), len(costs))
    return dict.fromkeys(wanted, rank)


def _by_worth(values: Mapping[str, Tensor], wanted: Mapping[str, int], costs: Mapping[str, int], heads: Mapping[str, int], budget: Budget) -> dict[str, int]:
    """Take the directions that carry most, per byte where bytes are limited, until a limit is reached."""
    worth = [
        (-(float(values[name][place]) ** 2) / (costs[name] if budget.max_bytes else 1), name, place) for name, rank in wanted.items() for place in range(rank)
    ]
    given = dict.fromkeys(wanted, 0)
    directions = budget.mean_rank * len(wanted) if budget.mean_rank else len(worth)
    room = budget.max_bytes or sum(heads.values()) + sum(costs[name] for _, name, _ in worth)
    for _, name, place in sorted(worth):
        cost = costs[name] + (0 if place else heads[name])
        if directions and cost <= room and given[name] == place:
            given[name] += 1
            directions -= 1
            room -= cost
    if not any(given.values()):
        there = [name for name, rank in wanted.items() if rank] or list(wanted)
        cheapest = min(there, key=lambda name: (costs[name] + heads[name], name))
        if budget.max_bytes and costs[cheapest] + heads[cheapest] > budget.max_bytes:
            raise too_small(costs[cheapest] + heads[cheapest], 1)
        given[cheapest] = 1  # an adapter without any layer is none
    return {name: rank for name, rank in given.items() if rank}


def too_small(bytes_needed: int, layers: int) -> ComposeError:
    """The refusal of a file that has no room for a single direction."""
    where = "one layer" if layers == 1 else f"{layers} layers"
    return ComposeError("setting-out-of-range", f"Rank 1 on {where} takes up to {bytes_needed + FRAME:,} bytes. Allow a larger file, or 0 for no limit.")
