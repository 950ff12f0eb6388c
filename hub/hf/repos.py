"""Repositories: create, delete, rename, change, and name their branches and tags."""

from contextlib import ExitStack
from typing import Any, NoReturn

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from hub.errors import HubError
from hub.hf import body, commits, errors, repo
from hub.hf.door import door
from hub.models import Adapter, Ref, User
from hub.services import access, accounts, adapters, hosting, lifecycle, refs

Json = dict[str, Any]


@door("POST")
def create(request: HttpRequest) -> HttpResponseBase | Json:
    """Create an empty adapter. One that exists is told with its address, which `exist_ok` needs."""
    user = access.require_login(request.user)
    sent = body.json(request)
    _only_models(sent)
    name = body.text(sent, "name")
    owner, name = name.split("/", 1) if "/" in name else (body.text(sent, "organization", "") or user.username, name)
    owner = _as_written(owner)
    address = {"url": request.build_absolute_uri(f"/{owner}/{name}"), "name": f"{owner}/{name}"}
    try:
        account = accounts.find_owner(owner)
        if account is not None and access.may_create(user, account):
            adapter = _begin(account, user, name, sent)
        elif user.is_staff:
            adapter = _host(user, owner, name, sent)
        else:
            _refuse_foreign(user, owner, name)
    except HubError as error:
        if (error.code, error.status) != ("name-taken", 409):
            raise
        return errors.answer(request, error, **address)
    return {**address, "id": f"{adapter.pk:024x}"}


@door("DELETE")
def delete(request: HttpRequest) -> Json:
    """Delete an adapter with all its commits."""
    user = access.require_login(request.user)
    sent = body.json(request)
    _only_models(sent)
    adapter = repo.managed(request, body.text(sent, "organization", "") or user.username, body.text(sent, "name").rpartition("/")[2])
    lifecycle.delete(actor=user, adapter=adapter)
    return {}


@door("POST")
def move(request: HttpRequest) -> Json:
    """Rename an adapter, or hand it to an organisation; the old address leads to the new one."""
    user = access.require_login(request.user)
    sent = body.json(request)
    _only_models(sent)
    owner, _, name = body.text(sent, "fromRepo").partition("/")
    to_owner, _, to_name = body.text(sent, "toRepo").partition("/")
    adapter = repo.managed(request, owner, name)
    receiver = adapter.owner if to_owner.lower() == adapter.owner.username.lower() else accounts.find_owner(to_owner)
    if receiver is None or (receiver != adapter.owner and not access.may_create(user, receiver)):
        text = f"{to_owner[:39]} has to accept an adapter that it is given. Offer it on the settings page of {adapter.repo_id}."
        raise HubError("forbidden", text, status=403)
    moved = lifecycle.move(actor=user, adapter=adapter, to=receiver, name=to_name)
    return {"url": request.build_absolute_uri(f"/{moved.repo_id}")}


@door("PUT")
def settings(request: HttpRequest, owner: str, name: str) -> Json:
    """Change who sees an adapter, and who may have its files."""
    adapter = repo.managed(request, owner, name)
    sent = body.json(request)
    gated = sent.get("gated")
    if gated is not None:
        gated = "" if gated is False else body.text(sent, "gated")
    adapters.update(actor=request.user, adapter=adapter, private=_private(sent), gated=gated)
    return {"private": adapter.private, "visibility": "private" if adapter.private else "public", "gated": adapter.gated or False}


@door("POST", "DELETE")
def branch(request: HttpRequest, owner: str, name: str, ref: str) -> HttpResponseBase:
    """Create a branch at a revision, or delete one."""
    adapter = repo.mine(request, owner, name)
    if request.method == "DELETE":
        refs.delete(actor=request.user, adapter=adapter, kind=Ref.Kind.BRANCH, name=ref)
        return JsonResponse({})
    sent = body.json(request) if request.META.get("CONTENT_LENGTH") not in (None, "", "0") else {}
    if sent.get("overwrite") or sent.get("emptyBranch"):
        raise errors.not_offered("Medley creates branches at a revision, and does not empty or overwrite one. Delete it first.")
    refs.create_branch(actor=request.user, adapter=adapter, name=ref, start=body.text(sent, "startingPoint", refs.MAIN))
    return JsonResponse({})


@door("POST", "DELETE")
def tag(request: HttpRequest, owner: str, name: str, ref: str) -> HttpResponseBase:
    """Tag the revision `ref`, or delete the tag `ref`."""
    adapter = repo.mine(request, owner, name)
    if request.method == "DELETE":
        refs.delete(actor=request.user, adapter=adapter, kind=Ref.Kind.TAG, name=ref)
        return JsonResponse({})
    sent = body.json(request)
    refs.create_tag(actor=request.user, adapter=adapter, name=body.text(sent, "tag"), at=ref, message=body.text(sent, "message", "", limit=5000))
    return JsonResponse({})


def _begin(owner: User, user: User, name: str, sent: Json) -> Adapter:
    """Create an adapter: empty, or with the few files that the JavaScript client can send along."""
    private = bool(_private(sent))
    with ExitStack() as stack:
        files = commits.first_files(sent, stack)
        if files:
            return adapters.publish(actor=user, owner=owner, name=name, private=private, files=files, message="Create").adapter
    return adapters.create(actor=user, owner=owner, name=name, private=private)


def _as_written(owner: str) -> str:
    """Return an owner as it is written here: people in lower case, namespaces of base models as they are; what is new stays as it was sent."""
    found = accounts.named(owner).first()
    return found.username if found else owner


def _host(user: User, owner: str, name: str, sent: Json) -> Adapter:
    """Make room for a base model under a name that is nobody's account."""
    if sent.get("files") or sent.get("license"):
        raise errors.not_offered("A base model is created empty. Send its files and its card afterwards.")
    if _private(sent):
        raise HubError("base-model-public", f"Base models under the name {owner[:39]} are public. Host a private one under your own name.")
    return hosting.create(actor=user, repo_id=f"{owner}/{name}")


def _refuse_foreign(user: User, owner: str, name: str) -> NoReturn:
    """Say that only owners create adapters under their names, or that the adapter is there, which is enough for who asked for that."""
    try:
        adapter = adapters.find(actor=user, repo_id=f"{owner}/{name}")
    except HubError as error:
        raise access.foreign(user, owner) from error
    raise HubError("name-taken", f"{adapter.repo_id} exists already.", status=409)


def _only_models(sent: Json) -> None:
    if body.text(sent, "type", "model") != "model":
        raise errors.not_offered("Medley hosts adapters, which are models. It has no datasets, spaces or other kinds of repositories.")


def _private(sent: Json) -> bool | None:
    """Return whether the repository shall be private; None where nothing is said. Older clients send `private`, newer ones `visibility`."""
    if sent.get("visibility") is not None:
        given = body.text(sent, "visibility")
        if given not in ("private", "public"):
            raise errors.not_offered(f"An adapter is public or private, not {given[:30]!r}.")
        return given == "private"
    private = sent.get("private")
    if private is not None and not isinstance(private, bool):
        raise HubError("body-invalid", 'The field "private" must be true or false.')
    return private
