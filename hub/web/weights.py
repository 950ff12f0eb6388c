"""Pictures of what an adapter changes, and the adapters whose change is like it. Percent coordinates, as in `charts`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.core.cache import cache
from django.template.loader import render_to_string

from hub.models import Adapter, Profile, Revision
from hub.services import profiles

if TYPE_CHECKING:
    from hub.models.adapters import Actor

KEPT_SECONDS = 24 * 3600
LEFT = tuple(f"head__profile__{column}" for column in profiles.LARGE)
LEVELS = 8  # of heat: the classes h0 to h7
MAX_ROWS, MAX_COLUMNS = 24, 160
MOST = 0.9  # share of the squared size that the finding speaks of
ALIKE = ((profiles.NEAR, "nearly the same update"), (0.5, "much of the same update"), (0.25, "a related update"), (-1.0, "a little alike"))
SAME = "the same weights"


@dataclass(frozen=True)
class Cell:
    """One matrix of the heat map."""

    layer: int
    norm: float
    x: float
    width: float
    level: int


@dataclass(frozen=True)
class Band:
    """The matrices of one target: a row of the heat map and of the table."""

    target: str
    cells: list[Cell]
    count: int
    norm: float
    share: float  # of the squared size, in percent
    effective_rank: float

    @property
    def peak(self) -> Cell:
        """The largest matrix."""
        return max(self.cells, key=lambda cell: cell.norm)


@dataclass(frozen=True)
class Heat:
    """Norms by layer and target."""

    bands: list[Band]
    columns: list[tuple[int, list[float | None]]]  # a layer with its norm in each band, for the table
    marks: list[tuple[float, int]]  # x, layer
    top: float
    outside: list[tuple[str, float]]  # matrices of no layer
    left_out: int


@dataclass(frozen=True)
class Step:
    """One singular value, the mean over all matrices."""

    number: int
    value: float
    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True)
class Spectrum:
    """Mean singular values."""

    steps: list[Step]
    effective_rank: float
    needed: int  # directions that hold MOST of the squared size


@dataclass(frozen=True)
class Like:
    """An adapter with how alike it is, in words and in percent of a bar."""

    adapter: Adapter
    similarity: float
    words: str
    number: str
    x: float


@dataclass(frozen=True)
class Weights:
    """What the page says of a revision's weights."""

    profile: Profile | None
    picture: str  # HTML
    similar: list[Like]

    @property
    def twin(self) -> Like | None:
        """The most similar adapter, where it is nearly the same."""
        return next((like for like in self.similar if like.similarity >= profiles.NEAR), None)


def of(actor: "Actor", adapter: Adapter, revision: Revision) -> Weights:
    """Return the pictures of a revision, as far as its weights are measured."""
    profile = profiles.of(revision)
    if profile is None or not profile.is_done:
        return Weights(profile, _picture(profile), [])
    alike = [_like(row, profile) for row in profiles.similar(actor=actor, adapter=adapter, profile=profile)]
    # What was measured stays as it is.
    picture = cache.get_or_set(f"weights-{profile.pk}-{profile.claim}", lambda: _picture(profile), KEPT_SECONDS) or ""
    cache.set(_key(adapter.repo_id), True, KEPT_SECONDS)
    return Weights(profile, picture, alike)


def left(repo_id: str) -> tuple[str, ...]:
    """Name the columns that the page of an adapter need not read: the large ones of its profile, where the picture is there already."""
    return LEFT if cache.get(_key(repo_id)) else ()


def _key(repo_id: str) -> str:
    return f"weights-of-{quote(repo_id)}"  # which may be anything that stands in an address


def _picture(profile: Profile | None) -> str:
    found: dict[str, Any] = {"profile": profile}
    if profile and profile.is_done:
        if profile.get_deferred_fields():
            profile.refresh_from_db(fields=["matrices", "values"])
        rows = profile.rows
        found |= {"heat": heat(rows, profile.left_out), "spectrum": spectrum(profile.values, rows), "norm": _root(row[3] for row in rows)}
    return render_to_string("adapters/_weights.html", {"weights": found})


