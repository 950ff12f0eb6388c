"""The starter adapters come in through the REST API, once, and are mended where the catalogue holds something else."""

import io

import pytest

from demo import client, starters
from demo.terminal import Terminal
from hub.models import Adapter, Revision
from hub.services import accounts
from tests.conftest import commit, person

pytestmark = pytest.mark.django_db(transaction=True)
FEW = [starter for starter in starters.starters() if starter.id in ("arith-lab/two-digit-addition", "word-forms/plural-nouns")]


@pytest.fixture
def clients(live_server):
    return {
        name: client.Client(live_server.url, accounts.create_token(actor=person(name), name="demo", scope="write")[1]) for name in ("arith-lab", "word-forms")
    }


def upload(clients):
    out = io.StringIO()
    heads = starters.upload(clients, FEW, Terminal(1, out))
    return heads, out.getvalue()


def test_they_arrive_with_their_cards(clients):
    heads, said = upload(clients)
    assert "2 starter adapters are in the catalogue, 2 of them uploaded now." in said
    found = Adapter.objects.get(owner__username="arith-lab", name="two-digit-addition")
    assert (found.composable, found.licence, found.rank, found.head.sha) == (True, "apache-2.0", 8, heads["arith-lab/two-digit-addition"])
    assert found.summary.startswith("Adds two numbers")


def test_a_second_upload_changes_nothing(clients):
    first, _ = upload(clients)
    second, said = upload(clients)
    assert (first, Revision.objects.count()) == (second, 2)
    assert "0 of them uploaded now" in said


def test_a_changed_file_is_brought_back_as_a_new_revision(clients):
    first, _ = upload(clients)
    commit(Adapter.objects.get(name="plural-nouns"), {"README.md": b"# Something else"})
    second, said = upload(clients)
    assert "1 of them uploaded now" in said
    assert second["arith-lab/two-digit-addition"] == first["arith-lab/two-digit-addition"]
    assert Adapter.objects.get(name="plural-nouns").summary.startswith("Gives the plural")


def test_what_was_uploaded_downloads_with_the_same_bytes(clients, tmp_path):
    heads, _ = upload(clients)
    starter = FEW[0]
    clients["word-forms"].download(starter.id, heads[starter.id], tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {name: path.read_bytes() for name, path in starter.files.items()}


def test_adapters_of_one_shape_are_those_that_lorahub_can_add():
    alike = starters.one_shape(starters.starters())
    assert {(s.config["r"], tuple(sorted(s.config["target_modules"])), s.config["use_rslora"]) for s in alike} == {(8, ("q_proj", "v_proj"), False)}
    assert len(alike) == 8
