"""Files found by one query: the same answer as by the ordinary way, for everyone who may see it and for nobody else."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hub.models import Adapter, User
from hub.services import accounts, adapters, files, prepared, refs
from tests.conftest import Upload, commit

PATH = "adapter_config.json"


def find(actor: Any, name: str = "mine", path: str = PATH, ref: str = refs.MAIN, owner: str = "owner") -> files.Found | None:
    return files.find(actor=actor, owner=owner, name=name, path=path, ref=ref)


@pytest.fixture
def mine(owner: User, upload: Upload) -> Adapter:
    """An adapter with two revisions beside one that has the same files."""
    upload(owner, "other", card="# Other\n")
    adapter = upload(owner, "mine", card="# One\n")
    commit(adapter, {"README.md": b"# Two\n"})
    adapter.refresh_from_db()
    return adapter


def test_the_same_as_by_the_ordinary_way(mine: Adapter) -> None:
    for sha in mine.revisions.values_list("sha", flat=True):
        row = adapters.find_file(actor=AnonymousUser(), repo_id="owner/mine", path="README.md", ref=sha)
        assert find(AnonymousUser(), path="README.md", ref=sha) == files.Found("README.md", row.blob_id, row.blob.size, sha, mine.pk)
    assert mine.head is not None
    assert find(AnonymousUser(), path="README.md") == find(AnonymousUser(), path="README.md", ref=mine.head.sha)


def test_names_are_the_same_in_any_case(mine: Adapter) -> None:
    assert find(AnonymousUser(), "Mine", owner="OWNER") == find(AnonymousUser())


def test_who_sees_what(owner: User, stranger: User, mine: Adapter) -> None:
    everyone = (owner, stranger, AnonymousUser())
    assert [find(actor) is not None for actor in everyone] == [True, True, True]
    adapters.update(actor=owner, adapter=mine, private=True)
    assert mine.head is not None
    for ref in (refs.MAIN, mine.head.sha):
        assert [find(actor, ref=ref) is not None for actor in everyone] == [True, False, False], "what is remembered of a query is not who asked"


@pytest.mark.parametrize("path", ["", "nothing.txt", "ADAPTER_CONFIG.JSON", "a\x00b", "\ud800", "\x00path", "x" * 5000, "adapter%"])
def test_paths_that_are_not_there(mine: Adapter, path: str) -> None:
    assert find(AnonymousUser(), path=path) is None


@pytest.mark.parametrize("ref", ["", "v1", "f" * 40, "\x00sha", "\x00" * 40, "refs/heads/main"])
def test_revisions_that_take_more(mine: Adapter, ref: str) -> None:
    assert find(AnonymousUser(), ref=ref) is None


@pytest.mark.parametrize("name", ["min_", "%", "min%", "mine/x", "", "\x00name"])
def test_names_that_are_none(mine: Adapter, name: str) -> None:
    assert find(AnonymousUser(), name) is None


def test_another_adapters_revision(owner: User, mine: Adapter) -> None:
    other = adapters.find(actor=owner, repo_id="owner/other")
    assert other.head is not None
    assert find(owner, ref=other.head.sha) is None


def test_what_it_costs(mine: Adapter, owner: User) -> None:
    address = f"/owner/mine/resolve/main/{PATH}"
    token = accounts.create_token(actor=owner, name="test", scope="read")[1]
    for headers, count in (({}, 1), ({"Authorization": f"Bearer {token}"}, 2)):
        with CaptureQueriesContext(connection) as queries:
            assert Client(headers=headers).head(address).status_code == 200
        assert len(queries) == count, [query["sql"] for query in queries]


def test_a_row_knows_which_column_is_which(owner: User) -> None:
    found = prepared.load(User, username="a", email="b", id=owner.pk, is_active=False)
    assert (found.pk, found.username, found.email, found.is_active) == (owner.pk, "a", "b", False)
    assert found.date_joined == owner.date_joined, "what was not given is read"
    with pytest.raises(AssertionError):
        prepared.load(User, id=1, shoe_size=43)


def test_a_token_is_what_it_was_made(owner: User) -> None:
    for scope in ("read", "write"):
        made, text = accounts.create_token(actor=owner, name=f"for {scope}", scope=scope)
        found = accounts.find_token(text=text)
        assert found is not None
        assert (found.pk, found.scope, found.name, found.user, found.expiry) == (made.pk, scope, f"for {scope}", owner, None)
        assert (found.user.username, found.user.email, found.user.is_staff) == (owner.username, owner.email, owner.is_staff)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert accounts.find_token(text=text) is None
