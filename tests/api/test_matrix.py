"""Every address of the API against everyone who may not know what is behind it: a hidden thing looks exactly like a missing one."""

from typing import Any

import pytest
from django.urls import URLPattern
from django.utils import timezone

from hub.api import urls
from hub.models import Adapter, Comment, Composition, Event, Import, Invitation, Membership, User
from hub.services import comments, lifecycle, organizations
from tests.api.conftest import V1, Api, client, multipart, order
from tests.conftest import Upload, person

pytestmark = pytest.mark.django_db

METHODS = ("get", "head", "post", "put", "patch", "delete")
LISTINGS = {"api-base-models", "api-methods", "api-adapters", "api-compositions", "api-imports", "api-organizations"}
LISTINGS |= {"api-my-invitations", "api-my-offers", "api-deleted", "api-my-log"}
NOT_ABOUT_ONE_THING = {"api-me", *LISTINGS, "api-schema", "api-docs", "api-no-such-address"}
# These have tests of their own, here and beside the pages.
NOT_ABOUT_ONE_THING |= {"api-collections", "api-collection", "api-collection-items", "api-collection-item"}
NOT_ABOUT_ONE_THING |= {"api-notifications", "api-notifications-read", "api-notification-read"}
NOT_ABOUT_ONE_THING |= {"api-moderation", "api-moderation-decide", "api-moderation-takedowns", "api-moderation-undo"}
NOT_ABOUT_ONE_THING |= {f"api-worker-{what}" for what in ("claim", "report", "finish", "fail", "release", "input")}  # test_workers.py
OWN_REPORTS = {"api-adapter-reports", "api-comment-reports"}  # nobody reports what is theirs


def routes(kind: str) -> list[URLPattern]:
    """The addresses that name a thing: an adapter by `owner`, a composition by `job_id`, an import by `import_id`."""
    return [pattern for pattern in urls.urlpatterns if kind in pattern.pattern.converters]


def offers(pattern: URLPattern) -> list[str]:
    """The methods that an address takes."""
    view = pattern.callback.view_class
    return [method for method in METHODS if hasattr(view, "get" if method == "head" else method)]


ADAPTER_CALLS = [(p, method) for p in routes("owner") for method in offers(p)]
COMPOSITION_CALLS = [(p, method) for p in routes("job_id") for method in offers(p)]
ORGANIZATION_CALLS = [(p, method) for p in routes("organization") for method in offers(p)]
WAITING_CALLS = [(p, method) for p in routes("account") for method in offers(p)]
BODIES = {
    ("api-transfer", "post"): b'{"to": "stranger"}',
    ("api-organization", "patch"): b'{"about": "Found."}',
    ("api-member", "put"): b'{"role": "reader"}',
    ("api-invitations", "post"): b'{"user": "stranger", "role": "owner"}',
    ("api-my-invitation", "post"): b'{"accept": true}',
    ("api-my-offer", "post"): b'{"accept": true}',
    ("api-comments", "post"): b'{"body": "found"}',
    ("api-comment", "patch"): b'{"body": "found"}',
    ("api-adapter-reports", "post"): b'{"reason": "spam"}',
    ("api-comment-reports", "post"): b'{"reason": "spam"}',
}
IMPORT_CALLS = [(p, method) for p in routes("import_id") for method in offers(p)]


def names(calls: list[tuple[URLPattern, str]]) -> list[str]:
    return [f"{method} {pattern.name}" for pattern, method in calls]


def ask(api: Api, pattern: URLPattern, method: str, **values: Any) -> tuple[int, bytes, dict[str, str]]:
    """Call an address with a body that its owner could send, and return all that can be seen of the answer."""
    path = f"{V1}/{pattern.pattern._route}"
    for name, value in {"path": "adapter_config.json", "number": 1, **values}.items():
        for converter in ("str", "int", "path"):
            path = path.replace(f"<{converter}:{name}>", str(value))
    body, kind = b"", "application/json"
    if pattern.name == "api-commits":
        body, kind = multipart([("files", "notes.txt", b"x")])
    elif method == "patch" and pattern.name == "api-adapter":
        body = b'{"tags": ["found"]}'
    else:
        body = BODIES.get((pattern.name, method), body)
    response = api.generic(method.upper(), path, body, kind)
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return response.status_code, content, {name: value for name, value in response.headers.items() if name != "X-Request-Id"}  # every answer has its own


