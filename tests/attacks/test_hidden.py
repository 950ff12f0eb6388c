"""What is hidden looks exactly like what is not there, at every address of every door and for every method, and nobody else changes it.

The addresses come from Django's table: a new one fails here until it is said what it names.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.http.response import HttpResponseBase
from django.test import Client

from tests.attacks import hidden, routes
from tests.attacks.hidden import MARK, Stage
from tests.attacks.routes import METHODS, Route, filled

pytestmark = pytest.mark.django_db

ADAPTER = {"owner": "owner", "name": "name", "path": "path", "rev": "sha", "revision": "main", "number": "comment", "span": "span", "rest": "treesize/main"}
ADAPTER |= {"ref": "branch", "status": "pending", "right": "write", "folder": "docs"}
ON_MAIN = {"owner": "owner", "name": "name", "rev": "main"}
COLLECTION = {"owner": "owner", "slug": "slug", "number": "hex"}
# What an address names, by its parameters: each by a value of the stage, or by itself.
THINGS: dict[frozenset[str], dict[str, str]] = {
    frozenset(names): ADAPTER
    for names in (
        ("owner", "name"),
        ("owner", "name", "path"),
        ("owner", "name", "number"),
        ("owner", "name", "span"),
        ("owner", "name", "rev"),
        ("owner", "name", "rev", "path"),
        ("owner", "name", "rev", "folder"),
        ("owner", "name", "ref"),
        ("owner", "name", "rest"),
        ("owner", "name", "right"),
        ("owner", "name", "status"),
        ("owner", "name", "revision"),
    )
}
THINGS |= {
    frozenset({"owner", "slug"}): COLLECTION,
    frozenset({"owner", "slug", "number"}): COLLECTION,
    frozenset({"job_id"}): {"job_id": "job_id"},
    frozenset({"import_id"}): {"import_id": "import_id"},
    frozenset({"collection_id"}): {"collection_id": "collection_id"},
    frozenset({"collection_id", "item_id"}): {"collection_id": "collection_id", "item_id": "item_id"},
    frozenset({"notification_id"}): {"notification_id": "notification_id"},
}
NAMED: dict[str, dict[str, str]] = {
    "notification": {"number": "notification_id"},
    "hf-commit": ON_MAIN,
    "hf-tree-path": {"owner": "owner", "name": "name", "rev": "sha", "path": "docs"},
    "hf-preupload": ON_MAIN,
    "moderation-decide": {"number": "report"},
    "api-moderation-decide": {"number": "report"},
    "adapter-tensors": {"owner": "owner", "name": "name", "path": "adapter_model.safetensors"},
    "deleted-restore": {"owner": "owner", "name": "gone"},
    "deleted-purge": {"owner": "owner", "name": "gone"},
    "offer-answer": {"owner": "friend", "name": "gift"},
    "api-deleted-one": {"account": "owner", "name": "gone"},
    "api-my-offer": {"account": "friend", "name": "gift"},
}
# Of organisations and people everyone may know that they are there; what is theirs to decide is asked below.
GUARDED = {
    **dict.fromkeys(("owner",), "guild"),
    **dict.fromkeys(("organization",), "guild"),
    "user": "guest",
    "name": "guild",
    "username": "owner",
}
OPEN = {"user-detail", "api-organization", "api-members", "hf-organization", "hf-members", "hf-overview", "hf-likes"}
# A link or key is a permission of its own, to send bytes and not to read any: tests.attacks.test_hf_lfs and test_xet.
PERMISSIONS = {"hf-lfs-file", "hf-lfs-part", "hf-lfs-complete", "hf-xet-chunk", "hf-xet-xorb", "hf-xet-shard", "hf-xet-grant", "hf-xet-shard-v2"}
# The same for machines: what names their jobs takes a worker token and a claim, or is a link: tests.attacks.test_workers and tests.api.test_workers.
PERMISSIONS |= {"api-worker-report", "api-worker-finish", "api-worker-fail", "api-worker-release", "api-worker-input"}
PERMISSIONS |= {"confirm-email"}  # the key of a mail: tests.attacks.test_guessing and tests.attacks.test_secrets

# One form for every page: each view takes what it knows.
FORM = {
    "name": "found",
    "tags": "found",
    "private": "1",
    "gated": "",
    "to": "friend",
    "confirm": "{name}",
    "body": "found",
    "reason": "spam",
    "text": "found",
    "accept": "1",
    "on": "1",
    "status": "accepted",
    "user": "friend",
    "role": "owner",
    "decision": "dismiss",
    "what": "adapter",
    "of": "{report}",
    "title": "found",
    "item": "{item_id}",
    "note": "found",
    "number": "{notification_id}",
    "digest": "{digest}",
    "archived": "1",
    "modules": "owner/{name}",
    "base_model": "{base}",
    "find": "{word}",
    "reply_to": "{comment}",
    "message": "found",
    "deletions": "{path}",
    "parent": "{sha}",
}
EXAMPLES = json.dumps(hidden.EXAMPLES)
# The REST API takes no field that it does not know.
BODIES = {
    ("api-adapter", "PATCH"): '{"tags": ["found"], "private": false}',
    ("api-adapters", "POST"): '{"name": "{name}", "owner": "owner"}',
    ("api-transfer", "POST"): '{"to": "neighbour"}',
    ("api-organizations", "POST"): '{"name": "owner"}',
    ("api-organization", "PATCH"): '{"about": "found"}',
    ("api-member", "PUT"): '{"role": "owner"}',
    ("api-invitations", "POST"): '{"user": "friend", "role": "owner"}',
    ("api-my-invitation", "POST"): '{"accept": true}',
    ("api-my-offer", "POST"): '{"accept": true}',
    ("api-comments", "POST"): '{"body": "found"}',
    ("api-comment", "PATCH"): '{"body": "found"}',
    ("api-adapter-reports", "POST"): '{"reason": "spam"}',
    ("api-moderation-decide", "POST"): '{"decision": "dismiss"}',
    ("api-comment-reports", "POST"): '{"reason": "spam"}',
    ("api-collections", "POST"): '{"title": ""}',
    ("api-collection", "PATCH"): '{"title": "found", "private": false}',
    ("api-collection-items", "POST"): '{"adapter": "owner/gate"}',
    ("api-collection-item", "PATCH"): '{"note": "found"}',
    ("api-compositions", "POST"): f'{{"name": "found", "base_model": "{{base}}", "modules": ["owner/{{name}}"], "examples": {EXAMPLES}}}',
    ("api-imports", "POST"): '{"repo_id": "https://x.example"}',
}
# The hub protocol passes over what it does not know: one body for all but commits.
HF_BODY = json.dumps(
    {
        "name": "{name}",
        "organization": "owner",
        "fromRepo": "owner/{name}",
        "toRepo": "neighbour/found",
        "private": False,
        "tag": "found",
        "operation": "upload",
        "objects": [{"oid": "{blob}", "size": "{size}"}],
        "oid": "{blob}",
        "size": "{size}",
        "files": [{"path": "a.txt", "size": 1}],
        "paths": ["{path}"],
        "status": "accepted",
        "user": "friend",
        "item": {"type": "model", "id": "owner/{name}"},
        "content": "x",
    }
).replace('"{size}"', "{size}")
HF_BODIES = {
    "hf-commit": '{"key": "header", "value": {"summary": "found"}}\n{"key": "file", "value": {"path": "found.txt", "content": "eA=="}}\n',
    "hf-collection": '{"title": "found", "private": false}',
}
# What is named in the query of an address: a second way to ask for it.
QUERIES = {
    "upload": ("to=owner/{name}",),
    "compose": ("module=owner/{name}", "from={job_id}", "base_model={base}"),
    "compose-modules": ("base_model={base}&modules=owner/{name}", "base_model={base}&find={word}"),
    "adapter-list": ("q={word}", "tag={tag}", "base_model={base}", "owner=owner", "q={name}&sort=trending", "language={word}"),
    "tag-suggestions": ("q={tag}",),
    "collection-list": ("owner=owner",),
    "user-detail": ("show=collections", "show=likes"),
    "api-adapters": ("q={word}", "tag={tag}", "base_model={base}", "owner=owner&sort=likes", "made=composed"),
    "api-collections": ("owner=owner",),
    "api-file": ("revision={sha}",),
    "adapter-file": ("revision={sha}",),
    "adapter-detail": ("revision={sha}",),
    "adapter-zip": ("revision={sha}",),
    "hf-models": ("search={word}", "author=owner", "filter={tag}", "filter=base_model:{base}", "full=true&cardData=true&config=true"),
    "hf-collections": ("owner=owner", "item=models/owner/{name}"),
    "hf-model": ("blobs=true", "expand[]=siblings"),
    "import": ("repo_id={base}",),
}


def values(route: Route, stage: Stage, which: Mapping[str, Any]) -> dict[str, object]:
    """Return what an address names; of a hidden thing, or of one that is not there."""
    names = NAMED.get(route.name) or THINGS[route.parameters]
    return {name: which.get(names[name], names[name]) for name in route.parameters}


def names_a_thing(route: Route) -> bool:
    return route.name in NAMED or route.parameters in THINGS


def names_the_known(route: Route) -> bool:
    """Whether it names an organisation or a person, which everyone may know of."""
    return bool(route.parameters) and route.parameters <= set(GUARDED) and not names_a_thing(route)


OURS = routes.of("hub.web", "hub.api", "hub.hf", "drf_spectacular.views")


def test_every_address_is_covered() -> None:
    """A new address has to be said of what it names, or it fails here."""
    odd = [r.name for r in OURS if r.parameters and not names_a_thing(r) and not names_the_known(r) and r.name not in PERMISSIONS]
    assert odd == []
    assert {r.room for r in routes.every()} - {r.room for r in OURS} == {"hub.health", "hub.metrics", "allauth.account", "allauth.mfa", "allauth.usersessions"}
    unused = (set(NAMED) | OPEN | PERMISSIONS | set(QUERIES) | set(HF_BODIES) | {name for name, _ in BODIES}) - {r.name for r in OURS}
    assert unused == set()


def asks(route: Route, method: str, client: Client, address: str, which: Mapping[str, Any]) -> HttpResponseBase:
    """Send one request with a body that its owner could send."""
    if method in ("GET", "HEAD"):
        return client.generic(method, address)
    if route.room == "hub.api":
        if route.name == "api-commits":
            return client.post(address, {"message": "found", "deletions": filled("{path}", which)})
        return client.generic(method, address, literal(BODIES.get((route.name, method), ""), which), "application/json")
    if route.room == "hub.hf":
        return client.generic(method, address, literal(HF_BODIES.get(route.name, HF_BODY), which), "application/json")
    return client.generic(method, address, "&".join(f"{k}={filled(v, which)}" for k, v in FORM.items()), "application/x-www-form-urlencoded")


def literal(body: str, which: Mapping[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(which.get(match[1], match[0])), body)


def plain(said: str, stage: Stage) -> str:
    """An answer without the words and numbers of the question, which both have in their place, and without what differs from page to page."""
    said = re.sub(r'name="csrfmiddlewaretoken" value="\w+"|csrftoken=\w+|"X-CSRFToken": "\w+"|nonce="[^"]+"|<time .*?</time>', "", said)
    for name, one in sorted(stage.there.items(), key=lambda pair: -len(str(pair[1]))):
        for value in (one, stage.missing[name]):
            if isinstance(value, int):
                said = re.sub(rf"(/|=|%2F|%3D){value}\b", r"\1<number>", said)
            elif value != stage.owner.username:
                said = said.replace(value, f"<{name}>").replace(value.replace("/", "%2F"), f"<{name}>")
    return said


def state() -> dict[str, str]:
    """All rows of all tables that say something, but for sessions and the moments at which tokens were used."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if model._meta.app_label in ("hub", "allauth_idp_oidc", "account", "mfa") and model._meta.model_name != "facet":
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)} ORDER BY 1")
                found[model._meta.db_table] = repr(cursor.fetchall())
    return found


