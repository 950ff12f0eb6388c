"""Collections: lists of adapters that people put together."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from hub.api import bodies, paging
from hub.api.base import Door
from hub.api.schema import CURSOR, LIMIT, answers
from hub.api.serializers import page_of
from hub.api.social_serializers import CollectionDetail, CollectionItemShape, CollectionRow
from hub.models import Collection
from hub.services import access, adapters, collections

OWNER = OpenApiParameter("owner", str, description="Of this person alone.")


class Listing(Door):
    """All collections that the asker may see."""

    @extend_schema(
        operation_id="list_collections", summary="List collections", parameters=[OWNER, LIMIT, CURSOR], responses=answers({200: page_of(CollectionRow)})
    )
    def get(self, request: Request) -> Response:
        """The newest first."""
        rows, following = paging.newest_first(request, collections.listing(actor=request.user, owner=request.query_params.get("owner", "")))
        return Response({"items": CollectionRow(rows, many=True).data, "next": following})

    @extend_schema(
        operation_id="create_collection",
        summary="Create a collection",
        request=bodies.NewCollection,
        responses=answers({201: CollectionDetail}, 403, 409, 413, 415),
    )
    def post(self, request: Request) -> Response:
        """It is empty at first."""
        access.require_login(request.user)
        row = collections.create(actor=request.user, **bodies.read(request, bodies.NewCollection))
        return Response(_shown(request, row), status=201, headers={"Location": reverse("api-collection", [row.pk], request=request)})


class Detail(Door):
    """One collection."""

    @extend_schema(operation_id="get_collection", summary="Show a collection", responses=answers({200: CollectionDetail}, 404))
    def get(self, request: Request, collection_id: int) -> Response:
        """With what you may see of it, in its owner's order."""
        return Response(_shown(request, _find(request, collection_id)))

    @extend_schema(
        operation_id="change_collection",
        summary="Change a collection of yours",
        request=bodies.CollectionChange,
        responses=answers({200: CollectionDetail}, 403, 404, 413, 415),
    )
    def patch(self, request: Request, collection_id: int) -> Response:
        """What the body leaves out stays as it is."""
        row = _find(request, collection_id)
        access.require_login(request.user)
        return Response(_shown(request, collections.update(actor=request.user, collection=row, **bodies.read(request, bodies.CollectionChange))))

    @extend_schema(operation_id="delete_collection", summary="Delete a collection of yours", responses=answers({204: None}, 403, 404))
    def delete(self, request: Request, collection_id: int) -> Response:
        """The adapters in it stay."""
        collections.delete(actor=request.user, collection=_find(request, collection_id))
        return Response(status=204)


class Items(Door):
    """What is in a collection."""

    @extend_schema(
        operation_id="add_collection_item",
        summary="Add an adapter to a collection of yours",
        request=bodies.NewCollectionItem,
        responses=answers({201: CollectionItemShape}, 403, 404, 409, 413, 415),
    )
    def post(self, request: Request, collection_id: int) -> Response:
        """It comes last."""
        row = _find(request, collection_id)
        access.require_login(request.user)
        given = bodies.read(request, bodies.NewCollectionItem)
        adapter = adapters.find(actor=request.user, repo_id=given["adapter"])
        return Response(CollectionItemShape(collections.add(actor=request.user, collection=row, adapter=adapter, note=given["note"])).data, status=201)


class Item(Door):
    """One thing in a collection."""

    @extend_schema(
        operation_id="change_collection_item",
        summary="Write a note on an item, or move it",
        request=bodies.CollectionItemChange,
        responses=answers({200: CollectionItemShape}, 403, 404, 413, 415),
    )
    def patch(self, request: Request, collection_id: int, item_id: int) -> Response:
        """Positions count from 0; the others make room."""
        row = _find(request, collection_id)
        access.require_login(request.user)
        given = bodies.read(request, bodies.CollectionItemChange)
        return Response(CollectionItemShape(collections.change_item(actor=request.user, collection=row, number=item_id, **given)).data)

    @extend_schema(operation_id="delete_collection_item", summary="Take an adapter out of a collection of yours", responses=answers({204: None}, 403, 404))
    def delete(self, request: Request, collection_id: int, item_id: int) -> Response:
        """The adapter itself stays."""
        collections.remove(actor=request.user, collection=_find(request, collection_id), number=item_id)
        return Response(status=204)


def _find(request: Request, number: int) -> Collection:
    return collections.find(actor=request.user, number=number)


def _shown(request: Request, row: Collection) -> dict[str, object]:
    found = collections.items(actor=request.user, collection=row)
    return dict(CollectionDetail(row, context={"items": list(found)}).data)
