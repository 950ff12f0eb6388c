"""The bytes of a file, with the headers by which clients name them in their cache."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hub.files import file_response
from hub.hf import oids, repo
from hub.hf.door import door


@door("GET", "HEAD")
def resolve(request: HttpRequest, owner: str, name: str, rev: str, path: str) -> HttpResponseBase:
    """Send one file. It is never redirected: a client would lose the commit's id on the way."""
    found = repo.file(request, owner, name, rev, path)
    response = file_response(request, found, attachment=True)
    response["X-Repo-Commit"] = found.sha
    if oids.is_large(found.path, found.size):
        response["X-Linked-Etag"] = f'"{found.blob_id}"'
        response["X-Linked-Size"] = str(found.size)
    return response
