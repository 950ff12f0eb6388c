"""Comments on adapters: list, say, edit, delete."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hub.api import bodies, paging
from hub.api.base import Door
from hub.api.schema import LIMIT, answers
from hub.api.serializers import page_of
from hub.api.social_serializers import CommentItem
from hub.models import Adapter, Comment
from hub.services import access, adapters, comments

CURSOR = OpenApiParameter("cursor", str, description="Where the page starts; taken from `next`.")


class Listing(Door):
    """What people say about an adapter."""

    @extend_schema(
        operation_id="list_comments", summary="List the comments on an adapter", parameters=[LIMIT, CURSOR], responses=answers({200: page_of(CommentItem)}, 404)
    )
    def get(self, request: Request, owner: str, name: str) -> Response:
        """By conversation, the newest first; each begins with its first comment."""
        found, following = comments.page(
            actor=request.user, adapter=_adapter(request, owner, name), limit=paging.limit(request), cursor=request.query_params.get("cursor", "")
        )
        return Response({"items": CommentItem(found, many=True).data, "next": paging.next_url(request, following)})

    @extend_schema(
        operation_id="create_comment",
        summary="Comment on an adapter",
        request=bodies.NewComment,
        responses=answers({201: CommentItem}, 403, 404, 409, 413, 415),
    )
    def post(self, request: Request, owner: str, name: str) -> Response:
        """The body is Markdown. `reply_to` is the id of the comment that this one answers."""
        adapter = _adapter(request, owner, name)
        access.require_login(request.user)
        given = bodies.read(request, bodies.NewComment)
        number = given["reply_to"]
        reply_to = None if number is None else comments.find(actor=request.user, adapter=adapter, number=number)
        comment = comments.add(actor=request.user, adapter=adapter, body=given["body"], reply_to=reply_to)
        return Response(CommentItem(comment).data, status=201)


class Detail(Door):
    """One comment."""

    @extend_schema(
        operation_id="change_comment",
        summary="Change a comment of yours",
        request=bodies.CommentChange,
        responses=answers({200: CommentItem}, 403, 404, 413, 415),
    )
    def patch(self, request: Request, owner: str, name: str, number: int) -> Response:
        """Readers see that it was edited."""
        comment = _comment(request, owner, name, number)
        access.require_login(request.user)
        comment = comments.edit(actor=request.user, comment=comment, **bodies.read(request, bodies.CommentChange))
        return Response(CommentItem(comment).data)

    @extend_schema(operation_id="delete_comment", summary="Delete a comment of yours, or one on an adapter of yours", responses=answers({204: None}, 403, 404))
    def delete(self, request: Request, owner: str, name: str, number: int) -> Response:
        """Where it has answers, its place stays without its words."""
        comments.delete(actor=request.user, comment=_comment(request, owner, name, number))
        return Response(status=204)


def _adapter(request: Request, owner: str, name: str) -> Adapter:
    return adapters.find(actor=request.user, repo_id=f"{owner}/{name}")


def _comment(request: Request, owner: str, name: str, number: int) -> Comment:
    return comments.find(actor=request.user, adapter=_adapter(request, owner, name), number=number)
