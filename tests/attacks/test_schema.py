"""schemathesis over the REST API's own OpenAPI schema: as nobody, as a member, as staff, nothing is a fault of ours and every answer is as announced.

`make fuzz ARGS="--examples 500 --seed 7"` does the same for longer.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as bounds
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from hub.models import User
from hub.services import accounts
from hub.wsgi import application
from tests.attacks import hidden

pytestmark = pytest.mark.django_db
load_all_checks()

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))  # of each address, method, kind of data and asker
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CHECKED = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance", "response_schema_conformance"]
)
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
# Its answers are one document and a page that draws it.
LEFT_OUT = ("/api/v1/schema", "/api/v1/docs")


def operations() -> Iterator[Any]:
    """Every address with every method that the schema announces."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema?format=json", application)
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in LEFT_OUT:
            yield operation


def known(stage: hidden.Stage) -> dict[str, Any]:
    """What addresses may name, so that most calls reach something: the asker's own things, and what everyone sees."""
    there = stage.there
    return {
        "owner": "owner",
        "account": "owner",
        "name": "sums",
        "path": "adapter_config.json",
        "number": there["said"],
        "organization": "guild",
        "user": "neighbour",
        **{name: there[name] for name in ("job_id", "import_id", "collection_id", "item_id", "notification_id")},
    }


def askers(stage: hidden.Stage) -> dict[str, dict[str, str]]:
    """The headers of nobody, of a member who owns things, and of staff."""
    staff = User.objects.create_superuser("operator", "operator@example.org", "x")
    tokens = {user: accounts.create_token(actor=user, name="fuzz", scope="write")[1] for user in (stage.owner, staff)}
    return {"nobody": {}} | {user.username: {"Authorization": f"Bearer {token}"} for user, token in tokens.items()}


@pytest.fixture
def one_connection() -> Iterator[None]:
    """Keep the site from dropping the connection that the test's transaction lives on, as Django's own test client does."""
    ends = (request_started, request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield
    for signal in ends:
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("one_connection")
def test_every_answer_is_as_announced(settings: Any) -> None:
    settings.IMPORTS = "https://hub.example"  # orders wait for a worker, and there is none
    stage = hidden.stage()
    people, values = askers(stage), known(stage)
    problems: list[str] = []
    answered: dict[str, set[int]] = {}
    for operation in operations():
        for headers in people.values():
            found = try_out(operation, headers, values)
            answered.setdefault(f"{operation.method.upper()} {operation.path}", set()).update(found[0])
            problems += found[1]
    assert problems == [], "\n\n".join(problems)
    assert sum(any(status < 400 for status in statuses) for statuses in answered.values()) >= 10, "the data reaches nothing"


def try_out(operation: Any, headers: dict[str, str], values: dict[str, Any]) -> tuple[set[int], list[str]]:
    """Call one operation with generated data, sound and unsound, each in a transaction that is taken back; return statuses and complaints."""
    statuses: set[int] = set()
    problems: list[str] = []
    names = {parameter.name for parameter in operation.path_parameters}
    named = {name: values[name] for name in names} if names <= values.keys() else {}
    cases = st.one_of(
        operation.as_strategy(POSITIVE, path_parameters=named) if named else operation.as_strategy(POSITIVE),
        operation.as_strategy(POSITIVE),
        operation.as_strategy(NEGATIVE, path_parameters=named) if named else operation.as_strategy(NEGATIVE),
    )

    @seed(SEED)
    @bounds(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def once(case: Any) -> None:
        with transaction.atomic():
            answer = case.call(headers=headers)
            transaction.set_rollback(True)
        statuses.add(answer.status_code)
        try:
            case.validate_response(answer, checks=CHECKED)
        except FailureGroup as group:
            problems.extend(f"{operation.method.upper()} {operation.path}: {failure}" for failure in group.exceptions)

    once()
    return statuses, problems[:3]
