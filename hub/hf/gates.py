"""Gated models: who asks for their files, and whom the owner lets in."""

from typing import Any

from django.http import HttpRequest, JsonResponse

from hub.hf import body, paging, people, repo, shapes
from hub.hf.door import door
from hub.models import AccessRequest, Adapter
from hub.services import access, gates

Json = dict[str, Any]


@door("POST")
def ask(request: HttpRequest, owner: str, name: str) -> Json:
    """Ask to be let in; the answer says whether one is."""
    access.require_login(request.user)
    row = gates.ask(actor=request.user, adapter=repo.find(request, owner, name))
    return {"status": row.status}


@door("GET")
def listing(request: HttpRequest, owner: str, name: str, status: str) -> JsonResponse:
    """List the requests with a status, the newest first; for the owner alone."""
    adapter = repo.managed(request, owner, name)
    if status not in AccessRequest.Status.values:
        raise gates.no_request()
    return paging.newest_first(request, gates.requests(actor=request.user, adapter=adapter, status=status), _shape)


@door("POST")
def handle(request: HttpRequest, owner: str, name: str) -> Json:
    """Accept or reject a request, or put it back."""
    adapter = repo.managed(request, owner, name)
    sent = body.json(request)
    gates.decide(actor=request.user, adapter=adapter, request=_request(request, adapter, sent), status=body.text(sent, "status"))
    return {}


@door("POST")
def grant(request: HttpRequest, owner: str, name: str) -> Json:
    """Let somebody in who has not asked."""
    adapter = repo.managed(request, owner, name)
    return _shape(gates.grant(actor=request.user, adapter=adapter, username=body.text(body.json(request), "user")))


def _request(request: HttpRequest, adapter: Adapter, sent: Json) -> AccessRequest:
    """Return the request that the body names: by its person, or by its id."""
    if sent.get("user") is not None:
        return gates.find_request(actor=request.user, adapter=adapter, username=body.text(sent, "user"))
    number = body.text(sent, "requestId")
    rows = gates.requests(actor=request.user, adapter=adapter)
    row = rows.filter(pk=int(number, 16)).first() if len(number) == 24 and number[:9] == "0" * 9 and set(number) <= set("0123456789abcdef") else None
    if row is None:
        raise gates.no_request()
    return row


def _shape(row: AccessRequest) -> Json:
    """Return a request as clients list it. The address of a person's mail stays with them."""
    return {"requestId": f"{row.pk:024x}", "user": {**people.person(row.user), "email": None}, "status": row.status, "timestamp": shapes.moment(row.created_at)}
