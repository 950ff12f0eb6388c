"""Adapters: list, create, show, change, delete, like, and their revisions."""

from typing import Any

from django.db import transaction
from django.db.models import prefetch_related_objects
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from hub.api import bodies, paging
from hub.api.base import Door
from hub.api.schema import CURSOR, LIMIT, REVISION, answers
from hub.api.serializers import AdapterDetail, AdapterItem, Like, RevisionItem, SimilarList, page_of
from hub.errors import HubError
from hub.models import Adapter, Revision
from hub.services import access, accounts, adapters, lifecycle, profiles, search, social, tallies

SEVERAL = {
    "base_model": "May be given several times: any of them.",
    "tag": "May be given several times: all of them.",
    "task": "Pipeline tag such as text-generation; any of them.",
    "licence": "Any of them.",
    "language": "Any of them.",
    "peft_type": "Any of them.",
    "rank": "Any of them.",
}
FILTERS = [
    OpenApiParameter("q", str, description="Words in the id, tags, summary or card."),
    OpenApiParameter("owner", str),
    OpenApiParameter("made", str, enum=["uploaded", "composed"]),
    *(OpenApiParameter(name, str, many=True, description=text) for name, text in SEVERAL.items()),
    OpenApiParameter("composable", bool, description="Only those that can (not) take part in a composition."),
    OpenApiParameter(
        "sort",
        {"type": "string", "enum": list(search.SORTS), "default": search.RELEVANCE},
        description="By relevance where q is given; without q that is the newest first.",
    ),
    LIMIT,
    CURSOR,
]


class Listing(Door):
    """All adapters that the asker may see."""

    @extend_schema(operation_id="list_adapters", summary="List adapters", parameters=FILTERS, responses=answers({200: page_of(AdapterItem)}))
    def get(self, request: Request) -> Response:
        """The newest first, unless sorted otherwise; `next` leads to the next page."""
        return Response(tallies.shared(request.user, f"api:{request.build_absolute_uri()}", lambda last: _page(request, last)))

    @extend_schema(
        operation_id="create_adapter",
        summary="Create an adapter",
        request=bodies.NewAdapter,
        responses=answers({201: AdapterDetail}, 403, 409, 413, 415),
    )
    def post(self, request: Request) -> Response:
        """It is empty at first; send its files with a commit."""
        access.require_login(request.user)
        given = bodies.read(request, bodies.NewAdapter)
        owner = accounts.publisher(actor=request.user, name=given.pop("owner"))
        adapter = adapters.create(actor=request.user, owner=owner, **given)
        return Response(_detail(request, adapter, None), status=201, headers={"Location": reverse("api-adapter", adapter.repo_id.split("/"), request=request)})


class Detail(Door):
    """One adapter."""

    @extend_schema(operation_id="get_adapter", summary="Show an adapter", parameters=[REVISION], responses=answers({200: AdapterDetail}, 404))
    def get(self, request: Request, owner: str, name: str) -> Response:
        """With `revision`, the files, facts, scores and parents are those of that revision."""
        adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
        ref = request.query_params.get("revision", "")
        revision = adapters.find_revision(adapter=adapter, ref=ref) if ref else adapter.head
        return Response(_detail(request, adapter, revision))

    @extend_schema(
        operation_id="change_adapter",
        summary="Change who sees an adapter, its tags or its name, or archive it",
        request=bodies.AdapterChange,
        responses=answers({200: AdapterDetail}, 403, 404, 409, 413, 415),
    )
    def patch(self, request: Request, owner: str, name: str) -> Response:
        """What the body leaves out stays as it is. Writers of an organisation change tags; the rest is for owners."""
        adapter = _own(request, owner, name)
        given = bodies.read(request, bodies.AdapterChange)
        rest = {key: given[key] for key in ("private", "gated", "tags") if key in given}
        with transaction.atomic():
            if not given.get("archived", True):
                adapter = lifecycle.set_archived(actor=request.user, adapter=adapter, archived=False)
            if rest:
                adapter = adapters.update(actor=request.user, adapter=adapter, **rest)
            if given.get("archived"):
                adapter = lifecycle.set_archived(actor=request.user, adapter=adapter, archived=True)
            if "name" in given:
                adapter = lifecycle.rename(actor=request.user, adapter=adapter, name=given["name"])
        return Response(_detail(request, adapter, adapter.head))

    @extend_schema(operation_id="delete_adapter", summary="Delete an adapter", responses=answers({204: None}, 403, 404))
    def delete(self, request: Request, owner: str, name: str) -> Response:
        """Nobody sees it any more; for some days its owners can restore it. What was composed from it stays, and keeps its id as lineage."""
        lifecycle.delete(actor=request.user, adapter=_own(request, owner, name))
        return Response(status=204)


