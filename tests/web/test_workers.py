"""Workers on the pages: what operators see and do, and whom people let compute."""

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, Composition, Event, User, Worker, WorkerToken
from hub.services import runs, workers
from tests import lent
from tests.services.stage import submit
from tests.web.conftest import client, page
from tests.web.test_compose import order

pytestmark = pytest.mark.django_db
ADD = "/admin/hub/workertoken/add/"


@pytest.fixture
def chief() -> Client:
    """An operator's browser."""
    return client(lent.operator())


def test_an_operator_makes_a_token_and_sees_it_once(chief: Client) -> None:
    answer = chief.post(ADD, {"name": "gpu-club", "bases": "acme/*, tiny/llama", "trusted": ""})
    found = re.search(r'id="worker-token">(mwk_\S+)</pre>', answer.content.decode())
    token = WorkerToken.objects.get()
    assert found and workers.find_token(text=found[1]) == token
    assert (token.name, token.bases, token.trusted, token.created_by.username) == ("gpu-club", ["acme/*", "tiny/llama"], False, "chief")
    listed = page(chief.get("/admin/hub/workertoken/"))
    assert "gpu-club" in listed and found[1] not in listed and token.digest not in listed
    assert Event.objects.filter(verb="workertoken.create", actor__username="chief").count() == 1


@pytest.mark.parametrize("given", [{"name": "a b"}, {"name": ""}, {"name": "taken"}, {"name": "new", "bases": "x" * 201}])
def test_a_token_that_cannot_be(chief: Client, given: dict[str, str]) -> None:
    lent.token("taken")
    answer = chief.post(ADD, {"bases": "", **given})
    assert answer.status_code == 200 and "errorlist" in answer.content.decode() and WorkerToken.objects.count() == 1


def test_an_operator_revokes_tokens(chief: Client) -> None:
    first, second = lent.token("first"), lent.token("second")
    chief.post(f"/admin/hub/workertoken/{first.pk}/delete/", {"post": "yes"})
    chief.post("/admin/hub/workertoken/", {"action": "delete_selected", "_selected_action": second.pk, "post": "yes"})
    assert not WorkerToken.objects.exists() and Event.objects.filter(verb="workertoken.revoke", actor__username="chief").count() == 2


def test_who_is_no_operator(as_owner: Client) -> None:
    for address in (ADD, "/admin/hub/workertoken/", "/admin/hub/worker/"):
        assert as_owner.get(address).status_code in (302, 403)
    assert as_owner.post(ADD, {"name": "mine", "bases": ""}).status_code in (302, 403) and not WorkerToken.objects.exists()


def test_who_works_on_what(chief: Client, client: Client, owner: User, sums: Adapter, settings: Settings) -> None:
    job = submit(owner, ["owner/sums"])
    runs.claim(job_id=job.pk, worker="den:1")
    here: dict[str, Any] = {"bases": ["acme/*"], "folders": [], "warm": "acme/base"}
    workers.seen(name="den:1", device="cpu", **here)
    workers.seen(name="gpu-club/far:2", device="cuda:1", token=lent.token(), **here)
    listed = page(chief.get("/admin/hub/worker/"))
    for word in ("den:1", "beside the hub", "gpu-club/far:2", "gpu-club, lent", "cuda:1", "acme/*", "acme/base", f">{job.pk}<"):
        assert word in listed, word
    settings.METRICS_TOKEN = "for the machine that watches"
    said = client.get("/metrics", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"}).content.decode()
    assert 'medley_workers{device="cpu",where="hub"} 1.0' in said and 'medley_workers{device="cuda",where="elsewhere"} 1.0' in said
    assert 'medley_workers_busy{device="cpu",where="hub"} 1.0' in said and 'medley_workers_busy{device="cuda",where="elsewhere"} 0.0' in said


def test_people_are_asked_where_machines_are_lent(as_owner: Client, sums: Adapter) -> None:
    lent.token("ours", trusted=True)
    assert 'name="anywhere"' not in page(as_owner.get("/compose"))
    lent.token()
    assert "Who lends a machine can read your examples there" in page(as_owner.get("/compose"))
    as_owner.post("/compose", order())
    assert Composition.objects.get().anywhere is False, "nobody said yes"
    as_owner.post("/compose", order(name="second", anywhere="on"))
    job = Composition.objects.get(name="second")
    assert job.anywhere is True
    again = page(as_owner.get(f"/compose?from={job.pk}"))
    assert 'id="id_anywhere" checked' in again


def test_a_private_result_is_not_made_there(as_owner: Client, sums: Adapter) -> None:
    lent.token()
    answer = as_owner.post("/compose", order(anywhere="on", private="on"))
    assert answer.status_code == 400 and "A private result is not made on lent machines" in answer.content.decode() and not Composition.objects.exists()


def told(*arguments: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def test_the_commands() -> None:
    text = told("create_worker_token", "gpu-club", "--bases", "acme/*,tiny/llama")
    token = workers.find_token(text=text)
    assert token is not None and (token.name, token.bases, token.trusted) == ("gpu-club", ["acme/*", "tiny/llama"], False)
    assert workers.find_token(text=told("create_worker_token", "ours", "--trusted")).trusted  # type: ignore[union-attr]
    with pytest.raises(CommandError, match=r"^worker-name-taken: "):
        told("create_worker_token", "gpu-club")
    assert told("revoke_worker_token", "gpu-club") == "gpu-club is shut out."
    with pytest.raises(CommandError, match=r"^not-found: "):
        told("revoke_worker_token", "gpu-club")
    assert [t.name for t in WorkerToken.objects.all()] == ["ours"] and not Worker.objects.exists()
