"""Organisations: who may do what in them, how people come and go, and that an owner always remains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import Client

from hub.errors import HubError
from hub.models import Adapter, Invitation, Membership, User
from hub.services import access, accounts, adapters, audit, gates, lifecycle, organizations, refs, runs, search, uploads
from tests.conftest import Upload, commit, compose, person
from tests.services.stage import claimed, incoming, refused, result, submit

pytestmark = pytest.mark.django_db


def join(organization: User, owner: User, user: User, role: str) -> None:
    """Make `user` a member as people do."""
    organizations.invite(actor=owner, organization=organization, username=user.username, role=role)
    organizations.answer(actor=user, organization=organization, accept=True)


@pytest.fixture
def acme(owner: User) -> User:
    return organizations.create(actor=owner, name="Acme", about="Sums for everyone.")


@pytest.fixture
def cast(owner: User, friend: User, stranger: User, acme: User) -> dict[str, Any]:
    """One of each kind: an owner, a writer, a reader, one who is only invited, a stranger, and nobody."""
    reader, invited = person("reader"), person("invited")
    join(acme, owner, friend, "writer")
    join(acme, owner, reader, "reader")
    organizations.invite(actor=owner, organization=acme, username="invited", role="owner")
    return {"owner": owner, "writer": friend, "reader": reader, "invited": invited, "stranger": stranger, "nobody": AnonymousUser()}


@pytest.fixture
def secret(owner: User, acme: User, upload: Upload) -> Adapter:
    adapter = adapters.create(actor=owner, name="secret", private=True, owner=acme)
    adapters.commit(actor=owner, adapter=adapter, files=incoming({"README.md": b"# Secret\n", "notes.txt": b"ours"}))
    adapters.update(actor=owner, adapter=adapter, gated="manual", tags=["hidden"])
    adapter.refresh_from_db()
    return adapter


def test_founding(owner: User, acme: User):
    assert (acme.username, acme.about, acme.is_organization) == ("acme", "Sums for everyone.", True)
    assert [(m.user, m.role) for m in organizations.members(organization=acme)] == [(owner, "owner")]
    assert organizations.find(name="ACME") == acme and not Client().login(username="acme", password="")
    for name, code in (("acme", "name-taken"), ("owner", "name-taken"), ("settings", "name-invalid"), ("a--b", "name-invalid")):
        with refused(code):
            organizations.create(actor=owner, name=name)
    with refused("name-taken"):
        accounts.create_user(username="acme", email="a@example.org", password="correct horse battery")


READ, WRITE, MANAGE = {"owner", "writer", "reader"}, {"owner", "writer"}, {"owner"}
CALLS: list[tuple[str, set[str], Callable[[Any, User, Adapter], Any]]] = [
    ("see", READ, lambda a, o, x: adapters.find(actor=a, repo_id="acme/secret")),
    ("files", READ, lambda a, o, x: access.require_file(a, Adapter.objects.visible_to(a).get(pk=x.pk), "notes.txt")),
    ("compose-list", READ, lambda a, o, x: Adapter.objects.readable_by(a).get(pk=x.pk)),
    ("blob", READ, lambda a, o, x: 1 / bool(a.is_authenticated and uploads.owned(user=a, sha256=x.head.files.get(path="notes.txt").blob_id))),
    ("found", READ, lambda a, o, x: search.adapters(actor=a, q="secret").items[0]),
    ("tags", READ, lambda a, o, x: search.tags(actor=a, q="hid")[0]),
    ("facets", READ, lambda a, o, x: dict(search.facets(actor=a).counts["tag"])["hidden"]),
    ("create", WRITE, lambda a, o, x: adapters.create(actor=a, name="new", owner=o)),
    ("publish", WRITE, lambda a, o, x: adapters.publish(actor=a, name="new", owner=o, files=incoming({"README.md": b"# New\n"}))),
    ("commit", WRITE, lambda a, o, x: adapters.commit(actor=a, adapter=x, files=incoming({"README.md": b"# New\n"}))),
    ("branch", WRITE, lambda a, o, x: refs.create_branch(actor=a, adapter=x, name="dev")),
    ("tag", WRITE, lambda a, o, x: adapters.update(actor=a, adapter=x, tags=["other"])),
    ("gate", MANAGE, lambda a, o, x: adapters.update(actor=a, adapter=x, gated="")),
    ("show", MANAGE, lambda a, o, x: adapters.update(actor=a, adapter=x, private=False)),
    ("requests", MANAGE, lambda a, o, x: gates.requests(actor=a, adapter=x)),
    ("let in", MANAGE, lambda a, o, x: gates.grant(actor=a, adapter=x, username="stranger")),
    ("rename", MANAGE, lambda a, o, x: lifecycle.rename(actor=a, adapter=x, name="open")),
    ("hand over", MANAGE, lambda a, o, x: lifecycle.transfer(actor=a, adapter=x, to=User.objects.get(username="stranger"))),
    ("archive", MANAGE, lambda a, o, x: lifecycle.set_archived(actor=a, adapter=x, archived=True)),
    ("delete", MANAGE, lambda a, o, x: lifecycle.delete(actor=a, adapter=x)),
    ("about", MANAGE, lambda a, o, x: organizations.update(actor=a, organization=o, about="Ours.")),
    ("rename it", MANAGE, lambda a, o, x: organizations.rename(actor=a, organization=o, name="other")),
    ("invite", MANAGE, lambda a, o, x: organizations.invite(actor=a, organization=o, username="stranger", role="owner")),
    ("invitations", MANAGE, lambda a, o, x: organizations.invitations(actor=a, organization=o)),
    ("withdraw", MANAGE, lambda a, o, x: organizations.withdraw(actor=a, organization=o, username="invited")),
    ("role", MANAGE, lambda a, o, x: organizations.set_role(actor=a, organization=o, username="friend", role="owner")),
    ("remove", MANAGE, lambda a, o, x: organizations.remove(actor=a, organization=o, username="friend")),
]


@pytest.mark.parametrize(("what", "allowed", "call"), CALLS, ids=[row[0] for row in CALLS])
def test_who_may(cast: dict[str, Any], acme: User, secret: Adapter, what: str, allowed: set[str], call: Callable[[Any, User, Adapter], Any]):
    """Each right for each role: what a refused call leaves must be what there was."""
    before = Adapter.objects.values().get(), list(Membership.objects.values()), list(Invitation.objects.values())
    for role, actor in cast.items():
        if (what, role) == ("remove", "writer"):
            continue  # it is the writer who is removed, and leaving is everyone's right
        with transaction.atomic():
            adapter, organization = Adapter.objects.select_related("owner", "head").get(pk=secret.pk), User.objects.get(pk=acme.pk)
            if role in allowed:
                call(actor, organization, adapter)
                transaction.set_rollback(True)
                continue
            with pytest.raises((HubError, Adapter.DoesNotExist, LookupError, ZeroDivisionError)):
                call(actor, organization, adapter)
        assert (Adapter.objects.values().get(), list(Membership.objects.values()), list(Invitation.objects.values())) == before


def test_invitations(owner: User, friend: User, stranger: User, acme: User):
    organizations.invite(actor=owner, organization=acme, username="Friend", role="reader")
    organizations.invite(actor=owner, organization=acme, username="friend", role="writer")
    assert [(i.organization, i.role) for i in organizations.invitations_to(actor=friend)] == [(acme, "writer")]
    assert access.role_at(friend, acme) == "" and not organizations.invitations_to(actor=stranger).exists()
    with refused("not-found", 404):
        organizations.answer(actor=stranger, organization=acme, accept=True)
    organizations.answer(actor=friend, organization=acme, accept=False)
    with refused("not-found", 404):
        organizations.answer(actor=friend, organization=acme, accept=True)
    join(acme, owner, friend, "writer")
    with refused("member-already"):
        organizations.invite(actor=owner, organization=acme, username="friend", role="owner")
    for name, role, code in (("nobody", "reader", "user-not-found"), ("acme", "reader", "user-not-found"), ("stranger", "admin", "role-invalid")):
        with refused(code):
            organizations.invite(actor=owner, organization=acme, username=name, role=role)


def test_an_owner_always_remains(owner: User, friend: User, acme: User):
    join(acme, owner, friend, "writer")
    for call in (
        lambda: organizations.remove(actor=owner, organization=acme, username="owner"),
        lambda: organizations.set_role(actor=owner, organization=acme, username="owner", role="reader"),
    ):
        with refused("last-owner", 409):
            call()
    organizations.set_role(actor=owner, organization=acme, username="friend", role="owner")
    organizations.remove(actor=owner, organization=acme, username="owner")
    assert [(m.user, m.role) for m in organizations.members(organization=acme)] == [(friend, "owner")]
    assert access.role_at(owner, acme) == ""
    assert [e.verb for e in audit.of_account(account=acme)[:2]] == ["member.leave", "member.role"]


def test_another_name(owner: User, friend: User, acme: User, secret: Adapter):
    """What lay under the old name is found under both, and nobody can take it and be mistaken for it."""
    organizations.rename(actor=owner, organization=acme, name="ajax")
    assert adapters.find(actor=owner, repo_id="acme/secret").repo_id == "ajax/secret" and organizations.find(name="acme") == acme
    assert [a.repo_id for a in search.adapters(actor=owner, q="ajax").items] == ["ajax/secret"]
    with refused("not-found", 404):
        adapters.find(actor=friend, repo_id="acme/secret")
    with refused("name-taken"):
        organizations.create(actor=friend, name="acme")
    with refused("name-taken"):
        accounts.create_user(username="acme", email="a@example.org", password="correct horse battery")
    page = Client().post("/accounts/signup/", {"username": "acme", "email": "a@example.org", "password1": "horse battery 7", "password2": "horse battery 7"})
    assert page.status_code == 200 and "This user name is taken." in page.content.decode()
    assert organizations.rename(actor=owner, organization=acme, name="acme").username == "acme"


def test_deleting_one_that_is_empty(owner: User, acme: User, secret: Adapter):
    for _ in range(2):  # there, then deleted and waiting
        with refused("organization-not-empty", 409):
            organizations.delete(actor=owner, organization=acme)
        if Adapter.objects.exists():
            lifecycle.delete(actor=owner, adapter=secret)
    lifecycle.purge(actor=owner, adapter=lifecycle.find_deleted(actor=owner, repo_id="acme/secret"))
    organizations.delete(actor=owner, organization=acme)
    with refused("organization-not-found", 404):
        organizations.find(name="acme")
    assert not Membership.objects.exists()


def test_a_composition_for_an_organisation(owner: User, friend: User, acme: User, upload: Upload, tmp_path: Path):
    upload(owner, "one")
    join(acme, owner, friend, "reader")
    with refused("forbidden", 403):
        submit(friend, ["owner/one"], owner=acme)
    organizations.set_role(actor=owner, organization=acme, username="friend", role="writer")
    job = submit(friend, ["owner/one"], owner=acme)
    with refused("name-taken"):
        adapters.create(actor=owner, name="result", owner=acme)
    adapters.create(actor=friend, name="result")
    done = runs.finish(job=claimed(job), result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path)
    assert done.result.adapter.repo_id == "acme/result" == done.target_id and done.result.author == friend


def test_a_composer_who_left_meanwhile_keeps_the_result(owner: User, friend: User, acme: User, upload: Upload, tmp_path: Path):
    upload(owner, "one")
    join(acme, owner, friend, "writer")
    job = submit(friend, ["owner/one"], owner=acme)
    organizations.remove(actor=owner, organization=acme, username="friend")
    done = runs.finish(job=claimed(job), result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path)
    assert done.result.adapter.repo_id == "friend/result" and done.result.adapter.private
    assert "may no longer publish under acme" in done.summary


def test_members_see_no_more_in_a_result_than_in_its_parts(owner: User, friend: User, stranger: User, acme: User, upload: Upload, tmp_path: Path):
    """A private result of an organisation is its members' to read; so is what it is made of, or it stays with who made it."""
    mine, ours = upload(owner, "mine", private=True), upload(owner, "ours", private=True, seed=1)
    lifecycle.transfer(actor=owner, adapter=ours, to=acme)
    gated, own = upload(friend, "gated", seed=2), upload(owner, "own", seed=3)
    for adapter in (gated, own):
        adapters.update(actor=adapter.owner, adapter=adapter, gated="manual")
    gates.grant(actor=friend, adapter=gated, username="owner")
    for module, code in (("owner/mine", "module-private"), ("friend/gated", "module-gated")):
        with refused(code):
            submit(owner, [module], owner=acme, private=True)
    with refused("module-private"):
        submit(owner, ["acme/ours"], owner=acme)
    job = submit(owner, ["acme/ours", "owner/own"], owner=acme, private=True)
    adapters.update(actor=owner, adapter=own, private=True)
    done = runs.finish(job=claimed(job), result=result(tmp_path, {"acme/ours": 1.0, "owner/own": 1.0}), folder=tmp_path)
    assert done.result.adapter.repo_id == "owner/result" and done.result.adapter.private and "yours alone" in done.summary
    auto = submit(owner, "auto", name="auto", owner=acme, private=True)
    assert set(auto.ingredients.values_list("repo_id", flat=True)) == {"acme/ours"} == {"acme/ours"} - {mine.repo_id}


def test_the_lineage_names_what_a_member_may_see(owner: User, friend: User, stranger: User, acme: User, upload: Upload):
    ours = upload(owner, "ours", private=True)
    lifecycle.transfer(actor=owner, adapter=ours, to=acme)
    join(acme, owner, friend, "reader")
    mix = compose(owner, {Adapter.objects.get(name="ours"): 1.0})
    parent = mix.head.parents.select_related("adapter").get()
    assert [parent.is_hidden_from(user) for user in (owner, friend, stranger, AnonymousUser())] == [False, False, True, True]
    organizations.remove(actor=friend, organization=acme, username="friend")
    assert parent.is_hidden_from(friend)
    assert commit(upload(friend, "mine"), {"README.md": b"# x\n"}).author == friend