class Revisions(Door):
    """The revisions of an adapter."""

    @extend_schema(
        operation_id="list_revisions",
        summary="List the revisions of an adapter",
        parameters=[LIMIT, CURSOR],
        responses=answers({200: page_of(RevisionItem)}, 404),
    )
    def get(self, request: Request, owner: str, name: str) -> Response:
        """The newest first."""
        adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
        rows, following = paging.newest_first(request, adapter.revisions.select_related("parent", "author"))
        return Response({"items": RevisionItem(rows, many=True).data, "next": following})


class Similar(Door):
    """Adapters whose updates are alike."""

    @extend_schema(operation_id="list_similar", summary="List similar adapters", parameters=[LIMIT], responses=answers({200: SimilarList}, 404))
    def get(self, request: Request, owner: str, name: str) -> Response:
        """The most similar first, by the cosine of the updates of the newest revisions; for the same base model alone, and not the faint ones."""
        adapter, limit = adapters.find(actor=request.user, repo_id=f"{owner}/{name}"), paging.limit(request)
        profile = profiles.of(adapter.head)
        rows = profiles.similar(actor=request.user, adapter=adapter, profile=profile, limit=limit) if profile and profile.is_done else []
        prefetch_related_objects(rows, "tags")
        return Response(SimilarList({"profile": profile.status if profile else "none", "items": rows}, context={"request": request}).data)


class Likes(Door):
    """The asker's like of an adapter."""

    @extend_schema(operation_id="like_adapter", summary="Like an adapter", request=None, responses=answers({200: Like}, 403, 404))
    def put(self, request: Request, owner: str, name: str) -> Response:
        """Doing it twice counts once."""
        return _like(request, owner, name, on=True)

    @extend_schema(operation_id="unlike_adapter", summary="Take a like back", responses=answers({200: Like}, 403, 404))
    def delete(self, request: Request, owner: str, name: str) -> Response:
        """Nothing happens where there is none."""
        return _like(request, owner, name, on=False)


def _page(request: Request, last: str) -> dict[str, Any]:
    given = request.query_params
    page = search.adapters(
        actor=request.user,
        q=given.get("q", ""),
        facets={name: given.getlist(name) for name in SEVERAL},
        owner=given.get("owner", ""),
        made=_choice(given.get("made", ""), "made", ("", "uploaded", "composed")),
        composable={"": None, "true": True, "false": False}[_choice(given.get("composable", ""), "composable", ("", "true", "false"))],
        sort=given.get("sort", search.RELEVANCE),
        limit=paging.limit(request),
        cursor=given.get("cursor", ""),
        counted=False,
        as_of=last,
    )
    items = AdapterItem(page.items, many=True, context={"request": request}).data
    return {"items": items, "next": paging.next_url(request, page.next)}


def _like(request: Request, owner: str, name: str, *, on: bool) -> Response:
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    adapter = social.like(actor=request.user, adapter=adapter, on=on)
    return Response(Like({"liked": on, "likes": adapter.likes}).data)


def _own(request: Request, owner: str, name: str) -> Adapter:
    """Return an adapter that the asker may change, before the body is read."""
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    access.require_member(request.user, adapter)
    return adapter


def _detail(request: Request, adapter: Adapter, revision: Revision | None) -> dict[str, object]:
    return dict(AdapterDetail(adapter, context={"request": request, "revision": revision}).data)


def _choice(value: str, name: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        wanted = " or ".join(choice for choice in choices if choice)
        raise HubError(f"{name}-invalid", f"The parameter {name} is {wanted}.", fields={name: f"{wanted}."})
    return value
