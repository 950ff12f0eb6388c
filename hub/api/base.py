"""What every view of the API shares: JSON in and out, whatever the Accept header says, and an address without tricks."""

from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from hub.api import text
from hub.api.parsers import StrictJSONParser
from hub.errors import HubError


class OneAnswer(BaseContentNegotiation):
    """Answers in the one format there is: a client that asks for bytes or HTML still gets its file or a readable error."""

    def select_parser(self, request: Request, parsers: list[BaseParser]) -> BaseParser | None:
        """Return the parser for the body's media type."""
        sent = request.content_type.partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None) -> tuple[BaseRenderer, str]:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


class Door(APIView):
    """A view of the API. Permissions are the business of the verbs."""

    content_negotiation_class = OneAnswer
    parser_classes = [StrictJSONParser]
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse addresses that no database takes before a view reads them."""
        super().initial(request, *args, **kwargs)
        if any(isinstance(value, str) and text.fault(value) for value in kwargs.values()):
            raise HubError("not-found", "There is nothing at this address.", status=404)
        for name, values in request.query_params.lists():
            for value in (name, *values):
                if problem := text.fault(value):
                    raise HubError("text-invalid", f"A query parameter cannot be used: {problem}", fields={name: problem})

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Keep answers, which depend on who asks, out of shared caches."""
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return super().finalize_response(request, response, *args, **kwargs)


class NoSuchAddress(Door):
    """Answers for every address below /api/v1/ that is none of ours."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answer alike for every method."""
        super().initial(request, *args, **kwargs)
        raise HubError("no-such-address", "There is nothing at this address. See /api/v1/docs for those that exist; none ends with a slash.", status=404)
