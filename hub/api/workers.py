"""Workers elsewhere: claim a job, fetch its files, report, finish, fail, hand back. Only worker tokens open this door."""

from django.conf import settings
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from hub import files as served
from hub import strict_json
from hub.api import worker_bodies as forms
from hub.api.auth import WorkerAuthentication
from hub.api.base import Door
from hub.api.parsers import UploadParser, close
from hub.api.schema import answers
from hub.api.text import fault
from hub.errors import HubError
from hub.models import WorkerToken
from hub.services import access, adapters, lending

CLAIM = OpenApiParameter("X-Claim", {"type": "string", "maxLength": 32}, OpenApiParameter.HEADER, required=True, description="The claim, as it was given.")
ROOM = 8_000_000  # bytes that the form of a result may have beyond the weights
MAX_RESULT = 4_000_000


class WorkerThrottle(UserRateThrottle):
    """The rate of a person, counted by worker token."""

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Return what is counted."""
        who = f"worker-{request.auth.pk}" if isinstance(request.auth, WorkerToken) else self.get_ident(request)
        return str(self.cache_format % {"scope": self.scope, "ident": who})


class WorkerDoor(Door):
    """A view for workers."""

    authentication_classes = [WorkerAuthentication]
    throttle_classes = [WorkerThrottle]

    def token(self, request: Request) -> WorkerToken:
        """Return the worker token that was sent, or refuse."""
        if not isinstance(request.auth, WorkerToken):
            raise HubError("worker-token-required", "Send a worker token as Authorization: Bearer mwk_...; the hub's operators make them.", status=401)
        return request.auth


class Claim(WorkerDoor):
    """The queue."""

    @extend_schema(
        operation_id="claim_run",
        summary="Take a job",
        request=forms.Claim,
        responses=answers({200: forms.Run, 204: OpenApiResponse(description="There is none for this worker now. Ask again in some seconds.")}, 415),
    )
    def post(self, request: Request) -> Response:
        """The job whose turn it is among those that this worker may and can run."""
        token = self.token(request)
        handed = lending.claim(token=token, **forms.read(request, forms.Claim))
        return Response(status=204) if handed is None else Response(forms.run(request, handed))


class Report(WorkerDoor):
    """What a worker says while it works."""

    @extend_schema(
        operation_id="report_run",
        summary="Report, or just beat",
        parameters=[CLAIM],
        request=forms.Report,
        responses=answers({200: forms.Orders}, 404, 409, 413, 415),
    )
    def post(self, request: Request, run: int) -> Response:
        """Everything in it is kept, or nothing. The same report twice counts once."""
        token = self.token(request)
        wishes = lending.report(token=token, job_id=run, claim=_claim(request), **forms.read(request, forms.Report))
        return Response({"cancelled": wishes.cancelled, "enough": wishes.enough})


class Finish(WorkerDoor):
    """The result of a job."""

    parser_classes = [UploadParser]

    @extend_schema(
        operation_id="finish_run",
        summary="Send the result",
        parameters=[CLAIM],
        request={"multipart/form-data": forms.Finish},
        responses=answers({200: forms.Standing}, 404, 409, 411, 413, 415, 503, 507),
    )
    def post(self, request: Request, run: int) -> Response:
        """The files are stored, held against the job and published; all of it, or nothing."""
        token, claim = self.token(request), _claim(request)
        lending.require(token=token, job_id=run, claim=claim)  # before the body is read: nobody fills the disk with what will be refused
        if not (length := request.headers.get("Content-Length", "")).isdecimal():
            raise HubError("length-required", "Send the result with a Content-Length instead of in chunks of unknown number.", status=411)
        if int(length) > access.largest_adapter() + ROOM:
            raise HubError("body-too-large", f"The result is larger than the limit of {settings.MAX_WEIGHTS_BYTES / 1e6:.0f} MB.", status=413)
        files = request.FILES
        try:
            job = lending.finish(token=token, job_id=run, claim=claim, **_result(request))
        finally:
            close(file for _, rows in files.lists() for file in rows)
        return Response({"run": job.pk, "status": job.status})


class Fail(WorkerDoor):
    """The end of a job that cannot be run."""

    @extend_schema(
        operation_id="fail_run", summary="Say why it failed", parameters=[CLAIM], request=forms.Fault, responses=answers({200: forms.Standing}, 404, 409, 415)
    )
    def post(self, request: Request, run: int) -> Response:
        """The job ends with the error; with the code internal it goes back to the queue, for another worker."""
        token = self.token(request)
        job = lending.fail(token=token, job_id=run, claim=_claim(request), **forms.read(request, forms.Fault))
        return Response({"run": job.pk, "status": job.status})


class Release(WorkerDoor):
    """The way back to the queue."""

    @extend_schema(
        operation_id="release_run", summary="Hand it back", parameters=[CLAIM], request=None, responses=answers({200: forms.Standing}, 404, 409, 415)
    )
    def post(self, request: Request, run: int) -> Response:
        """Another worker goes on where this one was. A job that its owner cancelled ends."""
        job = lending.release(token=self.token(request), job_id=run, claim=_claim(request))
        return Response({"run": job.pk, "status": job.status})


class Input(Door):
    """A file of a module."""

    authentication_classes = []  # the link is the permission

    @extend_schema(
        operation_id="get_run_input",
        summary="Fetch a file of a module",
        auth=[],
        responses=answers(
            {(200, "application/octet-stream"): bytes, (206, "application/octet-stream"): bytes, 302: OpenApiResponse(description="It lies in a bucket.")},
            404,
            503,
        ),
    )
    def get(self, request: Request, link: str) -> HttpResponseBase:
        """By the links that came with the job."""
        return served.blob_response(request._request, lending.follow(link=link), "input")


def _claim(request: Request) -> str:
    claim = str(request.headers.get("X-Claim", ""))
    if not claim or len(claim) > 32 or not claim.isalnum() or not claim.isascii():
        raise HubError("claim-missing", "Send the claim of the job in the header X-Claim.", fields={"X-Claim": "As it came with the job."})
    return claim


def _result(request: Request) -> dict[str, object]:
    fields, sent = request.POST, request.FILES.getlist("files")
    unknown = next((name for name in (*fields, *request.FILES) if name not in ("result", "files")), None)
    if unknown is not None:
        raise HubError("unknown-field", f"There is no field {strict_json.shown(unknown)} here. The fields are: result, files.")
    if len(fields.getlist("result")) != 1 or len(text := fields["result"]) > MAX_RESULT:
        raise HubError("result-invalid", f"Send one field called result, with at most {MAX_RESULT / 1e6:.0f} million characters of JSON.")
    if any(fault(file.sent_name) for file in sent):
        raise HubError("path-invalid", "The name of a file holds a character that cannot be kept.")
    try:
        said = strict_json.loads(text.encode())
    except (strict_json.JsonFault, UnicodeEncodeError) as error:
        raise HubError("json-invalid", f"The field result is not valid JSON: {strict_json.shown(error)}.") from error
    return {"said": said, "files": [adapters.Incoming(file.sent_name, file) for file in sent]}
