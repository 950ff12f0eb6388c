"""What the hub's moderators read and decide."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hub.api import bodies
from hub.api.base import Door
from hub.api.schema import answers
from hub.api.serializers import list_of
from hub.api.social_serializers import CaseItem, Done, TakenDown
from hub.services import moderation


class Cases(Door):
    """What waits for a decision."""

    @extend_schema(operation_id="list_reports", summary="List what was reported, for moderators", responses=answers({200: list_of(CaseItem)}, 403))
    def get(self, request: Request) -> Response:
        """The oldest first; everything that was reported about one thing together."""
        return Response({"items": CaseItem(moderation.queue(actor=request.user), many=True).data})


class Decision(Door):
    """A decision about a report, and all others of the same thing."""

    @extend_schema(
        operation_id="decide_report",
        summary="Decide about a report, for moderators",
        request=bodies.Decision,
        responses=answers({200: Done}, 403, 404, 413, 415),
    )
    def post(self, request: Request, number: int) -> Response:
        """`dismiss`, `hide` (a comment), `take-down` (an adapter), or `suspend` (whose it is; the report stays open)."""
        report = moderation.find_report(actor=request.user, number=number)
        return Response({"done": moderation.decide(actor=request.user, report=report, **bodies.read(request, bodies.Decision))})


class Takedowns(Door):
    """What is taken down."""

    @extend_schema(operation_id="list_takedowns", summary="List what is taken down, for moderators", responses=answers({200: list_of(TakenDown)}, 403))
    def get(self, request: Request) -> Response:
        """The newest first."""
        return Response({"items": TakenDown(moderation.takedowns(actor=request.user), many=True).data})


class Undo(Door):
    """Takes a decision back."""

    @extend_schema(
        operation_id="undo_decision", summary="Take back a decision, for moderators", request=bodies.Undoing, responses=answers({200: Done}, 403, 404, 413, 415)
    )
    def post(self, request: Request) -> Response:
        """An adapter or a comment by its number, an account by its name."""
        return Response({"done": moderation.undo(actor=request.user, **bodies.read(request, bodies.Undoing))})
