"""The one shape of errors, for everything that can go wrong between the socket and the verb."""

import json
import logging
from typing import Any

import pytest
from django.test import Client

from hub.models import Adapter
from tests.api.conftest import V1, Api, order, refusal

pytestmark = pytest.mark.django_db
ROUTES = [("post", "/adapters"), ("patch", "/adapters/owner/sums"), ("post", "/compositions")]

BODIES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "json-invalid"),
    "nothing but spaces": (b"  ", "json-invalid"),
    "binary": (b"\xff\xfe", "json-invalid"),
    "NaN": (b'{"name": "x", "seed": NaN}', "json-invalid"),
    "Infinity": (b'{"name": "x", "seed": -Infinity}', "json-invalid"),
    "a key twice": (b'{"name": "x", "name": "y"}', "json-invalid"),
    "deep nesting": (b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json-invalid"),
    "nesting": (b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}", "json-invalid"),
    "a number without end": (b'{"seed": ' + b"1" * 100_000 + b"}", "json-invalid"),
    "a list": (b"[]", "body-invalid"),
    "null": (b"null", "body-invalid"),
    "a text": (b'"name"', "body-invalid"),
    "a number": (b"1e999", "body-invalid"),
}


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES.keys())
def test_bodies_that_are_none(as_owner: Api, sums: Adapter, body: bytes, code: str):
    for method, path in ROUTES:
        assert refusal(as_owner.json(method, path, body)) == (400, code)


FLAGS = [None, "yes", 1, 0, [], {}]
TAGS = [None, "a,b", [1], [None], {"a": 1}, [["a"]], ["a\x00b"], ["\udfff"]]
VALUES: list[tuple[str, str, str, list[Any]]] = [
    *((method, path, "private", FLAGS) for method, path in ROUTES),
    *((method, path, "tags", TAGS) for method, path in ROUTES[:2]),
    ("post", "/adapters", "name", [None, 1, True, [], {}, "a\x00b", "\ud800", "x" * 201]),
    ("post", "/compositions", "name", [None, 1, [], "a\x00b", "\ud800"]),
    ("post", "/compositions", "base_model", [None, 5, [], {}, "tiny/\x00llama", "\ud800", "x" * 501]),
    ("post", "/compositions", "modules", [None, 5, {}, [1], [None], [["owner/sums"]], True, ["owner/su\x00ms"], ["\ud800"]]),
    ("post", "/compositions", "examples", [None, 5, {}, "text", True]),
    ("post", "/compositions", "settings", [None, 5, [], "x", True, {"budget": "\x00"}, {"\x00": 1}, {"dtype": ["\ud800"]}, {"budget": 1e999}]),
    ("post", "/compositions", "seed", [None, "abc", 1.5, True, [], {}]),
    ("post", "/compositions", "method", [None, 5, [], {}, "med\x00ley", "x" * 101]),
    ("post", "/compositions", "description", [None, 5, "a\x00b", "\ud800", "x" * 1001]),
]


@pytest.mark.parametrize(("method", "path", "field", "values"), VALUES, ids=[f"{path} {field}" for _, path, field, _ in VALUES])
def test_values_of_another_type(as_owner: Api, sums: Adapter, method: str, path: str, field: str, values: list[Any]):
    good = {"/adapters": {"name": "new"}, "/compositions": order("owner/sums")}.get(path, {})
    for value in values:
        response = as_owner.json(method, path, json.dumps({**good, field: value}).replace("Infinity", "1e999").encode())
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "body-invalid"), value
        assert field in error["message"]
        assert any(name.split(".")[0] == field for name in error["fields"])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_field_nobody_knows(as_owner: Api, sums: Adapter, method: str, path: str):
    for name in ("tag", "Name", "", "id", "\ud800", "a\x00b"):
        response = as_owner.json(method, path, {"name": "new", name: 1} if path == "/adapters" else {name: 1})
        assert refusal(response) == (400, "unknown-field")
    assert "The fields are:" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/adapters", "/compositions"])
def test_a_field_that_is_missing(as_owner: Api, path: str):
    for response in (as_owner.json("post", path, {}), as_owner.post(V1 + path)):
        assert refusal(response)[0] in (400, 415)
    assert as_owner.json("post", path, {}).json()["error"]["fields"]["name"] == "It is required."


