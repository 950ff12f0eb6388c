"""Fields that nobody asked for: whatever a form or body holds beside what it is for, it changes nothing else."""

import json
from typing import Any

import pytest
from django.test import Client

from hub.models import AccessToken, Adapter, Collection, Comment, Composition, Import, Membership, Report, User
from tests.attacks import hidden, routes
from tests.attacks.hidden import Stage
from tests.attacks.test_hidden import BODIES, HF_BODY, PERMISSIONS, literal, names_a_thing, names_the_known, values
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

# Columns of our tables that a person must not set, with values that would show.
EXTRA: dict[str, Any] = {
    "owner": "friend",
    "owner_id": 999,
    "user": "friend",
    "user_id": 999,
    "author": "friend",
    "is_staff": True,
    "is_superuser": True,
    "is_active": False,
    "is_organization": True,
    "is_namespace": True,
    "username": "admin",
    "downloads": 999999,
    "likes": 999999,
    "trend": 9e9,
    "head": 1,
    "head_id": 1,
    "kind": "base-model",
    "composed": True,
    "composable": True,
    "verified": True,
    "status": "succeeded",
    "priority": 99,
    "claim": "x",
    "attempts": 0,
    "result": 1,
    "scores": {"composed": {"loss": 0}},
    "recipe": {},
    "created_at": "1999-01-01T00:00:00Z",
    "deleted_at": None,
    "id": 999999,
    "pk": 999999,
    "digest": "x",
    "scope": "write",
    "role": "owner",
    "decided_by": 1,
    "gone": "",
    "sha": "0" * 40,
    "size": 1,
    "__class__": "x",
    "constructor": "x",
}
KEPT = {
    User: ("username", "email", "is_staff", "is_superuser", "is_active", "is_organization", "is_namespace", "password", "date_joined"),
    Adapter: ("owner_id", "kind", "head_id", "downloads", "likes", "trend", "composed", "composable", "created_at", "deleted_at", "size"),
    Composition: ("owner_id", "status", "priority", "claim", "attempts", "result_id", "created_at"),
    Comment: ("author_id", "adapter_id", "created_at", "gone"),
    Collection: ("owner_id",),
    Import: ("owner_id", "status", "sha", "claim", "attempts"),
    Report: ("reporter_id", "status", "decided_by_id", "person_id"),
    AccessToken: ("user_id", "digest", "scope"),
    Membership: ("user_id", "organization_id", "role"),
}


def protected() -> dict[str, list[Any]]:
    return {model.__name__: list(getattr(model, "with_deleted", model.objects).order_by("pk").values_list("pk", *names)) for model, names in KEPT.items()}


def test_the_rest_api_takes_no_field_that_it_does_not_know() -> None:
    """For every call with a body: columns of tables, added to a body that is right, are refused."""
    stage = hidden.stage()
    program = hidden.clients(stage.owner)[1]
    before, refused = protected(), 0
    for turn, route in enumerate(routes.of("hub.api")):
        for (name, method), body in BODIES.items():
            if name != route.name:
                continue
            address = route.at(**values(route, stage, stage.there)) if names_a_thing(route) else route.at(organization="guild", user="guest")
            sound = json.loads(literal(body, stage.there))
            for field, value in list(EXTRA.items())[turn % 3 :: 3]:
                if field not in sound and field not in ("owner", "role", "user", "description"):
                    answer = program.generic(method, address, json.dumps({**sound, field: value}), "application/json")
                    assert answer.status_code in (400, 403, 404), (route.name, field, answer.status_code)
                    refused += answer.status_code == 400
    assert refused > 100 and protected() == before