def test_every_address_is_in_the_matrix():
    about_things = {pattern.name for pattern, _ in ADAPTER_CALLS + COMPOSITION_CALLS + ORGANIZATION_CALLS + WAITING_CALLS + IMPORT_CALLS}
    assert about_things | NOT_ABOUT_ONE_THING == {pattern.name for pattern in urls.urlpatterns}
    assert len(ADAPTER_CALLS) >= 11


@pytest.mark.parametrize(("pattern", "method"), ADAPTER_CALLS, ids=names(ADAPTER_CALLS))
def test_a_private_adapter(owner: User, stranger: User, secret: Adapter, pattern: URLPattern, method: str):
    number = comments.add(actor=owner, adapter=secret, body="hidden").pk
    before, events = (Adapter.objects.values().get(), list(Comment.objects.values())), Event.objects.count()
    for api in (Api(), client(stranger), client(stranger, "read")):
        tokens = Event.objects.count()
        hidden = ask(api, pattern, method, owner="owner", name="secret", number=number)
        assert hidden == ask(api, pattern, method, owner="owner", name="absent") == ask(api, pattern, method, owner="nobody", name="secret")
        assert hidden[0] in (403, 404) if method not in ("get", "head") else hidden[0] == 404
        assert Event.objects.count() == tokens
    assert (Adapter.objects.values().get(), list(Comment.objects.values())) == before
    assert Event.objects.count() >= events
    assert ask(client(owner), pattern, method, owner="owner", name="secret", number=number)[0] in (
        (400,) if pattern.name in OWN_REPORTS else (200, 201, 202, 204)
    )


@pytest.mark.parametrize(("pattern", "method"), COMPOSITION_CALLS, ids=names(COMPOSITION_CALLS))
def test_a_composition(owner: User, stranger: User, sums: Adapter, pattern: URLPattern, method: str):
    api = client(owner)
    pk = api.json("post", "/compositions", order("owner/sums")).json()["id"]
    before = Composition.objects.values().get()
    for other in (Api(), client(stranger), client(stranger, "read")):
        assert ask(other, pattern, method, job_id=pk) == ask(other, pattern, method, job_id=pk + 1)
        assert ask(other, pattern, method, job_id=pk)[0] in (403, 404)
    assert Composition.objects.values().get() == before
    Composition.objects.update(started_at=timezone.now())  # one that has begun can be finished early
    assert ask(api, pattern, method, job_id=pk)[0] == 200


@pytest.mark.parametrize(("pattern", "method"), ORGANIZATION_CALLS, ids=names(ORGANIZATION_CALLS))
def test_an_organisation(owner: User, friend: User, stranger: User, pattern: URLPattern, method: str):
    """Anyone may look at it and at who is in it; everything else is its owners', and what one does about oneself."""
    acme = organizations.create(actor=owner, name="acme")
    for user, role in ((friend, "writer"), (person("reader"), "reader")):
        organizations.invite(actor=owner, organization=acme, username=user.username, role=role)
        organizations.answer(actor=user, organization=acme, accept=True)
    invited = person("invited")
    organizations.invite(actor=owner, organization=acme, username="invited", role="reader")
    values = {"organization": "acme", "user": "invited" if pattern.name == "api-invitation" else "friend"}
    is_open = pattern.name in ("api-organization", "api-members") and method in ("get", "head")
    before = [list(model.objects.order_by("pk").values()) for model in (User, Membership, Invitation)]
    for user in (stranger, User.objects.get(username="reader"), friend, invited):
        if (pattern.name, user) in (("api-my-invitation", invited), ("api-member", friend)):
            continue  # their own
        assert (ask(client(user), pattern, method, **values)[0] in (403, 404)) != is_open
    assert (ask(Api(), pattern, method, **values)[0] in (401, 403)) != is_open
    assert [list(model.objects.order_by("pk").values()) for model in (User, Membership, Invitation)] == before
    asker = invited if pattern.name == "api-my-invitation" else owner
    assert ask(client(asker, "read"), pattern, method, **values)[0] == (403 if method not in ("get", "head") else 200)
    assert ask(client(asker), pattern, method, **values)[0] in (200, 201, 204)


