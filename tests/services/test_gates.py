"""Gated adapters: who is let in, by whom, and what a composition may be made of."""

from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.models import AccessRequest, Adapter, User
from hub.services import access, adapters, gates, hosting, pinning, runs, search
from tests import make, other_hub
from tests.conftest import Upload
from tests.services.stage import claimed, refused, result, submit, verbs


@pytest.fixture
def gated(owner: User, upload: Upload) -> Adapter:
    """The owner lets in whom they accept."""
    return adapters.update(actor=owner, adapter=upload(owner, "gated", card="# Gated\n"), gated="manual")


def let_in(adapter: Adapter, person: User) -> None:
    gates.grant(actor=adapter.owner, adapter=adapter, username=person.username)


def test_it_works(gated: Adapter, owner: User, friend: User) -> None:
    assert not access.may_read_files(friend, gated) and access.may_read_files(owner, gated)
    row = gates.ask(actor=friend, adapter=gated)
    assert row.status == "pending" and not access.may_read_files(friend, gated)
    gates.decide(actor=owner, adapter=gated, request=row, status="accepted")
    assert access.may_read_files(friend, gated)
    assert verbs()[-2:] == ["access.ask", "access.accepted"]


def test_whoever_asks(gated: Adapter, owner: User, friend: User, stranger: User) -> None:
    gates.ask(actor=friend, adapter=gated)
    adapters.update(actor=owner, adapter=gated, gated="auto")
    assert not access.may_read_files(friend, gated) and not access.may_read_files(stranger, gated)
    assert gates.ask(actor=friend, adapter=gated).status == gates.ask(actor=stranger, adapter=gated).status == "accepted"
    assert access.may_read_files(friend, gated) and access.may_read_files(stranger, gated)


def test_who_is_gone_again(gated: Adapter, owner: User, friend: User) -> None:
    let_in(gated, friend)
    row = AccessRequest.objects.get()
    for status in ("rejected", "pending"):
        gates.decide(actor=owner, adapter=gated, request=row, status=status)
        assert not access.may_read_files(friend, gated)
    gates.decide(actor=owner, adapter=gated, request=row, status="rejected")
    adapters.update(actor=owner, adapter=gated, gated="auto")
    with refused("access-rejected", 403):
        gates.ask(actor=friend, adapter=gated)
    adapters.update(actor=owner, adapter=gated, gated="")
    assert access.may_read_files(friend, gated) and access.may_read_files(AnonymousUser(), gated)


def test_asking_twice_is_once(gated: Adapter, friend: User) -> None:
    assert gates.ask(actor=friend, adapter=gated) == gates.ask(actor=friend, adapter=gated)
    assert verbs().count("access.ask") == 1 and gates.waiting(adapter=gated) == 1


def test_refusals(gated: Adapter, owner: User, friend: User, stranger: User, upload: Upload) -> None:
    row = gates.ask(actor=friend, adapter=gated)
    other = adapters.update(actor=stranger, adapter=upload(stranger, "other", seed=3), gated="manual")
    with refused("login-required", 401):
        gates.ask(actor=AnonymousUser(), adapter=gated)
    with refused("access-own"):
        gates.ask(actor=owner, adapter=gated)
    for actor in (friend, stranger):
        with refused("forbidden", 403):
            gates.decide(actor=actor, adapter=gated, request=row, status="accepted")
        with refused("forbidden", 403):
            gates.grant(actor=actor, adapter=gated, username=actor.username)
        with refused("forbidden", 403):
            gates.requests(actor=actor, adapter=gated)
        with refused("forbidden", 403):
            adapters.update(actor=actor, adapter=gated, gated="")
    with refused("request-not-found", 404):
        gates.decide(actor=stranger, adapter=other, request=row, status="accepted")
    with refused("access-unchanged", 404):
        gates.decide(actor=owner, adapter=gated, request=row, status="pending")
    with refused("status-invalid"):
        gates.decide(actor=owner, adapter=gated, request=row, status="owner")
    with refused("user-not-found", 404):
        gates.grant(actor=owner, adapter=gated, username="nobody")
    with refused("access-unchanged"):
        gates.grant(actor=owner, adapter=gated, username="owner")
    with refused("gated-invalid"):
        adapters.update(actor=owner, adapter=gated, gated="sometimes")
    assert list(AccessRequest.objects.values_list("user__username", "status")) == [("friend", "pending")]


def test_what_is_hidden_or_open_has_no_gate(gated: Adapter, owner: User, friend: User, upload: Upload) -> None:
    with refused("not-gated"):
        gates.ask(actor=friend, adapter=upload(owner, "open", seed=1))
    adapters.update(actor=owner, adapter=gated, private=True)
    with refused("not-found", 404):
        gates.ask(actor=friend, adapter=gated)


