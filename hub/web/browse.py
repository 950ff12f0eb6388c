"""The list of adapters: search box, facets with counts, sorting; all of it in the address."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from hub.services import search
from hub.web import strangers

PAGE = 30
SHOWN = 8  # values of a facet before "more"
TITLES = {
    "made": "Made by",
    "base_model": "Base model",
    "task": "Task",
    "tag": "Tags",
    "licence": "Licence",
    "language": "Language",
    "peft_type": "PEFT type",
    "rank": "Rank",
}
MADE = {"uploaded": "Uploaded", "composed": "Composed"}
SORTS = {
    "": "Best match",
    "recent": "Recently updated",
    "trending": "Trending",
    "downloads": "Most downloaded",
    "likes": "Most liked",
    "created": "Newest",
}


@dataclass(frozen=True)
class Value:
    """One box to tick."""

    value: str
    label: str
    adapters: int
    chosen: bool

    @property
    def slug(self) -> str:
        """What its id on the page ends with."""
        return slugify(self.value)


@dataclass(frozen=True)
class Facet:
    """A group of boxes; what was ticked is always among those that show."""

    name: str
    title: str
    values: list[Value]

    @property
    def first(self) -> list[Value]:
        """The values that show at once."""
        return [value for index, value in enumerate(self.values) if index < SHOWN or value.chosen]

    @property
    def more(self) -> list[Value]:
        """The values that unfold."""
        return [value for index, value in enumerate(self.values) if index >= SHOWN and not value.chosen]


@require_safe
@strangers.kept
def listing(request: HttpRequest) -> HttpResponse:
    """List and search adapters."""
    q, owner = (request.GET.get(name, "").strip()[:200] for name in ("q", "owner"))
    chosen = {name: list(dict.fromkeys(v.strip()[:250] for v in request.GET.getlist(name) if v.strip())) for name in search.FACETS}
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else ""
    main = strangers.shared(request, "adapters/_list.html", lambda last: _found(request, last, q, owner, chosen, sort))
    return render(request, "adapters/list.html", {"main": main, "q": q})


@require_safe
def tags(request: HttpRequest) -> JsonResponse:
    """Suggest tags for what is being typed."""
    found = search.tags(actor=request.user, q=request.GET.get("q", "")[:50])
    return JsonResponse({"tags": [{"tag": tag, "adapters": number} for tag, number in found]})


def _found(request: HttpRequest, last: str, q: str, owner: str, chosen: dict[str, list[str]], sort: str) -> dict[str, Any]:
    cursor = request.GET.get("cursor", "")
    page = search.adapters(actor=request.user, as_of=last, q=q, owner=owner, facets=chosen, sort=sort, limit=PAGE, cursor=cursor, counted=False)
    counted = search.facets(actor=request.user, as_of=last, q=q, owner=owner, facets=chosen)
    return {
        "page": page,
        "total": counted.total,
        "capped": counted.total == search.COUNTED + 1,
        "counted": search.COUNTED,
        "q": q,
        "owner": owner,
        "facets": [facet for name in search.FACETS if (facet := _facet(name, counted.counts.get(name, []), chosen[name])).values],
        "sampled": counted.sampled,
        "labels": _labels(request, q, owner, chosen),
        "sort": sort or ("" if q else "recent"),
        "sorts": {value: label for value, label in SORTS.items() if value or q},
        "cursor": cursor,
    }


def _facet(name: str, counts: list[tuple[str, int]], chosen: list[str]) -> Facet:
    known = {value for value, _ in counts}
    rows = [*counts, *((value, 0) for value in chosen if value not in known)]
    ticked = {value.lower() for value in chosen} if name == "tag" else set(chosen)
    return Facet(name, TITLES[name], [Value(value, MADE.get(value, value) if name == "made" else value, number, value in ticked) for value, number in rows])


def _labels(request: HttpRequest, q: str, owner: str, chosen: dict[str, list[str]]) -> list[tuple[str, str]]:
    """What was chosen, each with the address of the list without it."""
    given = [(name, value) for name, value in (("q", q), ("owner", owner)) if value]
    given += [(name, value) for name, values in chosen.items() for value in values]
    found = []
    for name, value in given:
        query = request.GET.copy()
        query.pop("cursor", None)
        query.setlist(name, [v for v in query.getlist(name) if v.strip()[:250] != value] if name in chosen else [])
        label = {"made": MADE.get(value, value), "owner": f"by {value}", "rank": f"rank {value}"}.get(name, value)
        found.append((f"?{query.urlencode()}", label))
    return found
