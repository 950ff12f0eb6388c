"""What happens to adapters as a whole: deleted and restored, archived, handed over."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from pytest_django.fixtures import Settings

from hub.errors import HubError
from hub.models import AccessToken, Adapter, Composition, Facet, SearchText, Transfer, User
from hub.services import access, accounts, adapters, gates, lifecycle, organizations, pinning, refs, runs, search, social
from hub.web import lineage
from tests import make
from tests.conftest import Upload, commit, compose
from tests.services.stage import claimed, refused, result, submit, verbs

pytestmark = pytest.mark.django_db


def ids(actor: User, **more: str) -> set[str]:
    return {a.repo_id for a in search.adapters(actor=actor, **more).items}


def test_a_deleted_adapter_is_nowhere(owner: User, friend: User, sums: Adapter, upload: Upload):
    mix = compose(friend, {sums: 1.0})
    social.like(actor=friend, adapter=sums, on=True)
    lifecycle.delete(actor=owner, adapter=sums)
    for actor in (owner, friend, AnonymousUser()):
        with refused("not-found", 404):
            adapters.find(actor=actor, repo_id="owner/sums")
        assert ids(actor) == {"friend/mix"} and not ids(actor, q="arithmetic")
        assert search.tags(actor=actor, q="arith") == []
        assert search.facets(actor=actor).counts.get("licence", []) == []
        node = lineage.of(actor, mix.head).nodes[0]
        assert (node.adapter, node.parent.repo_id) == (None, "owner/sums")
    assert not Facet.objects.filter(adapter=sums).exists() and not SearchText.objects.filter(adapter=sums).exists()
    assert [a.repo_id for a in lifecycle.deleted(actor=owner)] == ["owner/sums"]
    assert not lifecycle.deleted(actor=friend).exists()
    with refused("not-found", 404):
        lifecycle.find_deleted(actor=friend, repo_id="owner/sums")
    with refused("forbidden", 403):
        lifecycle.restore(actor=friend, adapter=Adapter.with_deleted.get(pk=sums.pk))


def test_its_name_waits(owner: User, sums: Adapter, upload: Upload):
    lifecycle.delete(actor=owner, adapter=sums)
    other = upload(owner, "other")
    for call in (
        lambda: adapters.create(actor=owner, name="SUMS"),
        lambda: adapters.check_new(actor=owner, name="sums"),
        lambda: lifecycle.rename(actor=owner, adapter=other, name="sums"),
        lambda: submit(owner, ["owner/other"], name="sums"),
    ):
        with refused("name-deleted", 400) as caught:
            call()
        assert "restored" in caught.value.message == caught.value.fields["name"]
    lifecycle.purge(actor=owner, adapter=lifecycle.find_deleted(actor=owner, repo_id="owner/sums"))
    assert adapters.create(actor=owner, name="sums").repo_id == "owner/sums"


def test_restoring_brings_everything_back(owner: User, friend: User, sums: Adapter, tmp_path: Path):
    """Words to find it by, its place in the lineage of others, in jobs that wait, and as the result of a job that is done."""
    mix, waiting = compose(friend, {sums: 1.0}), submit(friend, ["owner/sums"], name="later")
    done = runs.finish(job=claimed(submit(owner, ["owner/sums"])), result=result(tmp_path, {"owner/sums": 1.0}), folder=tmp_path)
    own = Adapter.objects.get(name="result")
    for adapter in (sums, own):
        lifecycle.delete(actor=owner, adapter=adapter)
    done.refresh_from_db()
    assert done.result is None and waiting.ingredients.get().revision is None
    for name in ("owner/sums", "owner/result"):
        lifecycle.restore(actor=owner, adapter=lifecycle.find_deleted(actor=owner, repo_id=name))
    done.refresh_from_db()
    assert done.result == own.head and waiting.ingredients.get().revision == sums.head
    assert lineage.of(friend, mix.head).nodes[0].adapter == sums
    assert ids(friend, q="arithmetic") == {"owner/sums"} and not lifecycle.deleted(actor=owner).exists()
    assert verbs()[-1] == "adapter.restore"
    with refused("not-found", 404):
        lifecycle.restore(actor=owner, adapter=sums)


def test_the_clock_removes_what_waited_long_enough(owner: User, sums: Adapter, upload: Upload, settings: Settings):
    late, kept = upload(owner, "late"), upload(owner, "kept")
    for adapter in (late, kept):
        lifecycle.delete(actor=owner, adapter=adapter)
    Adapter.with_deleted.filter(pk=late.pk).update(deleted_at=timezone.now() - timedelta(days=settings.DELETED_DAYS, minutes=1))
    assert lifecycle.purge_old() == 1 and lifecycle.purge_old() == 0
    assert set(Adapter.with_deleted.values_list("name", flat=True)) == {"sums", "kept"}
    assert verbs()[-1] == "adapter.purge"
    settings.DELETED_DAYS = 0
    lifecycle.delete(actor=owner, adapter=sums)
    assert not Adapter.with_deleted.filter(name="sums").exists()


def test_archive(owner: User, friend: User, sums: Adapter, upload: Upload):
    upload(friend, "two", seed=1)
    with refused("forbidden", 403):
        lifecycle.set_archived(actor=friend, adapter=sums, archived=True)
    lifecycle.set_archived(actor=owner, adapter=sums, archived=True)
    for call in (
        lambda: commit(sums, {"README.md": b"# Other\n"}),
        lambda: refs.create_tag(actor=owner, adapter=sums, name="v1"),
        lambda: adapters.update(actor=owner, adapter=sums, tags=["new"]),
    ):
        with refused("archived", 403):
            call()
    assert access.may_read_files(friend, sums) and "owner/sums" in ids(friend)
    assert [a.repo_id for a, _ in pinning.suggest(actor=owner, base_model=make.BASE)] == ["friend/two"]
    assert submit(owner, ["owner/sums"]).ingredients.count() == 1, "who names it may have it"
    adapters.update(actor=owner, adapter=sums, private=True)
    lifecycle.set_archived(actor=owner, adapter=sums, archived=False)
    assert commit(sums, {"README.md": b"# Other\n"}).adapter == sums
    assert verbs()[-4:] == ["composition.submit", "adapter.hide", "adapter.unarchive", "adapter.commit"]


def test_hand_over_to_a_person(owner: User, friend: User, stranger: User, sums: Adapter):
    """An offer gives nothing; once accepted, the old id leads to the new one, and the old owner has no rights left."""
    adapters.update(actor=owner, adapter=sums, private=True)
    offer = lifecycle.transfer(actor=owner, adapter=sums, to=friend)
    assert isinstance(offer, Transfer) and [o.adapter for o in lifecycle.offers(actor=friend)] == [sums]
    with refused("not-found", 404):
        adapters.find(actor=friend, repo_id="owner/sums")
    for other in (stranger, owner):
        assert not lifecycle.offers(actor=other).exists()
        with refused("not-found", 404):
            lifecycle.accept(actor=other, offer=offer)
    with refused("not-found", 404):
        lifecycle.decline(actor=stranger, offer=offer)
    lifecycle.accept(actor=friend, offer=offer)
    assert adapters.find(actor=friend, repo_id="owner/sums").repo_id == "friend/sums"
    with refused("not-found", 404):
        adapters.find(actor=owner, repo_id="friend/sums")
    assert not Transfer.objects.exists() and ids(friend, q="friend sums") == {"friend/sums"}
    assert adapters.create(actor=owner, name="sums").repo_id == "owner/sums"
    assert adapters.find(actor=friend, repo_id="friend/sums").pk == sums.pk


def test_offers_that_do_not_hold(owner: User, friend: User, stranger: User, sums: Adapter, upload: Upload):
    with refused("transfer-same"):
        lifecycle.transfer(actor=owner, adapter=sums, to=owner)
    with refused("forbidden", 403):
        lifecycle.transfer(actor=friend, adapter=sums, to=friend)
    offer = lifecycle.transfer(actor=owner, adapter=sums, to=friend)
    upload(friend, "sums")
    with refused("name-taken", 409) as said:
        lifecycle.accept(actor=friend, offer=offer)
    assert "friend/sums is there already" in said.value.message
    sums = lifecycle.rename(actor=owner, adapter=sums, name="totals")
    assert [row.adapter.repo_id for row in lifecycle.offers(actor=friend)] == ["owner/totals"], "an offer is of the adapter, whatever its name"
    second = lifecycle.transfer(actor=owner, adapter=sums, to=stranger)
    assert Transfer.objects.get() == second and second.to == stranger
    lifecycle.decline(actor=owner, offer=second)
    assert not Transfer.objects.exists() and verbs()[-1] == "adapter.decline"


def test_an_offer_ends_with_the_right_to_make_it(owner: User, friend: User, stranger: User):
    acme = organizations.create(actor=owner, name="acme")
    organizations.invite(actor=owner, organization=acme, username="friend", role="owner")
    organizations.answer(actor=friend, organization=acme, accept=True)
    adapter = adapters.create(actor=friend, name="thing", owner=acme)
    offer = lifecycle.transfer(actor=friend, adapter=adapter, to=stranger)
    organizations.remove(actor=owner, organization=acme, username="friend")
    with refused("offer-void", 409):
        lifecycle.accept(actor=stranger, offer=offer)
    assert not Transfer.objects.exists()


def test_a_private_mix_does_not_carry_others_away(owner: User, friend: User, upload: Upload):
    """Its weights hold those of a gated adapter, and its recipe names a private one: neither is for the receiver."""
    gated, hidden = upload(friend, "gated"), upload(owner, "hidden", private=True)
    adapters.update(actor=friend, adapter=gated, gated="manual")
    gates.grant(actor=friend, adapter=gated, username="owner")
    for parent, code in ((gated, "gated-parents"), (hidden, "private-parents")):
        mix = compose(owner, {parent: 1.0}, name=f"of-{parent.name}", private=True)
        with refused(code, 409):
            lifecycle.transfer(actor=owner, adapter=mix, to=organizations.create(actor=owner, name=f"org-{parent.name}"))
    assert isinstance(lifecycle.transfer(actor=owner, adapter=Adapter.objects.get(name="of-gated"), to=friend), Transfer), "they are friend's own"


def test_whoever_hands_over_at_once_makes_adapters_there(owner: User, sums: Adapter):
    acme = organizations.create(actor=owner, name="acme")
    moved = lifecycle.transfer(actor=owner, adapter=sums, to=acme)
    assert isinstance(moved, Adapter) and moved.repo_id == "acme/sums"
    assert lifecycle.move(actor=owner, adapter=moved, name="total", to=owner).repo_id == "owner/total"
    for name in ("owner/sums", "acme/sums", "owner/total"):
        assert adapters.find(actor=owner, repo_id=name).repo_id == "owner/total"
    assert accounts.find_owner("nobody") is None and not AccessToken.objects.exists()


def test_a_job_that_waits_holds_the_name_at_the_receiver(owner: User, sums: Adapter):
    acme = organizations.create(actor=owner, name="acme")
    submit(owner, ["owner/sums"], name="sums", owner=acme)
    with pytest.raises(HubError, match=r"A composition that waits or runs will become acme/sums\. Choose another name\."):
        lifecycle.transfer(actor=owner, adapter=sums, to=acme)
    Composition.objects.update(status="failed")
    assert lifecycle.transfer(actor=owner, adapter=sums, to=acme).repo_id == "acme/sums"


def test_a_job_of_the_receiver_keeps_an_offer_waiting(owner: User, friend: User, sums: Adapter, upload: Upload):
    upload(friend, "other")
    submit(friend, ["friend/other"], name="sums")
    offer = lifecycle.transfer(actor=owner, adapter=sums, to=friend)
    with refused("name-taken", 409) as caught:
        lifecycle.accept(actor=friend, offer=offer)
    assert caught.value.message.startswith("A composition that waits or runs will become friend/sums.")
    Composition.objects.update(status="failed")
    assert lifecycle.accept(actor=friend, offer=offer).repo_id == "friend/sums"
