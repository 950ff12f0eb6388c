"""Commits: files in, a revision out."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hub.api.base import Door
from hub.api.parsers import UploadParser, close
from hub.api.schema import answers
from hub.api.serializers import NewRevision
from hub.api.text import fault
from hub.errors import HubError
from hub.services import access, adapters

FIELDS = ("files", "paths", "deletions", "message", "parent")


class CommitForm(serializers.Serializer):
    """The form of a commit."""

    files = serializers.ListField(child=serializers.FileField(), required=False, help_text="Repeat it for each file.")
    paths = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Where each file goes, in the order of the files; by default each file keeps its name."
    )
    deletions = serializers.ListField(child=serializers.CharField(), required=False, help_text="Paths to delete.")
    message = serializers.CharField(required=False, max_length=500)
    parent = serializers.CharField(required=False, help_text="The sha you saw as the newest; where it is no longer, the commit is refused (412).")


class Commits(Door):
    """The commits of an adapter."""

    parser_classes = [UploadParser]

    @extend_schema(
        operation_id="commit",
        summary="Add a revision",
        request={"multipart/form-data": CommitForm},
        responses=answers({200: NewRevision, 201: NewRevision}, 403, 404, 409, 411, 412, 413, 415, 503, 507),
    )
    def post(self, request: Request, owner: str, name: str) -> Response:
        """The files of the newest revision, changed by those sent. A commit that changes nothing answers 200 with the revision that is there."""
        adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
        access.require_write(request.user, adapter)  # before the body is read: nobody fills the disk with what will be refused
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower() and not request.headers.get("Content-Length"):
            raise HubError("length-required", "Send the upload with a Content-Length instead of in chunks of unknown number.", status=411)
        before, files = adapter.head_id, request.FILES
        try:
            revision = adapters.commit(actor=request.user, adapter=adapter, **_read(request))
        finally:
            close(file for _, rows in files.lists() for file in rows)
        return Response(NewRevision(revision, context={"request": request}).data, status=200 if revision.pk == before else 201)


def _read(request: Request) -> dict[str, object]:
    """Return the arguments of the verb."""
    fields, files = request.POST, request.FILES.getlist("files")
    known = ", ".join(FIELDS)
    unknown = next((name for name in (*fields, *request.FILES) if name not in FIELDS), None)
    if unknown is not None:
        raise HubError("unknown-field", f"There is no field {unknown[:60]!r} here. The fields are: {known}.", fields={unknown[:60]: "Unknown."})
    if "files" in fields or set(request.FILES) - {"files"}:
        raise HubError(
            "body-invalid", 'Files go into the field "files", each with a file name; the other fields are text.', fields={"files": "Send files here."}
        )
    for name, values in fields.lists():
        if name in ("message", "parent") and len(values) > 1:
            raise HubError("body-invalid", f'The field "{name}" is there {len(values)} times. Send it once.', fields={name: "Send it once."})
        if problem := next(filter(None, map(fault, values)), ""):
            raise HubError("body-invalid", f'The field "{name}" cannot be used: {problem}', fields={name: problem})
    paths = fields.getlist("paths") or [file.sent_name for file in files]
    if len(paths) != len(files):
        counts = f"There are {len(paths)} paths for {len(files)} files. Send one for each file, in the same order, or none."
        raise HubError("paths-mismatch", counts, fields={"paths": counts})
    incoming = [adapters.Incoming(path, file) for path, file in zip(paths, files, strict=True)]
    return {
        "files": incoming,
        "deletions": fields.getlist("deletions"),
        "message": fields.get("message", ""),
        "parent": fields.get("parent", ""),
    }
