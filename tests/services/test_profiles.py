"""Weight profiles: each is measured once by a worker, failures are kept, and alike adapters are shown to those who may see them."""

import io
from datetime import timedelta

import numpy as np
import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from compose_worker import tasks
from hub import celery, storage
from hub.errors import HubError
from hub.models import Adapter, Neighbour, Profile, Revision, User
from hub.services import adapters, profiles
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import measured
from tests.services.stage import profile_of as of


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The profiles that workers were told of."""
    found: list[int] = []
    monkeypatch.setattr(celery, "ring_profile", found.append)
    return found


def like(actor: "User | AnonymousUser", adapter: Adapter) -> dict[str, float]:
    return {row.repo_id: row.similarity for row in profiles.similar(actor=actor, adapter=adapter, profile=of(adapter))}


def test_the_worker_measures_it(owner: User, upload: Upload) -> None:
    row = of(upload(owner, "one"))
    assert (row.status, row.base_model) == ("waiting", make.BASE)
    assert tasks.profile(row.pk) == "done" and tasks.profile(row.pk) == "nothing-to-do"
    row.refresh_from_db()
    tensors = make.tensors()
    name = "base_model.model.model.layers.1.self_attn.v_proj"
    dense = 2 * tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
    [found] = [m for m in row.rows if m[0] == name.removeprefix("base_model.model.")]
    assert found[1:3] == [1, "v_proj"] and found[3] == pytest.approx(float(np.linalg.norm(dense)), rel=1e-5)
    assert len(row.rows) == 4 and len(row.values) == 4 and len(bytes(row.fingerprint)) == 1024


@pytest.mark.django_db(transaction=True)
def test_weights_are_measured_once_however_often_they_come(owner: User, friend: User, upload: Upload, rung: list[int]) -> None:
    one = upload(owner, "one")
    commit(one, {"README.md": b"# A card\n"})
    two = upload(friend, "two", private=True)
    upload(owner, "plain", files={"README.md": b"# Nothing yet\n"})
    assert Profile.objects.count() == 1 and rung == [of(one).pk] and of(two).pk == of(one).pk
    commit(one, {"adapter_config.json": make.adapter(lora_alpha=1)["adapter_config.json"]})
    assert Profile.objects.count() == 2 and rung[1:] == [of(one).pk], "another scale is another update"


def test_a_lost_message_does_not_matter(owner: User, upload: Upload, rung: list[int]) -> None:
    row = of(upload(owner, "one"))
    assert profiles.ring() == 0, "it was rung just now"
    Profile.objects.update(rung_at=timezone.now() - 2 * profiles.QUIET)
    assert profiles.ring() == 1 and profiles.ring() == 0 and rung == [row.pk]
    taken = profiles.claim(profile_id=row.pk)
    Profile.objects.update(rung_at=None)
    assert taken is not None and profiles.claim(profile_id=row.pk) is None and profiles.ring() == 0
    Profile.objects.update(claimed_at=timezone.now() - profiles.STALE - timedelta(seconds=1))
    assert profiles.ring() == 1
    again = profiles.claim(profile_id=row.pk)
    assert again is not None and not profiles.finish(profile=taken, matrices=[], values=[], fingerprint=[]), "the first worker has lost it"
    assert of(Adapter.objects.get()).status == "running"


def test_adapters_from_before_are_caught_up_with(owner: User, upload: Upload, rung: list[int]) -> None:
    one = upload(owner, "one")
    Revision.objects.update(profile=None)
    Profile.objects.all().delete()
    assert profiles.catch_up() == 1 and profiles.catch_up() == 0 and of(one).status == "waiting"


def test_what_cannot_be_measured_is_tried_no_more(owner: User, upload: Upload) -> None:
    row = of(upload(owner, "one", use_dora=True))
    assert tasks.profile(row.pk) == "failed" and tasks.profile(row.pk) == "nothing-to-do"
    row.refresh_from_db()
    assert (row.error_code, row.error_message) == ("module-unsupported", profiles.REASONS["module-unsupported"])


def test_a_store_that_is_away_is_asked_again_but_not_for_ever(owner: User, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    row = of(upload(owner, "one"))

    def away(sha256: str, target: object) -> None:
        raise HubError("storage-unavailable", "It does not answer.", status=503)

    monkeypatch.setattr(storage, "link", away)
    assert [tasks.profile(row.pk) for _ in range(4)] == ["waiting", "waiting", "failed", "nothing-to-do"]


def test_a_file_that_kills_workers_is_given_up(owner: User, upload: Upload) -> None:
    row = of(upload(owner, "one"))
    for _ in range(profiles.ATTEMPTS):
        assert profiles.claim(profile_id=row.pk) is not None
        Profile.objects.update(claimed_at=timezone.now() - profiles.STALE - timedelta(seconds=1))
    assert profiles.claim(profile_id=row.pk) is None
    row.refresh_from_db()
    assert (row.status, row.error_code) == ("failed", "worker-lost") and profiles.ring() == 0


def test_alike_adapters_are_found_from_both_sides(owner: User, friend: User, upload: Upload) -> None:
    one, two, far = (upload(user, name, seed=seed) for user, name, seed in ((owner, "one", 1), (friend, "two", 2), (owner, "far", 3)))
    other_base = upload(owner, "other-base", seed=4, base="other/base")
    measured(one, 1, 0, 0), measured(two, 0.96, 0.28, 0), measured(far, 0.1, 0, 1), measured(other_base, 1, 0, 0)
    copy = upload(friend, "copy", seed=1)
    assert like(AnonymousUser(), one) == {"friend/copy": 1.0, "friend/two": pytest.approx(0.96, abs=1e-3)}
    assert like(AnonymousUser(), two) == {"owner/one": pytest.approx(0.96, abs=1e-3), "friend/copy": pytest.approx(0.96, abs=1e-3)}
    assert like(AnonymousUser(), copy)["owner/one"] == 1.0 and like(AnonymousUser(), far) == {} == like(AnonymousUser(), other_base)
    assert profiles.cosine(of(one), of(two)) == pytest.approx(0.96, abs=1e-3)
    commit(two, make.adapter(seed=9))
    assert "friend/two" not in like(AnonymousUser(), one), "its newest revision is another update"


def test_private_ones_are_seen_by_their_owner_alone_and_crowd_nobody_out(
    owner: User, friend: User, stranger: User, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "KEPT", 2)
    public = upload(owner, "public", seed=1)
    measured(public, 0.9, 0.1)
    for number in range(4):
        measured(upload(owner, f"secret{number}", private=True, seed=10 + number), 1, 0.001 * number)
    late = upload(friend, "late", seed=2)
    measured(late, 1, 0)
    assert set(like(stranger, late)) == set(like(AnonymousUser(), late)) == set(like(friend, late)) == {"owner/public"}
    assert len([name for name in like(owner, late) if "secret" in name]) == 2 and Neighbour.objects.filter(profile=of(late)).count() == 4
    assert set(like(stranger, public)) == {"friend/late"}
    adapters.update(actor=owner, adapter=Adapter.objects.get(name="secret0"), private=False)
    assert set(like(stranger, late)) == {"owner/public", "owner/secret0"}


def test_an_update_that_is_zero_is_like_nothing(owner: User, upload: Upload) -> None:
    one, two = upload(owner, "one", seed=1), upload(owner, "two", seed=2)
    measured(one), measured(two, 1, 0)
    assert like(owner, one) == {} and profiles.cosine(of(one), of(two)) is None


def test_very_many_matrices_are_cut_to_the_largest(owner: User, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MATRICES", 2)
    row = profiles.claim(profile_id=of(upload(owner, "one")).pk)
    assert row is not None
    matrices = [[name, 0, "q", norm, 1.0, [norm]] for name, norm in (("a", 2.0), ("b", 1.0), ("c", 3.0))]
    profiles.finish(profile=row, matrices=matrices, values=[1.0], fingerprint=[1.0])
    row.refresh_from_db()
    assert [m[0] for m in row.rows] == ["a", "c"] and row.left_out == 1


def test_a_revision_that_only_changes_the_card_keeps_the_profile(sums: Adapter) -> None:
    before = of(sums)
    adapters.commit(actor=sums.owner, adapter=sums, files=[adapters.Incoming("README.md", io.BytesIO(b"# New\n"))])
    assert of(sums).pk == before.pk and Profile.objects.count() == 1


def test_the_change_by_layer_is_a_few_digits() -> None:
    rows = [("a", 0, "q", 3.0), ("b", 0, "v", 4.0), ("c", 2, "q", 2.5), ("head", None, "head", 99.0)]
    assert profiles.by_layer(rows) == "904" and profiles.by_layer([]) == profiles.by_layer(rows[3:]) == profiles.by_layer([("a", 0, "q", 0.0)]) == ""
    many = profiles.by_layer([(str(n), n, "q", 1.0 + (n == 99)) for n in range(100)])
    assert len(many) == 34 and many.endswith("9") and set(many[:-1]) == {"4"}
