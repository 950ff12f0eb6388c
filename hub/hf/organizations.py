"""Organisations: what they are, who is in them, what they own."""

from typing import Any

from django.http import HttpRequest, JsonResponse

from hub.errors import HubError
from hub.hf import paging, people, social
from hub.hf.door import door
from hub.models import Adapter, Role
from hub.services import access, organizations

Json = dict[str, Any]


@door("GET")
def overview(request: HttpRequest, name: str) -> Json:
    """Sum up an organisation, as far as the asker sees what it owns."""
    found = organizations.find(name=name)
    numbers = {
        "numUsers": organizations.members(organization=found).count(),
        "numModels": Adapter.objects.visible_to(request.user).filter(owner=found).count(),
        "numDatasets": 0,
        "numSpaces": 0,
        "numFollowers": 0,
    }
    return {**people.brief(found), "details": found.about, "isVerified": False, **numbers}


@door("GET")
def members(request: HttpRequest, name: str) -> JsonResponse:
    """List the members."""
    rows = organizations.members(organization=organizations.find(name=name))
    return paging.newest_first(request, rows, lambda row: {**people.person(row.user), "role": people.ROLES[Role(row.role)]})


@door("GET")
def repositories(request: HttpRequest, name: str) -> JsonResponse:
    """List what an organisation owns with its sizes, for its members."""
    user, found = access.require_login(request.user), organizations.find(name=name)
    if not access.role_at(user, found):
        raise HubError("forbidden", f"Only members of {found.username} list its repositories with their sizes.", status=403)
    return paging.newest_first(request, Adapter.objects.filter(owner=found).select_related("owner"), social.stored)
