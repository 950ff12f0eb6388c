"""What the schema needs beyond the views: how one proves who one is, and which errors a call may answer."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from hub.api.serializers import Error

REASONS = {
    400: "The request is wrong; `fields` says where.",
    401: "No access token, or one that is not valid.",
    403: "It is someone else's, or the token may only read.",
    404: "It does not exist, or you may not see it.",
    409: "It clashes with what is there.",
    410: "The adapter was taken down; `reason` in `fields` says why.",
    411: "The upload does not say how long it is.",
    412: "The adapter has changed since.",
    413: "A file, or the body, is too large.",
    415: "The body is of another kind than this call takes.",
    429: "Too many requests; Retry-After says how many seconds to wait.",
    500: "A fault of ours; it was logged.",
    503: "The file store does not answer.",
    507: "The hub's disk is full.",
}
LIMIT = OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 30}, description="Items on a page.")
CURSOR = OpenApiParameter("cursor", str, description="Where the page starts; taken from `next`.")
REVISION = OpenApiParameter("revision", {"type": "string", "default": "main"}, description="main, a sha, or at least its first seven digits.")


def answers(good: dict[Any, Any], *errors: int) -> dict[Any, Any]:
    """Return the answers of a call: `good` ones, the `errors` named, and those that every call has."""
    return good | {status: OpenApiResponse(Error, REASONS[status]) for status in sorted({400, 401, 429, 500, *errors, *({410} if 404 in errors else ())})}


class BearerScheme(OpenApiAuthenticationExtension):
    """Describes access tokens."""

    target_class = "hub.api.auth.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "description": "An access token from the settings page, or from `manage.py create_token`."}


class BrowserScheme(OpenApiAuthenticationExtension):
    """Describes the browser's session."""

    target_class = "hub.api.auth.BrowserAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The session of this site; unsafe calls need X-CSRFToken too."}


class WorkerScheme(OpenApiAuthenticationExtension):
    """Describes worker tokens."""

    target_class = "hub.api.auth.WorkerAuthentication"
    name = "worker"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "description": "A worker token, from `manage.py create_worker_token` or the admin pages."}
