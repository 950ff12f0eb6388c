"""Reports to the hub's moderators."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hub.api import bodies
from hub.api.base import Door
from hub.api.schema import answers
from hub.api.social_serializers import ReportItem
from hub.services import access, adapters, comments, reports


class OfAdapter(Door):
    """Reports of an adapter."""

    @extend_schema(
        operation_id="report_adapter", summary="Report an adapter", request=bodies.NewReport, responses=answers({201: ReportItem}, 403, 404, 409, 413, 415)
    )
    def post(self, request: Request, owner: str, name: str) -> Response:
        """The hub's moderators read it; the owner is not told who reported."""
        adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
        access.require_login(request.user)
        return Response(ReportItem(reports.report_adapter(actor=request.user, adapter=adapter, **bodies.read(request, bodies.NewReport))).data, status=201)


class OfComment(Door):
    """Reports of a comment."""

    @extend_schema(
        operation_id="report_comment", summary="Report a comment", request=bodies.NewReport, responses=answers({201: ReportItem}, 403, 404, 409, 413, 415)
    )
    def post(self, request: Request, owner: str, name: str, number: int) -> Response:
        """The hub's moderators read it; the author is not told who reported."""
        adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
        comment = comments.find(actor=request.user, adapter=adapter, number=number)
        access.require_login(request.user)
        return Response(ReportItem(reports.report_comment(actor=request.user, comment=comment, **bodies.read(request, bodies.NewReport))).data, status=201)
