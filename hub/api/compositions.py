"""Compositions: submit, list, show, finish early, cancel. They are visible to their owner alone."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from hub.api import bodies, paging, text
from hub.api.base import Door
from hub.api.composition_serializers import CompositionDetail, CompositionItem, CompositionWithExamples
from hub.api.schema import CURSOR, LIMIT, answers
from hub.api.serializers import page_of
from hub.errors import HubError
from hub.models import Composition
from hub.services import access, accounts, jobs

MAX_KEY = 200
KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "maxLength": MAX_KEY},
    OpenApiParameter.HEADER,
    description="Any text of yours. The same key with the same body returns the same composition; with another body it is refused (409).",
)
STATUS = OpenApiParameter("status", str, enum=Composition.Status.values)
EXAMPLES = OpenApiParameter("examples", str, enum=["1"], description="Return the examples too.")


class Listing(Door):
    """The asker's compositions."""

    @extend_schema(
        operation_id="list_compositions",
        summary="List your compositions",
        parameters=[STATUS, LIMIT, CURSOR],
        responses=answers({200: page_of(CompositionItem)}),
    )
    def get(self, request: Request) -> Response:
        """The newest first."""
        user = access.require_login(request.user)
        rows = Composition.objects.visible_to(user).select_related("owner", "organization", "result__adapter__owner").prefetch_related("ingredients")
        if status := request.query_params.get("status", ""):
            if status not in Composition.Status.values:
                wanted = f"One of: {', '.join(Composition.Status.values)}."
                raise HubError("status-invalid", f"There is no such status. {wanted}", fields={"status": wanted})
            rows = rows.filter(status=status)
        found, following = paging.newest_first(request, rows)
        return Response({"items": CompositionItem(found, many=True, context={"request": request}).data, "next": following})

    @extend_schema(
        operation_id="submit_composition",
        summary="Compose a new adapter",
        parameters=[KEY],
        request=bodies.NewComposition,
        responses=answers({202: CompositionDetail}, 403, 409, 413, 415),
    )
    def post(self, request: Request) -> Response:
        """It waits in a queue until a worker takes it; ask for it again at `Location`."""
        access.require_login(request.user)
        values = bodies.read(request, bodies.NewComposition)
        owner = accounts.publisher(actor=request.user, name=values.pop("owner"))
        job = jobs.submit(actor=request.user, owner=owner, method_settings=values.pop("settings"), idempotency_key=_key(request), **values)
        return Response(_detail(request, job), status=202, headers={"Location": reverse("api-composition", [job.pk], request=request)})


class Detail(Door):
    """One composition."""

    @extend_schema(
        operation_id="get_composition",
        summary="Show a composition",
        parameters=[EXAMPLES],
        responses=answers({200: CompositionWithExamples}, 404),
    )
    def get(self, request: Request, job_id: int) -> Response:
        """Its state, what was measured so far, and the result."""
        job = jobs.find(actor=request.user, job_id=job_id)
        form = CompositionWithExamples if request.query_params.get("examples") == "1" else CompositionDetail
        return Response(form(job, context={"request": request}).data)


class Cancel(Door):
    """The end of a composition."""

    @extend_schema(operation_id="cancel_composition", summary="Cancel a composition", request=None, responses=answers({200: CompositionDetail}, 403, 404, 409))
    def post(self, request: Request, job_id: int) -> Response:
        """One that waits ends at once; one that runs ends within a step."""
        job = jobs.cancel(actor=request.user, job=jobs.find(actor=request.user, job_id=job_id))
        return Response(_detail(request, job))


class Finish(Door):
    """The end of a composition's search."""

    @extend_schema(operation_id="finish_composition", summary="Use the best so far", request=None, responses=answers({200: CompositionDetail}, 403, 404, 409))
    def post(self, request: Request, job_id: int) -> Response:
        """A running composition ends its search within a heartbeat, checks what it has, and publishes it."""
        job = jobs.finish_now(actor=request.user, job=jobs.find(actor=request.user, job_id=job_id))
        return Response(_detail(request, job))


def _detail(request: Request, job: Composition) -> dict[str, object]:
    return dict(CompositionDetail(job, context={"request": request}).data)


def _key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > MAX_KEY or text.fault(key):
        raise HubError(
            "idempotency-key-invalid", f"An Idempotency-Key has at most {MAX_KEY} characters.", fields={"Idempotency-Key": f"At most {MAX_KEY} characters."}
        )
    return key
