"""The bytes of a file."""

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from hub.api.base import Door
from hub.api.schema import REVISION, answers
from hub.files import IMAGES, file_response
from hub.services import adapters

HEADERS = [OpenApiParameter(name, str, OpenApiParameter.HEADER) for name in ("Range", "If-None-Match", "If-Match", "If-Range")]
KINDS = ("application/octet-stream", "text/plain", *sorted(set(IMAGES.values())))  # as the browser may show it, never as more


class Content(Door):
    """One file of a revision."""

    @extend_schema(
        operation_id="download_file",
        summary="Download a file",
        parameters=[REVISION, *HEADERS],
        responses=answers(
            {
                **{(status, kind): OpenApiTypes.BINARY for status in (200, 206) for kind in KINDS},
                304: OpenApiResponse(None, "You have it: the ETag is the same."),
                412: OpenApiResponse(None, "The file is another one than If-Match names."),
                416: OpenApiResponse(None, "The range lies outside the file."),
            },
            403,
            404,
            503,
        ),
    )
    def get(self, request: Request, owner: str, name: str, path: str) -> HttpResponseBase:
        """The ETag is the file's sha256. Ranges are answered, so a download can be resumed."""
        row = adapters.find_file(actor=request.user, repo_id=f"{owner}/{name}", path=path, ref=request.query_params.get("revision", ""))
        return file_response(request._request, row, attachment=True)
