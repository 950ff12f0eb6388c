"""People and what they like: likers, likes, a person's overview, and the asker's own repositories."""

from typing import Any

from django.http import HttpRequest, JsonResponse

from hub.hf import paging, people, repo, shapes
from hub.hf.door import door
from hub.models import Adapter, Like
from hub.services import access, gates, organizations, social

Json = dict[str, Any]


@door("POST", "DELETE")
def like(request: HttpRequest, owner: str, name: str) -> Json:
    """Like a model, or take the like back."""
    access.require_login(request.user)
    social.like(actor=request.user, adapter=repo.find(request, owner, name), on=request.method == "POST")
    return {}


@door("GET")
def likers(request: HttpRequest, owner: str, name: str) -> JsonResponse:
    """List who likes a model."""
    rows = repo.find(request, owner, name).liked_by.filter(user__is_active=True).select_related("user")
    return paging.newest_first(request, rows, lambda row: people.person(row.user))


@door("GET")
def likes(request: HttpRequest, username: str) -> JsonResponse:
    """List what a person likes, as far as the asker sees it."""
    rows = Like.objects.filter(user=gates.find_person(username), adapter__in=Adapter.objects.visible_to(request.user))
    return paging.newest_first(request, rows.select_related("adapter__owner"), _liked)


@door("GET")
def overview(request: HttpRequest, username: str) -> Json:
    """Sum up a person, as far as the asker sees them."""
    user = gates.find_person(username)
    seen = Adapter.objects.visible_to(request.user)
    numbers = {"numModels": seen.filter(owner=user).count(), "numLikes": Like.objects.filter(user=user, adapter__in=seen).count()}
    return {
        **people.person(user),
        "isPro": False,
        "numDatasets": 0,
        "numSpaces": 0,
        "orgs": [people.brief(row.organization) for row in organizations.of(user=user)],
        "createdAt": shapes.moment(user.date_joined),
        **numbers,
    }


@door("GET")
def repositories(request: HttpRequest) -> JsonResponse:
    """List the asker's own repositories with their sizes."""
    user = access.require_login(request.user)
    return paging.newest_first(request, Adapter.objects.filter(owner=user).select_related("owner"), stored)


def _liked(row: Like) -> Json:
    return {"createdAt": shapes.moment(row.created_at), "repo": {"name": row.adapter.repo_id, "type": "model"}}


def stored(adapter: Adapter) -> Json:
    """Return a repository with its size."""
    visibility = "private" if adapter.private else "public"
    return {"id": adapter.repo_id, "type": "model", "updatedAt": shapes.moment(adapter.updated_at), "visibility": visibility, "storage": adapter.size}