@pytest.mark.parametrize("name", ["q", "base_model", "tag", "owner", "cursor", "sort", "limit", "made", "revision", "other", "a\x00b"])
def test_nul_characters_in_query_strings(as_owner: Api, sums: Adapter, name: str):
    for path in (
        "/adapters",
        "/adapters/owner/sums",
        "/adapters/owner/sums/revisions",
        "/compositions",
        "/base-models",
        "/adapters/owner/sums/files/README.md",
    ):
        assert refusal(as_owner.get(V1 + path, {name: "a\x00b"})) == (400, "text-invalid")


@pytest.mark.parametrize("path", ["/adapters/ow%00ner/sums", "/adapters/owner/su%00ms/revisions", "/adapters/owner/sums/files/%00", "/adapters/owner/%ff%fe"])
def test_nul_characters_and_broken_bytes_in_addresses(anonymous: Api, sums: Adapter, path: str):
    assert anonymous.get(V1 + path).status_code == 404


@pytest.mark.parametrize("number", [0, 10**9, 10**18, 10**30, "9" * 5000, "-1", "1.5", "x", "١"])
def test_ids_that_no_composition_has(as_owner: Api, number: Any):
    for response in (as_owner.get(f"{V1}/compositions/{number}"), as_owner.post(f"{V1}/compositions/{number}/cancel")):
        assert response.status_code == 404
        assert set(response.json()["error"]) == {"code", "message", "fields"}


@pytest.mark.parametrize("path", ["/", "/adapters/", "/nothing", "/adapters/owner", "/adapters/owner/sums/nothing", "/compositions/1/2/3", "/docs/x"])
def test_addresses_that_do_not_exist(anonymous: Api, path: str):
    for method in ("get", "post", "put", "patch", "delete", "options", "head"):
        response = anonymous.generic(method.upper(), V1 + path)
        assert response.status_code == 404
        assert response["Content-Type"] == "application/json"
        assert method == "head" or response.json()["error"]["code"] == "no-such-address"


def test_methods_that_an_address_does_not_take(as_owner: Api, sums: Adapter):
    response = as_owner.put(f"{V1}/adapters/owner/sums")
    assert refusal(response) == (405, "method-not-allowed")
    assert "PATCH" in response["Allow"]


def test_a_body_of_another_kind(as_owner: Api):
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/jsonx", "", "rubbish"):
        assert refusal(as_owner.generic("POST", f"{V1}/adapters", b"name=x", kind)) == (415, "unsupported-media-type")
    assert as_owner.generic("POST", f"{V1}/adapters", b'{"name": "x"}', "Application/JSON; charset=utf-8").status_code == 201


def test_a_body_that_is_too_large(as_owner: Api, settings: Any):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert refusal(as_owner.json("post", "/adapters", {"name": "x" * 1000})) == (413, "body-too-large")


def test_a_fault_of_ours_is_logged_and_is_never_a_404(anonymous: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    for fault in (KeyError("password"), AttributeError("x"), LookupError("x"), OSError("x"), RecursionError()):

        def broken(fault: Exception = fault, **arguments: Any) -> None:
            raise fault

        monkeypatch.setattr("hub.services.adapters.find", broken)
        with caplog.at_level(logging.ERROR):
            response = anonymous.get(f"{V1}/adapters/owner/sums")
        assert response.status_code == 500
        assert response.json() == {"error": {"code": "internal", "message": response.json()["error"]["message"], "fields": {}}}
        assert "password" not in response.content.decode()
        assert any(record.exc_info and record.exc_info[1] is fault for record in caplog.records)
        caplog.clear()


def test_too_many_requests(anonymous: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rest_framework.throttling.AnonRateThrottle.THROTTLE_RATES", {"anon": "2/min", "user": "100/min"})
    for _ in range(2):
        assert anonymous.get(f"{V1}/methods").status_code == 200
    response = anonymous.get(f"{V1}/methods")
    assert refusal(response) == (429, "too-many-requests")
    assert 0 < int(response["Retry-After"]) <= 61


def test_a_forged_host_is_not_repeated(sums: Adapter):
    assert Client().get(f"{V1}/adapters?limit=1", headers={"Host": "evil.example"}).status_code == 400