def heat(rows: Sequence[Sequence[Any]], left_out: int = 0) -> Heat | None:
    """Return the heat map of a profile's matrices; experts and the like, which share a place, count together."""
    squares: dict[str, dict[int, float]] = {}
    ranks: dict[str, list[float]] = {}
    outside = []
    for name, layer, target, norm, effective_rank, _ in rows:
        if layer is None:
            outside.append((name, norm))
            continue
        band = squares.setdefault(target, {})
        band[layer] = band.get(layer, 0.0) + norm**2
        ranks.setdefault(target, []).append(effective_rank)
    if not squares:
        return None
    layers = sorted({layer for band in squares.values() for layer in band})[:MAX_COLUMNS]
    shown = sorted(sorted(squares, key=lambda target: -sum(squares[target].values()))[:MAX_ROWS])
    top = math.sqrt(max(max(squares[target].values()) for target in shown))
    whole = sum(row[3] ** 2 for row in rows)
    bands = [_band(target, squares[target], ranks[target], layers, top, whole) for target in shown]
    columns = [(layer, [_or_none(squares[target].get(layer)) for target in shown]) for layer in layers]
    return Heat(bands, columns, _marks(layers), top, outside, left_out + sum(len(ranks[target]) for target in squares if target not in shown))


def spectrum(values: Sequence[float] | None, rows: Sequence[Sequence[Any]]) -> Spectrum | None:
    """Return the bars of the mean singular values; None where the update is zero."""
    if not values:
        return None
    width, whole = 100 / len(values), sum(value**2 for value in values)
    steps, needed, held = [], 0, 0.0
    for number, value in enumerate(values):
        height = 100 * value / values[0]
        steps.append(Step(number + 1, value, round(number * width + 0.1 * width, 2), round(0.8 * width, 2), round(100 - height, 2), round(height, 2)))
        needed += held < MOST * whole
        held += value**2
    used = [row[4] for row in rows if row[3] > 0]
    return Spectrum(steps, sum(used) / max(1, len(used)), needed)


def _like(adapter: Any, profile: Profile) -> Like:
    same = adapter.head.profile_id == profile.pk
    words = SAME if same else next(text for least, text in ALIKE if adapter.similarity >= least)
    # Rounding would call 0.998 one.
    number = f"{adapter.similarity:.2f}" if same or adapter.similarity < 0.99 else f"{min(0.999, adapter.similarity):.3f}"
    return Like(adapter, adapter.similarity, words, number, round(100 * min(1.0, adapter.similarity), 1))


def _band(target: str, squares: dict[int, float], ranks: list[float], layers: list[int], top: float, whole: float) -> Band:
    width = 100 / len(layers)
    cells = []
    for place, layer in enumerate(layers):
        if layer in squares:
            norm = math.sqrt(squares[layer])
            level = min(LEVELS - 1, int(LEVELS * norm / top)) if top else 0
            cells.append(Cell(layer, norm, round(place * width, 3), round(width * 0.94, 3), level))
    total = sum(squares.values())
    return Band(target, cells, len(ranks), math.sqrt(total), 100 * total / whole if whole else 0.0, sum(ranks) / len(ranks))


def _marks(layers: list[int]) -> list[tuple[float, int]]:
    """About seven layers that are named below the map, the first and the last among them."""
    step = max(1, round(len(layers) / 6))
    places = [place for place in range(0, len(layers) - 1, step) if len(layers) - 1 - place > step / 2] + [len(layers) - 1]
    return [(round(100 * (place + 0.47) / len(layers), 2), layers[place]) for place in places]


def _root(norms: Any) -> float:
    return math.sqrt(sum(norm**2 for norm in norms))


def _or_none(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)
