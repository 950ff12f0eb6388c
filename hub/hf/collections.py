"""Collections as Hugging Face clients know them: lists of models with notes, in their owner's order."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hub.errors import HubError
from hub.hf import body, errors, paging, people, repo, shapes
from hub.hf.door import door
from hub.models import Collection, CollectionItem
from hub.services import access, collections

Json = dict[str, Any]
SHOWN = 4  # items of a collection in a list
MODEL = "model"


@door("GET", "POST")
def every(request: HttpRequest) -> HttpResponseBase | Json:
    """List collections that the asker may see, or make one."""
    return _create(request) if request.method == "POST" else _listing(request)


@door("GET", "PATCH", "DELETE")
def one(request: HttpRequest, owner: str, slug: str) -> Json:
    """Show, change or delete a collection."""
    collection = _find(request, owner, slug)
    if request.method == "DELETE":
        collections.delete(actor=request.user, collection=collection)
        return {}
    if request.method == "GET":
        return _whole(request, collection)
    access.require_login(request.user)
    sent = body.json(request)
    if odd := sorted(sent.keys() - {"title", "description", "private"}):
        raise errors.not_offered(f"Medley does not know {odd[0][:40]!r} of a collection. It has title, description and private.")
    given: dict[str, Any] = {name: body.text(sent, name) for name in ("title", "description") if name in sent}
    changed = collections.update(actor=request.user, collection=collection, private=_flag(sent, "private"), **given)
    return {"success": True, "data": _whole(request, changed)}


@door("POST")
def items(request: HttpRequest, owner: str, slug: str) -> Json:
    """Put a model at the end of a collection."""
    collection = _find(request, owner, slug)
    access.require_login(request.user)
    sent = body.json(request)
    item = sent.get("item")
    if not isinstance(item, dict):
        raise HubError("body-invalid", 'The field "item" must be an object with id and type.')
    if item.get("type") != MODEL:
        raise errors.not_offered("Medley collects models, which are adapters and base models. It has nothing else to collect.")
    name, _, rest = body.text(item, "id").partition("/")
    collections.add(actor=request.user, collection=collection, adapter=repo.find(request, name, rest), note=body.text(sent, "note", ""))
    return _whole(request, collection)


@door("PATCH", "DELETE")
def item(request: HttpRequest, owner: str, slug: str, number: str) -> Json:
    """Write a note on an item or move it, or take it out."""
    collection = _find(request, owner, slug)
    access.require_login(request.user)
    pk = int(number, 16) if len(number) == 24 and number[:9] == "0" * 9 and set(number) <= set("0123456789abcdef") else 0
    if request.method == "DELETE":
        collections.remove(actor=request.user, collection=collection, number=pk)
        return {}
    sent = body.json(request)
    place = sent.get("position")
    if place is not None and (type(place) is not int or not 0 <= place < 2**31):
        raise HubError("body-invalid", 'The field "position" must be a number from 0.')
    note = body.text(sent, "note") if "note" in sent else None
    collections.change_item(actor=request.user, collection=collection, number=pk, note=note, position=place)
    return {}


def _listing(request: HttpRequest) -> HttpResponseBase:
    if request.GET.get("sort") not in (None, "", "lastModified", "last_modified"):
        raise errors.not_offered("Medley lists collections the newest first.")
    holding = None
    if name := request.GET.get("item", ""):
        owner, _, rest = name.removeprefix("models/").partition("/")
        holding = repo.find(request, owner, rest)
    rows = collections.listing(actor=request.user, owner=request.GET.get("owner", ""), holding=holding)
    shown: dict[int, list[CollectionItem]] = {}
    return paging.newest_first(
        request,
        rows,
        lambda row: _shape(row, shown.get(row.pk, [])),
        lambda found: shown.update(collections.firsts(actor=request.user, rows=found, number=SHOWN)),
    )


def _create(request: HttpRequest) -> HttpResponseBase | Json:
    user = access.require_login(request.user)
    sent = body.json(request)
    title = body.text(sent, "title")
    if body.text(sent, "namespace", user.username).lower() != user.username:
        raise HubError("forbidden", f"You make collections under your own name, {user.username}.", status=403)
    same = collections.listing(actor=user, owner=user.username).filter(title=title).first()
    if same is not None:
        error = HubError("collection-exists", f"You have a collection {title!r} already.", status=409)
        return errors.answer(request, error, slug=_slug(same))
    made = collections.create(actor=user, title=title, description=body.text(sent, "description", ""), private=_flag(sent, "private") or False)
    return _whole(request, made)


def _find(request: HttpRequest, owner: str, slug: str) -> Collection:
    return collections.find(actor=request.user, number=collections.number_of(slug), owner=owner)


def _flag(sent: Json, name: str) -> bool | None:
    value = sent.get(name)
    if value is not None and not isinstance(value, bool):
        raise HubError("body-invalid", f'The field "{name}" must be true or false.')
    return value


def _slug(row: Collection) -> str:
    return f"{row.owner.username}/{row.slug}"


def _whole(request: HttpRequest, row: Collection) -> Json:
    return {**_shape(row, list(collections.items(actor=request.user, collection=row))), "position": 0}


def _shape(row: Collection, found: list[CollectionItem]) -> Json:
    return {
        "slug": _slug(row),
        "title": row.title,
        "description": row.description,
        "owner": people.person(row.owner),
        "lastUpdated": shapes.moment(row.updated_at),
        "private": row.private,
        "theme": "blue",
        "upvotes": 0,
        "items": [_item(place, each) for place, each in enumerate(found)],
    }


def _item(place: int, row: CollectionItem) -> Json:
    """Return an item; places count among those that the asker sees."""
    note = {"note": {"text": row.note, "html": ""}} if row.note else {}
    return {"_id": f"{row.pk:024x}", "id": row.adapter.repo_id, "type": MODEL, "position": place, **note}
