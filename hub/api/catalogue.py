"""What compositions can be made of: base models and methods; and who asks."""

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compose_worker.engine import catalogue
from hub.api.base import Door
from hub.api.schema import answers
from hub.api.serializers import BaseModelItem, Me, MethodItem
from hub.models import AccessToken
from hub.services import access, quotas, search

LIMITS = {
    "min_examples": catalogue.MIN_EXAMPLES,
    "max_examples": catalogue.MAX_EXAMPLES,
    "max_example_characters": catalogue.MAX_EXAMPLE_CHARACTERS,
    "max_modules": catalogue.MAX_MODULES,
    "max_auto_modules": catalogue.MAX_AUTO_MODULES,
}


class BaseModels(Door):
    """Base models."""

    @extend_schema(
        operation_id="list_base_models",
        summary="List base models",
        responses=answers({200: inline_serializer("BaseModels", {"items": BaseModelItem(many=True)})}),
    )
    def get(self, request: Request) -> Response:
        """Those with adapters you may see, and those that a worker has."""
        return Response({"items": BaseModelItem(search.base_models(actor=request.user), many=True).data})


class Methods(Door):
    """Composition methods."""

    @extend_schema(
        operation_id="list_methods",
        summary="List the composition methods with their settings and limits",
        responses=answers(
            {
                200: inline_serializer(
                    "Methods",
                    {
                        "items": MethodItem(many=True),
                        "default": serializers.CharField(),
                        "limits": inline_serializer("Limits", {name: serializers.IntegerField() for name in LIMITS}),
                    },
                )
            }
        ),
    )
    def get(self, request: Request) -> Response:
        """The settings are what `settings` of a new composition may hold."""
        return Response({"items": MethodItem(catalogue.METHODS, many=True).data, "default": catalogue.DEFAULT_METHOD, "limits": LIMITS})


class WhoAmI(Door):
    """The asker's account."""

    @extend_schema(operation_id="whoami", summary="Say who asks", responses=answers({200: Me}))
    def get(self, request: Request) -> Response:
        """The account behind the access token, and what the token may do."""
        user = access.require_login(request.user)
        token = request.auth if isinstance(request.auth, AccessToken) else None
        scope = token.scope if token else AccessToken.Scope.WRITE
        found = quotas.of(user)
        storage = {"used": found.used, "limit": found.limit, "pending": quotas.pending(user)}
        return Response(Me({"username": user.username, "email": user.email, "token": token.name if token else None, "scope": scope, "storage": storage}).data)
