"""What this door does not do: every address of the protocol that Medley has nothing for says so in a sentence."""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from hub.errors import HubError, not_found
from hub.hf import errors, repo
from hub.hf.door import SAFE, door
from hub.services import refs

EVERY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SENTENCES = {
    "discussions": "Medley has no discussions and no pull requests.",
    "super-squash": "Medley keeps every commit: what was composed from a revision names it. The history cannot be squashed.",
    "duplicate": "Medley does not copy repositories by itself. Download the adapter and upload it under your name.",
    "lfs-files": "Medley does not list or delete stored objects. Delete the file in a commit.",
    "xet-read-token": "Downloads are plain HTTP here: ask /resolve/ for the file.",
    "resource-group": "Medley has no resource groups.",
    "treesize": "Medley does not add up folders. List the tree with its sizes.",
    "safetensors-metadata": "Medley does not gather the headers of shards. Read them one by one with get_safetensors_metadata.",
    "scan": "Medley inspects every upload before it is stored, and keeps no scan reports.",
}


# What Medley has, with more in its address than the word alone.
PARTS = frozenset(
    ("branch", "commit", "commits", "paths-info", "preupload", "refs", "resolve", "revision", "tag", "tree", "user-access-request", "xet-write-token")
)


@door(*EVERY, changes=False)
def of_model(request: HttpRequest, owner: str, name: str, rest: str) -> HttpResponseBase:
    """Answer for what clients ask of a model and Medley does not have."""
    repo.find(request, owner, name)
    word = rest.partition("/")[0]
    if word in PARTS:
        raise _incomplete()
    raise errors.not_offered(SENTENCES.get(word, f"Medley does not offer {word[:40]!r} of a model."))


@door(*EVERY, changes=False)
def other_kind(request: HttpRequest, **address: str) -> HttpResponseBase:
    """Datasets, spaces and models without an owner: there are none to read, and none can be made."""
    if request.method in SAFE:
        raise not_found("repository")
    raise errors.not_offered("Medley hosts adapters, which are models named owner/name. It has no other kinds of repositories.")


@door(*EVERY, changes=False)
def incomplete(request: HttpRequest, **address: str) -> HttpResponseBase:
    """Answer for what begins as an address of the protocol and ends as none."""
    raise _incomplete()


@door(*EVERY, changes=False)
def anything(request: HttpRequest, **address: str) -> HttpResponseBase:
    """Answer for the rest of the protocol."""
    raise errors.not_offered("Medley does not offer this call of the Hugging Face Hub. docs/huggingface.md lists those it does.")


@door(*EVERY, changes=False)
def git(request: HttpRequest, **address: str) -> HttpResponseBase:
    """Answer git, which is not spoken here."""
    raise errors.not_offered("Medley is not a git server. Fetch a repository with hf download, and change it with hf upload.")


@require_safe
def page(request: HttpRequest, owner: str, name: str, rev: str, path: str = "", folder: str = "") -> HttpResponse:
    """Lead from the addresses of commits, trees and files that clients print to our pages. A page lists all folders, so all of them lead to it."""
    address = "/" + "/".join(quote(part, safe="") for part in (owner, name, *(["files", *path.split("/")] if path else [])))
    return redirect(f"{address}?revision={quote(rev, safe='')}" if rev != refs.MAIN else address)


def _incomplete() -> HubError:
    return HubError("address-incomplete", "There is nothing at this address: a part of it is missing, or wrong.", status=404)