@pytest.mark.parametrize(("pattern", "method"), WAITING_CALLS, ids=names(WAITING_CALLS))
def test_what_waits_for_somebody_else(owner: User, friend: User, stranger: User, secret: Adapter, upload: Upload, pattern: URLPattern, method: str):
    """An offer is its receiver's to answer, a deleted adapter its owner's to restore; for others there is none."""
    lifecycle.transfer(actor=owner, adapter=secret, to=friend)
    lifecycle.delete(actor=owner, adapter=upload(owner, "gone"))
    name, asker = ("secret", friend) if pattern.name == "api-my-offer" else ("gone", owner)
    before = list(Adapter.with_deleted.order_by("pk").values())
    for other in (stranger, owner if asker == friend else friend):
        hidden = ask(client(other), pattern, method, account="owner", name=name)
        assert hidden == ask(client(other), pattern, method, account="owner", name="absent") and hidden[0] == 404
    assert ask(Api(), pattern, method, account="owner", name=name)[0] in (401, 403)
    assert list(Adapter.with_deleted.order_by("pk").values()) == before
    assert ask(client(asker), pattern, method, account="owner", name=name)[0] in (200, 204)


def test_lists_do_not_tell(owner: User, stranger: User, secret: Adapter, upload: Upload):
    """Neither a filter nor a count gives a private adapter away."""
    for api in (Api(), client(stranger)):
        for query in ("q=secret", "owner=owner", "base_model=tiny/llama", "composable=true", "sort=trending"):
            assert api.get(f"{V1}/adapters?{query}").json() == {"items": [], "next": None}
        assert api.get(f"{V1}/base-models").json() == {"items": []}


def test_auto_does_not_tell(friend: User, stranger: User, upload: Upload):
    upload(friend, "hidden", private=True)
    upload(stranger, "open")
    found = client(stranger).json("post", "/compositions", {**order(private=True), "modules": "auto"}).json()
    assert [module["id"] for module in found["modules"]] == ["stranger/open"]


@pytest.mark.parametrize(("pattern", "method"), IMPORT_CALLS, ids=names(IMPORT_CALLS))
def test_an_import(owner: User, stranger: User, pattern: URLPattern, method: str):
    row = Import.objects.create(owner=owner, repo_id="acme/secret", revision="main", name="secret")
    for api in (Api(), client(stranger), client(stranger, "read")):
        hidden = ask(api, pattern, method, import_id=row.pk)
        assert hidden == ask(api, pattern, method, import_id=row.pk + 999)
        assert hidden[0] in (403, 404) if method not in ("get", "head") else hidden[0] == 404
    row.refresh_from_db()
    assert row.status == "queued"
    assert ask(client(owner), pattern, method, import_id=row.pk)[0] == 200


def test_an_import_over_the_api(owner: User, stranger: User, settings: Any):
    settings.IMPORTS = "https://hub.example"
    api = client(owner)
    answer = api.json("post", "/imports", {"repo_id": "acme/my-lora", "private": True})
    assert answer.status_code == 202 and answer.json()["adapter"] is None and answer.json()["status"] == "queued"
    assert api.get(answer["Location"]).json() == answer.json()
    assert [row["id"] for row in api.get(f"{V1}/imports").json()["items"]] == [answer.json()["id"]]
    assert client(stranger).get(f"{V1}/imports").json()["items"] == []
    assert api.json("post", "/imports", {"repo_id": "https://x.example/a/b"}).json()["error"]["code"] == "repo-id-invalid"
    assert client(owner, "read").json("post", "/imports", {"repo_id": "a/b"}).status_code == 403
    assert Api().json("post", "/imports", {"repo_id": "a/b"}).status_code == 401
    Import.objects.update(status="failed", error_code="import-gated", error_message="It is gated.")
    assert api.get(answer["Location"]).json()["error"] == {"code": "import-gated", "message": "It is gated."}


def test_notifications(owner: User, friend: User, stranger: User, sums: Adapter):
    comments.add(actor=friend, adapter=sums, body="hello")
    (row,) = client(owner).get(f"{V1}/notifications").json()["items"]
    assert (row["kind"], row["adapter"], row["actor"], row["read"]) == ("comment", "owner/sums", "friend", False) and "#comment-" in row["url"]
    assert client(stranger).get(f"{V1}/notifications").json()["items"] == [] and Api().get(f"{V1}/notifications").status_code == 401
    address = f"/notifications/{row['id']}/read"
    for api, status in ((Api(), 401), (client(stranger), 404), (client(owner, "read"), 403)):
        assert api.json("put", address, {}).status_code == status
    assert client(owner).get(f"{V1}/notifications").json()["items"][0]["read"] is False
    assert client(owner).json("put", address, {}).status_code == 204
    assert client(owner).get(f"{V1}/notifications").json()["items"][0]["read"] is True
    assert client(owner).json("put", "/notifications/read", {}).status_code == 204
