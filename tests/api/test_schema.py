"""The schema is complete and true. That every answer keeps to it, the client of all these tests checks."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose_worker.engine import catalogue
from hub.api import urls
from hub.models import Adapter
from tests.api import contract
from tests.api.conftest import EXAMPLES, V1, Api

pytestmark = pytest.mark.django_db


def test_it_works(anonymous: Api):
    found = anonymous.get(f"{V1}/schema?format=json").json()
    assert found["info"]["title"] == "Medley API"
    assert anonymous.get(f"{V1}/schema").status_code == 200


def test_the_schema_is_sound():
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


def test_every_address_is_in_the_schema():
    announced = set(contract.schema()["paths"])
    ours = {contract._path(f"api/v1/{pattern.pattern._route}") for pattern in urls.urlpatterns if hasattr(pattern.pattern, "_route")}
    assert ours - announced == {"/api/v1/schema", "/api/v1/docs"}
    for methods in contract.schema()["paths"].values():
        for operation in methods.values():
            assert operation["summary"] and operation["description"] and {"401", "429", "500"} <= set(operation["responses"])


def test_every_address_is_in_the_how_to():
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for path in contract.schema()["paths"]:
        address = re.sub(r"\\{\w+\\}", r"[\\w.-]+", re.escape(path.removeprefix(V1)))
        assert re.search(rf"\$API{address}\b(?!/)", text), f"docs/api.md does not show {path}"


def test_the_schema_names_the_limits_of_the_catalogue():
    body = contract.schema()["components"]["schemas"]["NewComposition"]["properties"]
    assert body["examples"]["maxItems"] == catalogue.MAX_EXAMPLES
    assert body["method"]["default"] == catalogue.DEFAULT_METHOD


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["owner/sums", "auto", "tiny/llama", "medley", "new"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=5)
KEYS = st.sampled_from(["name", "private", "tags", "base_model", "modules", "examples", "method", "settings", "seed", "description"]) | st.text(max_size=3)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    call=st.sampled_from([("post", "/adapters"), ("patch", "/adapters/owner/sums"), ("post", "/compositions")]),
    body=st.dictionaries(KEYS, VALUES, max_size=5) | VALUES,
    good=st.booleans(),
)
def test_any_json_is_taken_or_refused(as_owner: Api, sums: Adapter, call: tuple[str, str], body: Any, good: bool):
    """The client raises where an answer is not as announced; here it only must not be a fault of ours."""
    if good and isinstance(body, dict) and call[1] == "/compositions":
        body = {"name": "new", "base_model": "tiny/llama", "modules": "auto", "examples": EXAMPLES} | body
    assert as_owner.json(*call, json.dumps(body)).status_code < 500


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(["/adapters", "/adapters/owner/sums", "/adapters/owner/sums/revisions", "/adapters/owner/sums/files/README.md", "/compositions"]),
    query=st.dictionaries(
        st.sampled_from(["q", "base_model", "tag", "owner", "made", "composable", "sort", "limit", "cursor", "revision", "status", "examples", "format"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["likes", "true", "10", "main"]),
        max_size=4,
    ),
)
def test_any_query_is_taken_or_refused(as_owner: Api, sums: Adapter, path: str, query: dict[str, str]):
    assert as_owner.get(V1 + path, query).status_code < 500
