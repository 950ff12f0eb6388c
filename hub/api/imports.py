"""Imports of adapters from another hub: submit, list, show, cancel. They are visible to their owner alone."""

from django.conf import settings
from django.urls import reverse as page_of_site
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from hub.api import bodies, paging
from hub.api.base import Door
from hub.api.composition_serializers import Failure
from hub.api.schema import CURSOR, LIMIT, answers
from hub.api.serializers import page_of
from hub.models import Import
from hub.services import access, imports


class ImportItem(serializers.Serializer):
    """One import."""

    id = serializers.IntegerField()
    url = serializers.SerializerMethodField(help_text="Its page.")
    repo_id = serializers.CharField(help_text="The id on the other hub.")
    revision = serializers.CharField(help_text="What was asked for there.")
    sha = serializers.CharField(help_text="The commit there; empty before that is known.")
    name = serializers.CharField()
    private = serializers.BooleanField()
    status = serializers.CharField(help_text=f"One of: {', '.join(Import.Status.values)}.")
    bytes_total = serializers.IntegerField(source="total", help_text="0 before that is known.")
    bytes_done = serializers.IntegerField(source="done")
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Files there that an adapter does not have here.")
    adapter = serializers.CharField(source="adapter.repo_id", allow_null=True, default=None, help_text="The adapter here, once it is published.")
    error = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_url(self, row: Import) -> str:
        """Return the address of its page."""
        return f"{settings.PUBLIC_URL}{page_of_site('import-detail', args=[row.pk])}"

    @extend_schema_field(Failure(allow_null=True))
    def get_error(self, row: Import) -> dict[str, str] | None:
        """Return why it failed."""
        return {"code": row.error_code, "message": row.error_message} if row.error_code else None


class Listing(Door):
    """The asker's imports."""

    @extend_schema(operation_id="list_imports", summary="List your imports", parameters=[LIMIT, CURSOR], responses=answers({200: page_of(ImportItem)}))
    def get(self, request: Request) -> Response:
        """The newest first."""
        user = access.require_login(request.user)
        rows = Import.objects.visible_to(user).select_related("owner", "adapter__owner")
        found, following = paging.newest_first(request, rows)
        return Response({"items": ImportItem(found, many=True, context={"request": request}).data, "next": following})

    @extend_schema(
        operation_id="import_adapter",
        summary="Import an adapter from another hub",
        request=bodies.NewImport,
        responses=answers({202: ImportItem}, 403, 409, 413, 415),
    )
    def post(self, request: Request) -> Response:
        """A worker fetches it, checks it as every upload, and publishes it; ask for it again at `Location`."""
        access.require_login(request.user)
        row = imports.submit(actor=request.user, **bodies.read(request, bodies.NewImport))
        return Response(_item(request, row), status=202, headers={"Location": reverse("api-import", [row.pk], request=request)})


class Detail(Door):
    """One import."""

    @extend_schema(operation_id="get_import", summary="Show an import", responses=answers({200: ImportItem}, 404))
    def get(self, request: Request, import_id: int) -> Response:
        """How far it is, and what came of it."""
        return Response(_item(request, imports.find(actor=request.user, import_id=import_id)))


class Cancel(Door):
    """The end of an import."""

    @extend_schema(operation_id="cancel_import", summary="Cancel an import", request=None, responses=answers({200: ImportItem}, 403, 404, 409))
    def post(self, request: Request, import_id: int) -> Response:
        """It ends at once, and nothing is published."""
        return Response(_item(request, imports.cancel(actor=request.user, row=imports.find(actor=request.user, import_id=import_id))))


def _item(request: Request, row: Import) -> dict[str, object]:
    return dict(ImportItem(row, context={"request": request}).data)