def test_the_sentences_say_where_to_ask(gated: Adapter, friend: User) -> None:
    for actor, status in ((AnonymousUser(), 401), (friend, 403)):
        with refused("gated", status) as caught:
            access.require_file(actor, gated, "adapter_config.json")
        assert "/owner/gated " in caught.value.message and "ask for access" in caught.value.message.lower()
    row = gates.ask(actor=friend, adapter=gated)
    with refused("gated", 403) as caught:
        access.require_file(friend, gated, "adapter_config.json")
    assert "not answered" in caught.value.message
    gates.decide(actor=gated.owner, adapter=gated, request=row, status="rejected")
    with refused("gated", 403) as caught:
        access.require_file(friend, gated, "adapter_config.json")
    assert "rejected" in caught.value.message
    access.require_file(AnonymousUser(), gated, "README.md")


def test_lists(gated: Adapter, owner: User, friend: User, stranger: User, upload: Upload) -> None:
    upload(owner, "open", seed=1)

    def names(actor: User | AnonymousUser, **more: bool) -> list[str]:
        return sorted(a.name for a in search.adapters(actor=actor, **more).items)

    let_in(gated, friend)
    let_in(gated, stranger)
    for actor in (owner, friend, stranger, AnonymousUser()):
        assert names(actor) == ["gated", "open"]
        assert names(actor, gated=True) == ["gated"] and names(actor, gated=False) == ["open"]
    assert names(AnonymousUser(), readable=True) == ["open"]
    assert names(owner, readable=True) == names(friend, readable=True) == names(stranger, readable=True) == ["gated", "open"]


def test_a_module_needs_access(gated: Adapter, friend: User) -> None:
    for private in (False, True):
        with refused("module-gated") as caught:
            submit(friend, ["owner/gated"], private=private)
        assert "gated" in caught.value.message
        with refused("modules-missing"):
            submit(friend, "auto", private=private)
    gates.ask(actor=friend, adapter=gated)
    with refused("module-gated"):
        submit(friend, [f"owner/gated@{gated.head.short}"], private=True)


def test_a_result_with_somebody_elses_gated_module_is_private(gated: Adapter, owner: User, friend: User, upload: Upload) -> None:
    let_in(gated, friend)
    upload(friend, "own", seed=1)
    with refused("module-gated"):
        submit(friend, ["friend/own", "owner/gated"])
    assert [i.repo_id for i in submit(friend, "auto", name="open").ingredients.all()] == ["friend/own"]
    assert submit(friend, "auto", private=True, name="closed").ingredients.count() == 2
    assert not submit(owner, ["owner/gated"], name="mine").private, "who owns the gate may open it"
    assert {a.name for a, _ in pinning.suggest(actor=owner, base_model=make.BASE)} == {"own", "gated"}


def test_a_result_stays_private(gated: Adapter, owner: User, friend: User, tmp_path: Path) -> None:
    let_in(gated, friend)
    job = claimed(submit(friend, ["owner/gated"], private=True))
    runs.finish(job=job, result=result(tmp_path, {"owner/gated": 1.0}), folder=tmp_path)
    made = Adapter.objects.get(name="result")
    with refused("gated-parents", 409):
        adapters.update(actor=friend, adapter=made, private=False)
    adapters.update(actor=owner, adapter=gated, gated="")
    assert not adapters.update(actor=friend, adapter=made, private=False).private


def test_a_module_gated_meanwhile(owner: User, friend: User, upload: Upload, tmp_path: Path) -> None:
    one = upload(owner, "one")
    job = claimed(submit(friend, ["owner/one"]))
    own = claimed(submit(owner, ["owner/one"], name="own"))
    adapters.update(actor=owner, adapter=one, gated="auto")
    done = runs.finish(job=job, result=result(tmp_path / "a", {"owner/one": 1.0}), folder=tmp_path / "a")
    assert done.result is not None and done.result.adapter.private and "gated" in done.summary
    mine = runs.finish(job=own, result=result(tmp_path / "b", {"owner/one": 1.0}), folder=tmp_path / "b")
    assert mine.result is not None and not mine.result.adapter.private


def test_a_gated_base_model(owner: User, friend: User, stranger: User, upload: Upload, tmp_path: Path) -> None:
    """Operators gate what is hosted under nobody's name, and have its files themselves; a composition on it needs access too."""
    for path, data in other_hub.model().items():
        (tmp_path / path).write_bytes(data)
    hosting.host(repo_id="HuggingFaceTB/Tiny", folder=tmp_path)
    upload(owner, "on-it", base="HuggingFaceTB/Tiny")
    friend.is_staff = True
    friend.save()
    base = adapters.find(actor=stranger, repo_id="HuggingFaceTB/Tiny")
    adapters.update(actor=friend, adapter=base, gated="manual")
    assert access.may_read_files(friend, base) and not access.may_read_files(stranger, base)
    assert [base in Adapter.objects.readable_by(user) for user in (friend, stranger, AnonymousUser())] == [True, False, False]
    with refused("gated", 403):
        submit(stranger, ["owner/on-it"], base_model="HuggingFaceTB/Tiny")
    with refused("access-own"):
        gates.ask(actor=friend, adapter=base)
    row = gates.ask(actor=stranger, adapter=base)
    gates.decide(actor=friend, adapter=base, request=row, status="accepted")
    assert submit(stranger, ["owner/on-it"], base_model="HuggingFaceTB/Tiny").status == "queued"