def variants(route: Route, method: str) -> tuple[str, ...]:
    return ("", *QUERIES.get(route.name, ())) if method == "GET" else ("", *QUERIES.get(route.name, ())[:1])


def who(route: Route, pair: tuple[Client, Client]) -> Client:
    """The hub protocol and the API are asked by token, pages by session."""
    return pair[route.room in ("hub.hf", "hub.api")]


@pytest.mark.parametrize("room", ["hub.web", "hub.api", "hub.hf"])
def test_hidden_is_missing(room: str) -> None:
    """The main thing: every address that names something of an owner's, for every method, for everyone who is not let in."""
    stage = hidden.stage()
    named = [route for route in OURS if route.room == room and (names_a_thing(route) or (not route.parameters and route.name in QUERIES))]
    warm(stage, named)
    before = state()
    problems = [problem for route in named for method in METHODS for problem in compare(stage, route, method)]
    after = state()
    problems += [f"{table} changed: {difference(before[table], after[table])}" for table in before if before[table] != after[table]]
    assert problems == [], "\n".join(problems)


def warm(stage: Stage, named: list[Route]) -> None:
    """Let the owner look first: what was kept for them must not be what others get."""
    mine = hidden.clients(stage.owner)
    for route in named:
        for query in QUERIES.get(route.name, ()):
            at = values(route, stage, stage.there) if route.parameters else {}
            assert who(route, mine).get(f"{route.at(**at)}?{filled(query, stage.there)}").status_code < 400, (route.name, query)


