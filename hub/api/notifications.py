"""What the asker is told: list, mark as read."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hub.api import paging
from hub.api.base import Door
from hub.api.schema import CURSOR, LIMIT, answers
from hub.api.serializers import page_of
from hub.api.social_serializers import NotificationItem
from hub.services import access, notifications


class Listing(Door):
    """The asker's notifications."""

    @extend_schema(
        operation_id="list_notifications", summary="List your notifications", parameters=[LIMIT, CURSOR], responses=answers({200: page_of(NotificationItem)})
    )
    def get(self, request: Request) -> Response:
        """The newest first; what is about something that you may no longer see is left out."""
        rows, following = paging.newest_first(request, notifications.listing(actor=access.require_login(request.user)))
        return Response({"items": NotificationItem(rows, many=True, context={"request": request}).data, "next": following})


class ReadAll(Door):
    """Marks everything as read."""

    @extend_schema(operation_id="read_notifications", summary="Mark all of your notifications as read", request=None, responses=answers({204: None}, 403))
    def put(self, request: Request) -> Response:
        """Doing it twice does nothing more."""
        notifications.read(actor=request.user)
        return Response(status=204)


class Read(Door):
    """Marks one as read."""

    @extend_schema(operation_id="read_notification", summary="Mark a notification as read", request=None, responses=answers({204: None}, 403, 404))
    def put(self, request: Request, notification_id: int) -> Response:
        """Doing it twice does nothing more."""
        notifications.read(actor=request.user, number=notification_id)
        return Response(status=204)