def test_the_hub_protocol_passes_over_them() -> None:
    stage = hidden.stage()
    program = hidden.clients(stage.owner)[1]
    before = protected()
    changes = {"hf-create", "hf-delete", "hf-move", "hf-commit", "hf-collection", "hf-access-grant", "hf-access-handle"}  # they do what they are for
    for route in routes.of("hub.hf"):
        if names_a_thing(route) and route.name not in changes:
            body = {**json.loads(literal(HF_BODY, stage.there)), **EXTRA}
            for method in ("POST", "PUT", "PATCH"):
                program.generic(method, route.at(**values(route, stage, stage.there)), json.dumps(body), "application/json")
    after = protected()
    assert after == {**before, "Adapter": after["Adapter"]} and [row[:4] for row in after["Adapter"]] == [row[:4] for row in before["Adapter"]]
    made = json.dumps({"name": "fresh", "type": "model", **{k: v for k, v in EXTRA.items() if k not in ("id", "kind")}})
    assert program.post("/api/repos/create", made, "application/json").status_code == 200
    fresh = Adapter.objects.get(name="fresh")
    assert (fresh.owner, fresh.downloads, fresh.likes, fresh.head, fresh.kind, fresh.composed) == (stage.owner, 0, 0, None, "adapter", False)


def forms(stage: Stage) -> dict[str, dict[str, str]]:
    """Each page's own form, filled in as its user would."""
    name = stage.there["name"]
    return {
        "/settings/profile": {"display_name": "O", "about": "", "website": ""},
        "/settings/organizations": {"name": "founded", "about": ""},
        "/settings/notifications": {"in_app": "comment"},
        "/collections/new": {"title": "Fresh", "description": ""},
        f"/collections/owner/{stage.there['slug']}/edit": {"title": "Changed", "description": ""},
        f"/owner/{name}/settings": {"private": "1", "tags": "a"},
        f"/owner/{name}/comments": {"body": "mine"},
        f"/owner/{name}/comments/{stage.there['comment']}/edit": {"body": "changed"},
        "/owner/sums/settings": {"private": "", "tags": "a"},
        "/guild/settings": {"about": "found"},
        "/accounts/password/change/": {"oldpassword": "wrong", "password1": PASSWORD, "password2": PASSWORD},
    }


def test_forms_of_pages_pass_over_them() -> None:
    stage = hidden.stage()
    browser = hidden.clients(stage.owner)[0]
    before = protected()
    for address, given in forms(stage).items():
        extra = {k: str(v) for k, v in EXTRA.items() if k not in given}
        assert browser.post(address, {**extra, **given}).status_code in (200, 302), address
    after = protected()
    for name, rows in before.items():
        now = {row[0]: row for row in after[name]}
        assert [now.get(row[0]) for row in rows] == rows, name
    new = {name: [row for row in after[name] if row[0] not in {old[0] for old in before[name]}] for name in before}
    assert {name: len(rows) for name, rows in new.items() if rows} == {"User": 1, "Comment": 1, "Collection": 1, "Membership": 1}
    [founded], [comment], [collection] = new["User"], new["Comment"], new["Collection"]
    assert founded[3:8] == (False, False, False, True, False) and comment[1] == collection[1] == stage.owner.pk


def test_nobody_signs_up_as_staff(db: None) -> None:
    given = {"username": "newcomer", "email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}
    client = Client()
    client.post("/accounts/signup/", {**{k: str(v) for k, v in EXTRA.items()}, **given})
    made = User.objects.get()
    assert (made.username, made.is_staff, made.is_superuser, made.is_active, made.is_organization, made.is_namespace) == (
        "newcomer",
        False,
        False,
        True,
        False,
        False,
    )
    client.post("/accounts/email/", {"action_add": "", "email": "x@example.org", "is_staff": "1", "verified": "1", "primary": "1", "user": "1"})
    assert not made.emailaddress_set.filter(verified=True).exists()  # type: ignore[attr-defined]


def test_these_are_columns() -> None:
    """The names above are those of the tables: one that was renamed would test nothing."""
    columns = {field.attname for model in KEPT for field in model._meta.fields} | {field.name for model in KEPT for field in model._meta.fields}
    assert {"is_staff", "downloads", "likes", "trend", "head", "priority", "claim", "attempts", "result", "digest", "scope", "role"} <= columns & set(EXTRA)
    assert all(name in columns for names in KEPT.values() for name in names)
    assert all(names_a_thing(route) or names_the_known(route) or not route.parameters or route.name in PERMISSIONS for route in routes.of("hub.api"))