def compare(stage: Stage, route: Route, method: str) -> Iterator[str]:
    """Ask for the hidden thing and for the missing one, and say how the answers differ, and what of the hidden one they hold."""
    for name, pair in stage.outsiders.items():
        if name == "anonymous" and (method == "HEAD" or (method in ("PUT", "PATCH", "DELETE") and route.room == "hub.web")):
            continue  # no page takes these, and a HEAD is a GET
        for query in variants(route, method):
            seen = []
            for which in (stage.there, stage.missing):
                at = values(route, stage, which) if route.parameters else {}
                address = route.at(**at) + (f"?{filled(query, which)}" if query else "")
                seen.append(plain(hidden.text_of(asks(route, method, who(route, pair), address, which)), stage))
            if seen[0] != seen[1]:
                yield f"{method} {route.name} ?{query} as {name}: {difference(*seen)}"
            if MARK in seen[0].lower():
                yield f"{method} {route.name} ?{query} as {name} says {excerpt(seen[0])}"


def difference(one: str, other: str) -> str:
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{one[max(0, place - 80) : place + 120]!r} / {other[max(0, place - 80) : place + 120]!r}"


def excerpt(said: str) -> str:
    place = said.lower().find(MARK)
    return repr(said[max(0, place - 100) : place + 60])


