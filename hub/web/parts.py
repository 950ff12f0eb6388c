"""Draws the parts that pages repeat: rows of adapters, boxes to filter by, mix bars, the main links.

Each is a function of nothing but the values that it shows, so what was drawn once is remembered for whoever is shown the same. They are Jinja2 templates in
templates/parts: a page has hundreds of them, and Django's templates take ten times as long.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hub.models import Adapter
from hub.web import charts, formats

REMEMBERED = 4_000  # rows, of some 2 kB each
TARGETS = 14  # characters


class Row(NamedTuple):
    """All that a row of the list shows of an adapter."""

    owner: str
    name: str
    private: bool
    gated: bool
    archived: bool
    summary: str
    note: str
    base_model: str
    tags: tuple[str, ...]
    weights: tuple[float, ...]  # of its parents
    scores: tuple[float | None, float, int] | None  # base, result, number of examples
    by_layer: str
    kind: str
    targets: str
    size: int | None
    downloads: int
    likes: int
    updated_at: datetime
    ago: str


def adapter_row(adapter: Adapter, *, short: bool = False, note: str = "") -> SafeString:
    """Draw an adapter as one row of a list."""
    revision = adapter.head
    row = Row(
        owner=adapter.owner.username,
        name=adapter.name,
        private=adapter.private,
        gated=bool(adapter.gated),
        archived=adapter.archived_at is not None,
        summary=adapter.summary or ("" if revision else "No files yet."),
        note=note,
        base_model="" if short else adapter.base_model,
        tags=() if short else tuple(tag.name for tag in adapter.tags.all()),
        weights=tuple(parent.weight for parent in revision.parents.all()) if revision and adapter.composed else (),
        scores=_scores(revision.scores) if revision and not short else None,
        by_layer="" if short else getattr(adapter, "by_layer", None) or "",
        kind=f"rank {adapter.rank}" if adapter.rank else adapter.peft_type,
        targets="" if short else formats.cut(adapter.targets, TARGETS),
        size=adapter.size if revision else None,
        downloads=adapter.downloads,
        likes=0 if short else adapter.likes,
        updated_at=adapter.updated_at,
        ago=formats.ago(adapter.updated_at),
    )
    return _adapter_row(row, short)


def facets(found: Iterable[Any], sampled: bool) -> SafeString:
    """Draw the boxes of `browse.Facet`s."""
    return _drawn("facets", facets=found, sampled=sampled)


@lru_cache(REMEMBERED)
def mix(weights: tuple[float, ...]) -> SafeString:
    """Draw the mix bar: one strand per weight, the largest first."""
    return _drawn("mix", bars=charts.mix_bar(weights), count=len(weights))


@lru_cache(500)
def navigation(wide: bool, section: str, username: str, is_staff: bool, unread: int, signup_open: bool) -> SafeString:
    """Draw the main links, for somebody who is logged in or, without a user name, for a stranger."""
    places = ("adapter-list", "base-model-list", "composition-list", "methods", "upload", "compose", "notification-list", "collection-list")
    own = ("organization-list", "deleted-list", "moderation", "profile-edit", "token-list", "log", "account_login", "account_signup")
    urls = {name.replace("-", "_"): reverse(name) for name in (*places, *own)}
    given = {"wide": wide, "section": section, "username": username, "is_staff": is_staff, "unread": unread, "signup_open": signup_open}
    return _drawn("navigation", url=urls, **given)


@lru_cache(REMEMBERED)
def _adapter_row(row: Row, short: bool) -> SafeString:
    return _drawn("adapter_row", row=row, short=short)


def _scores(scores: dict[str, Any] | None) -> tuple[float | None, float, int] | None:
    base, composed = ((scores or {}).get(name) for name in ("base", "composed"))
    if not composed:
        return None
    return (float(base["accuracy"]) if base else None, float(composed["accuracy"]), int(composed["n"]))


def _drawn(name: str, **values: Any) -> SafeString:
    return mark_safe(_environment().get_template(f"{name}.html").render(**values))  # noqa: S308  # nosec B308 B703  escaped by the template


@lru_cache(1)
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(settings.BASE_DIR / "templates" / "parts"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.auto_reload = settings.DEBUG
    for format in (formats.size, formats.count, formats.score, formats.tail, formats.initials):
        found.filters[format.__name__] = format
    found.globals.update(icon=formats.icon, mix=mix)
    return found
