"""Holds an answer of the API against its own OpenAPI schema: the status is announced, and the body has these fields and no others."""

import functools
from typing import Any

import jsonschema
from django.http.response import HttpResponseBase
from drf_spectacular.generators import SchemaGenerator

PREFIX = "/api/v1/"
ALWAYS = {405}  # no schema lists the methods that an address does not take


@functools.cache
def schema() -> dict[str, Any]:
    """The schema, in the dialect that jsonschema reads and with no room for fields that are not announced."""
    return _strict(SchemaGenerator().get_schema(request=None, public=True))


def check(response: HttpResponseBase) -> None:
    """Raise where the answer is not as announced."""
    match = response.resolver_match
    if match is None or match.url_name in ("api-schema", "api-docs", "api-no-such-address") or response.status_code in ALWAYS:
        return
    method = response.request["REQUEST_METHOD"].lower()
    operation = schema()["paths"][_path(match.route)]["get" if method == "head" else method]
    announced = operation["responses"]
    assert str(response.status_code) in announced, f"{method} {match.route} answered {response.status_code}, which its schema does not announce"
    content = announced[str(response.status_code)].get("content", {})
    if "application/json" in content and method != "head":
        jsonschema.validate(response.json(), {**content["application/json"]["schema"], "components": schema()["components"]})
    elif not content:
        assert not response.content


def _path(route: str) -> str:
    for converter in ("str:", "int:", "path:"):
        route = route.replace(f"<{converter}", "{")
    return "/" + route.replace(">", "}")


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _strict(value) for key, value in node.items()}
    if "properties" in found and isinstance(found.get("type"), str):
        found.setdefault("additionalProperties", False)
    if found.pop("nullable", False) is True:
        return {"anyOf": [{"type": "null"}, found]}
    return found