# What an owner is refused too.
NOT_FOR_OWNERS = {"adapter-ask", "hf-ask-access", "hf-api-ask-access", "api-adapter-reports", "api-comment-reports"}  # of what is one's own
NOT_FOR_OWNERS |= {"adapter-let-in", "composition-show"}  # nobody asked, nothing was published
NOT_FOR_OWNERS |= {"moderation-decide", "api-moderation-decide"}  # for staff
NOT_FOR_OWNERS |= {"hf-access-grant", "hf-access-handle"}  # it has no gate
NOT_FOR_OWNERS |= {"hf-model-rest", "hf-git", "hf-git-refs", "hf-git-rest", "hf-file-rest"}  # not offered


def test_the_owner_gets_what_others_are_refused() -> None:
    """The same calls as above, in the owner's name: they find something, so that the refusals above mean something."""
    stage = hidden.stage()
    mine = hidden.clients(stage.owner)
    found: dict[str, dict[str, int]] = {}
    for route in OURS:
        if not names_a_thing(route):
            continue
        for method in METHODS:
            address = route.at(**values(route, stage, stage.there))
            with transaction.atomic():
                answer = asks(route, method, who(route, mine), address, stage.there)
                transaction.set_rollback(True)
            found.setdefault(route.name, {})[method] = answer.status_code
    never = {name for name, got in found.items() if not any(status < 400 for status in got.values())}
    assert never == NOT_FOR_OWNERS, " ".join(f"{name}:{found[name]}" for name in sorted(never ^ NOT_FOR_OWNERS))
