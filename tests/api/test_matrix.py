"""Every address of the API against everyone who may not know what is behind it: a hidden thing looks exactly like a missing one."""

from typing import Any

import pytest
from django.urls import URLPattern
from django.utils import timezone

from hub.api import urls
from hub.models import Adapter, Composition, Event, User
from tests.api.conftest import V1, Api, client, multipart, order
from tests.conftest import Upload

pytestmark = pytest.mark.django_db

METHODS = ("get", "head", "post", "put", "patch", "delete")
NOT_ABOUT_ONE_THING = {"api-me", "api-base-models", "api-methods", "api-adapters", "api-compositions", "api-schema", "api-docs", "api-no-such-address"}


def routes(kind: str) -> list[URLPattern]:
    """The addresses that name a thing: an adapter by `owner`, a composition by `job_id`."""
    return [pattern for pattern in urls.urlpatterns if kind in pattern.pattern.converters]


def offers(pattern: URLPattern) -> list[str]:
    """The methods that an address takes."""
    view = pattern.callback.view_class
    return [method for method in METHODS if hasattr(view, "get" if method == "head" else method)]


ADAPTER_CALLS = [(p, method) for p in routes("owner") for method in offers(p)]
COMPOSITION_CALLS = [(p, method) for p in routes("job_id") for method in offers(p)]


def names(calls: list[tuple[URLPattern, str]]) -> list[str]:
    return [f"{method} {pattern.name}" for pattern, method in calls]


def ask(api: Api, pattern: URLPattern, method: str, **values: Any) -> tuple[int, bytes, dict[str, str]]:
    """Call an address with a body that its owner could send, and return all that can be seen of the answer."""
    path = f"{V1}/{pattern.pattern._route}"
    for name, value in {"path": "adapter_config.json", **values}.items():
        for converter in ("str", "int", "path"):
            path = path.replace(f"<{converter}:{name}>", str(value))
    body, kind = b"", "application/json"
    if pattern.name == "api-commits":
        body, kind = multipart([("files", "notes.txt", b"x")])
    elif method == "patch":
        body = b'{"tags": ["found"]}'
    response = api.generic(method.upper(), path, body, kind)
    content = b"".join(response.streaming_content) if response.streaming else response.content
    headers = {name: value for name, value in response.headers.items() if name != "X-Request-Id"}  # a new one for every request
    return response.status_code, content, headers


def test_every_address_is_in_the_matrix():
    about_things = {pattern.name for pattern, _ in ADAPTER_CALLS + COMPOSITION_CALLS}
    assert about_things | NOT_ABOUT_ONE_THING == {pattern.name for pattern in urls.urlpatterns}
    assert len(ADAPTER_CALLS) >= 11


@pytest.mark.parametrize(("pattern", "method"), ADAPTER_CALLS, ids=names(ADAPTER_CALLS))
def test_a_private_adapter(owner: User, stranger: User, secret: Adapter, pattern: URLPattern, method: str):
    before, events = Adapter.objects.values().get(), Event.objects.count()
    for api in (Api(), client(stranger), client(stranger, "read")):
        tokens = Event.objects.count()
        hidden = ask(api, pattern, method, owner="owner", name="secret")
        assert hidden == ask(api, pattern, method, owner="owner", name="absent") == ask(api, pattern, method, owner="nobody", name="secret")
        assert hidden[0] in (403, 404) if method not in ("get", "head") else hidden[0] == 404
        assert Event.objects.count() == tokens
    assert Adapter.objects.values().get() == before
    assert Event.objects.count() >= events
    assert ask(client(owner), pattern, method, owner="owner", name="secret")[0] in (200, 201, 204)


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
