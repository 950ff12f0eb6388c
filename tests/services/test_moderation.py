"""Reports, decisions of moderators, and what is left of what was taken down."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache

from hub.errors import HubError
from hub.models import Adapter, Comment, Composition, Report, User
from hub.services import (
    accounts,
    adapters,
    comments,
    files,
    inputs,
    lifecycle,
    moderation,
    notices,
    notifications,
    numbers,
    organizations,
    reports,
    runs,
    search,
    social,
    uploads,
)
from tests.conftest import Upload, compose
from tests.services.stage import claimed, refused, submit, verbs


@pytest.fixture
def moderator(db: Any) -> User:
    return User.objects.create_user("moderator", email="moderator@example.org", is_staff=True)


@pytest.fixture
def comment(sums: Adapter, friend: User) -> Comment:
    return comments.add(actor=friend, adapter=sums, body="rude words")


def told(user: User) -> list[str]:
    """What a person reads in their list, newest first."""
    return [notices.told(row).text for row in notifications.listing(actor=user)]


def test_a_report(sums: Adapter, comment: Comment, stranger: User, friend: User, moderator: User) -> None:
    reports.report_adapter(actor=stranger, adapter=sums, reason="rights", text="  It is mine. ")
    reports.report_adapter(actor=friend, adapter=sums, reason="spam")
    reports.report_comment(actor=stranger, comment=comment, reason="abuse")
    cases = moderation.queue(actor=moderator)
    assert [[(r.subject, r.reason, r.text) for r in case.reports] for case in cases] == [
        [("owner/sums", "rights", "It is mine."), ("owner/sums", "spam", "")],
        [("owner/sums", "abuse", "")],
    ]
    assert cases[1].first.quote == "rude words" and cases[1].first.person == friend
    assert told(moderator) == ["There are new reports to look at."], "one bell for all of them"


def test_what_is_no_report(sums: Adapter, comment: Comment, owner: User, friend: User, stranger: User) -> None:
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("report-own", lambda: reports.report_adapter(actor=owner, adapter=sums, reason="spam")),
        ("report-own", lambda: reports.report_comment(actor=friend, comment=comment, reason="spam")),
        ("reason-invalid", lambda: reports.report_adapter(actor=stranger, adapter=sums, reason="dislike")),
        ("report-invalid", lambda: reports.report_adapter(actor=stranger, adapter=sums, reason="other")),
        ("report-invalid", lambda: reports.report_adapter(actor=stranger, adapter=sums, reason="spam", text="x" * 2001)),
        ("login-required", lambda: reports.report_adapter(actor=AnonymousUser(), adapter=sums, reason="spam")),  # type: ignore[arg-type]
    ]
    for code, call in calls:
        with refused(code):
            call()
    assert not Report.objects.exists()


def test_one_open_report_of_a_thing(sums: Adapter, comment: Comment, stranger: User, moderator: User) -> None:
    first = reports.report_adapter(actor=stranger, adapter=sums, reason="spam")
    reports.report_comment(actor=stranger, comment=comment, reason="spam")
    for call in (reports.report_adapter, lambda **more: reports.report_comment(**{**more, "comment": comment} if more.pop("adapter") else more)):
        with refused("report-open", 409):
            call(actor=stranger, adapter=sums, reason="harm")
    moderation.dismiss(actor=moderator, report=first)
    reports.report_adapter(actor=stranger, adapter=sums, reason="harm")
    assert [case.first.reason for case in moderation.queue(actor=moderator)] == ["spam", "harm"], "the comment's report is a case of its own"


def test_what_one_does_not_see_cannot_be_reported(sums: Adapter, comment: Comment, owner: User, stranger: User) -> None:
    adapters.update(actor=owner, adapter=sums, private=True)
    with refused("not-found", 404):
        reports.report_adapter(actor=stranger, adapter=sums, reason="spam")
    with refused("not-found", 404):
        reports.report_comment(actor=stranger, comment=comment, reason="spam")


@pytest.mark.parametrize("who", ["nobody", "stranger", "owner"])
def test_decisions_are_for_moderators(sums: Adapter, comment: Comment, owner: User, friend: User, stranger: User, who: str) -> None:
    report = reports.report_adapter(actor=stranger, adapter=sums, reason="spam")
    actor: Any = {"nobody": AnonymousUser(), "stranger": stranger, "owner": owner}[who]
    for call in (
        lambda: moderation.queue(actor=actor),
        lambda: moderation.takedowns(actor=actor),
        lambda: moderation.hidden_comments(actor=actor),
        lambda: moderation.suspended(actor=actor),
        lambda: moderation.find_report(actor=actor, number=report.pk),
        lambda: moderation.dismiss(actor=actor, report=report),
        lambda: moderation.hide_comment(actor=actor, comment=comment, reason="abuse"),
        lambda: moderation.take_down(actor=actor, adapter=sums, reason="spam"),
        lambda: moderation.restore(actor=actor, adapter=sums),
        lambda: moderation.suspend(actor=actor, person=friend, reason="spam"),
        lambda: moderation.reinstate(actor=actor, person=friend),
        lambda: moderation.show_comment(actor=actor, comment=comment),
    ):
        with refused("login-required" if who == "nobody" else "forbidden"):
            call()
    report.refresh_from_db()
    assert report.status == "open" and Adapter.objects.get().taken_down is False


def test_hiding_a_comment(sums: Adapter, comment: Comment, friend: User, stranger: User, moderator: User) -> None:
    reports.report_comment(actor=stranger, comment=comment, reason="abuse")
    moderation.hide_comment(actor=moderator, comment=comment, reason="abuse")
    assert comments.page(actor=friend, adapter=sums, limit=9)[0][0].gone == "hidden" and moderation.queue(actor=moderator) == []
    assert told(friend) == ["A comment of yours on owner/sums was hidden: harassment or hate."]
    assert (Report.objects.get().status, Report.objects.get().decided_by) == ("upheld", moderator) and verbs()[-1] == "comment.hide"
    moderation.show_comment(actor=moderator, comment=comment)
    assert comments.page(actor=friend, adapter=sums, limit=9)[0][0].body == "rude words"


def test_taken_down_is_nowhere(sums: Adapter, owner: User, friend: User, stranger: User, moderator: User) -> None:
    """Every list, count and way to the bytes, for everybody; the name stays taken, and whoever could see it learns why."""
    assert sums.head is not None
    sha, weights = sums.head.sha, sums.head.files.get(path="adapter_model.safetensors").blob_id
    social.like(actor=friend, adapter=sums, on=True)
    reports.report_adapter(actor=stranger, adapter=sums, reason="rights")
    moderation.take_down(actor=moderator, adapter=sums, reason="rights", text="See the notice of 3 May")
    cache.clear()
    for actor in (AnonymousUser(), friend, owner, moderator):
        assert search.adapters(actor=actor).items == [] and search.facets(actor=actor).counts == {} and search.tags(actor=actor, q="a") == []
        assert not [row for row in search.base_models(actor=actor) if row.adapters]
        for ref in ("main", sha):
            assert files.find(actor=actor, owner="owner", name="sums", path="README.md", ref=ref) is None
        for call in (
            lambda a=actor: adapters.find(actor=a, repo_id="owner/sums"),
            lambda a=actor: adapters.find_file(actor=a, repo_id="Owner/SUMS", path="README.md", ref=sha),
        ):
            with refused("taken-down", 410) as caught:
                call()
            assert ("notice of 3 May" in caught.value.message) == (actor in (owner, moderator)) and "rights" in caught.value.message
    assert numbers.totals()["adapters"] == 0
    assert uploads.owned(user=stranger, sha256=weights) is None, "knowing a hash does not bring the bytes back"
    with refused("name-taken", 400):
        adapters.create(actor=owner, name="Sums")
    assert told(owner)[0] == "owner/sums was taken down: somebody's rights: copyright, licence or trade mark. See the notice of 3 May"
    assert Report.objects.get().status == "upheld" and "adapter.take-down" in verbs()
    with refused("not-found", 404):
        social.like(actor=stranger, adapter=sums, on=True)


def test_restoring(sums: Adapter, owner: User, moderator: User) -> None:
    moderation.take_down(actor=moderator, adapter=sums, reason="spam")
    with refused("not-found", 404):
        moderation.take_down(actor=moderator, adapter=sums, reason="spam")
    moderation.restore(actor=moderator, adapter=moderation.find_taken_down(actor=moderator, number=sums.pk))
    assert adapters.find(actor=owner, repo_id="owner/sums").head == sums.head
    assert told(owner)[0] == "owner/sums is back as it was." and not moderation.takedowns(actor=moderator)
    with refused("not-found", 404):
        moderation.find_taken_down(actor=moderator, number=sums.pk)


def test_a_private_one_leaves_no_tombstone_for_strangers(owner: User, stranger: User, moderator: User, upload: Upload) -> None:
    hidden = upload(owner, "hidden", private=True)
    moderation.take_down(actor=moderator, adapter=hidden, reason="harm")
    for actor in (AnonymousUser(), stranger):
        with refused("not-found", 404):
            adapters.find(actor=actor, repo_id="owner/hidden")
    with refused("taken-down", 410):
        adapters.find(actor=owner, repo_id="owner/hidden")


def test_a_former_name_leads_to_the_tombstone(sums: Adapter, owner: User, moderator: User) -> None:
    lifecycle.rename(actor=owner, adapter=sums, name="totals")
    moderation.take_down(actor=moderator, adapter=sums, reason="spam")
    with refused("taken-down", 410):
        adapters.find(actor=AnonymousUser(), repo_id="owner/sums")


def test_compositions(owner: User, friend: User, moderator: User, upload: Upload) -> None:
    """Nothing new is made with it. What was published stays, and what was private stays so."""
    one = upload(owner, "one")
    upload(friend, "two", rank=2, seed=1)
    before, secret = compose(friend, {one: 1.0}, name="before"), compose(friend, {one: 1.0}, name="secret", private=True)
    named, found = submit(friend, ["owner/one", "friend/two"], name="named"), submit(friend, "auto", name="found")
    moderation.take_down(actor=moderator, adapter=one, reason="rights")
    with refused("module-not-found", 400):
        submit(friend, ["owner/one"], name="new")
    assert adapters.find(actor=friend, repo_id="friend/before") == before
    with refused("taken-down-parents", 409):
        adapters.update(actor=friend, adapter=secret, private=False)
    with refused("module-taken-down"):
        inputs.of(claimed(named))
    assert "owner/one" not in [module.id for module in inputs.of(claimed(found))]


def test_a_suspended_account(sums: Adapter, owner: User, friend: User, moderator: User) -> None:
    _, text = accounts.create_token(actor=friend, name="laptop", scope="write")
    waits = submit(friend, ["owner/sums"], name="waits")
    runs_now = claimed(submit(friend, ["owner/sums"], name="runs"))
    moderation.suspend(actor=moderator, person=friend, reason="spam")
    friend.refresh_from_db()
    assert accounts.find_token(text=text) is None
    with refused("login-required", 401):
        comments.add(actor=friend, adapter=sums, body="still here")
    assert Composition.objects.get(pk=waits.pk).status == "cancelled" and runs.beat(job=runs_now) is False
    assert [person.username for person in moderation.suspended(actor=moderator)] == ["friend"]
    moderation.reinstate(actor=moderator, person=friend)
    assert accounts.find_token(text=text) is not None and verbs()[-1] == "account.reinstate"


def test_who_cannot_be_suspended(moderator: User) -> None:
    other = User.objects.create_user("other", email="o@example.org", is_staff=True)
    chief = User.objects.create_superuser("chief", email="c@example.org")
    for person in (moderator, other, chief):
        with refused("forbidden", 403):
            moderation.suspend(actor=moderator, person=person, reason="spam")
    with refused("forbidden", 403):
        moderation.suspend(actor=chief, person=chief, reason="spam")
    moderation.suspend(actor=chief, person=other, reason="spam")


def test_a_deleted_adapter_that_is_taken_down_is_the_moderators(owner: User, sums: Adapter, moderator: User, settings: Any) -> None:
    lifecycle.delete(actor=owner, adapter=sums)
    moderation.take_down(actor=moderator, adapter=sums, reason="rights")
    assert not lifecycle.deleted(actor=owner).exists()
    gone = Adapter.with_deleted.select_related("owner").get(pk=sums.pk)
    for verb in (lifecycle.restore, lifecycle.purge):
        with refused("not-found"):
            verb(actor=owner, adapter=gone)
    settings.DELETED_DAYS = 0
    assert lifecycle.purge_old() == 0
    for actor in (owner, AnonymousUser()):
        with refused("taken-down", 410):
            adapters.find(actor=actor, repo_id="owner/sums")
    with pytest.raises(HubError, match="taken down by the hub's moderators, and its name stays taken"):
        adapters.create(actor=owner, name="sums")
    moderation.restore(actor=moderator, adapter=gone)
    assert lifecycle.purge_old() == 1 and not Adapter.with_deleted.exists()


def test_offers_end_with_what_moderators_decide(owner: User, friend: User, stranger: User, sums: Adapter, moderator: User, upload: Upload) -> None:
    units = upload(owner, "units", seed=1)
    first, second = (lifecycle.transfer(actor=owner, adapter=one, to=friend) for one in (sums, units))
    moderation.take_down(actor=moderator, adapter=sums, reason="rights")
    assert list(lifecycle.offers(actor=friend)) == [second]
    with refused("not-found"):
        lifecycle.accept(actor=friend, offer=first)
    assert Adapter.objects.get(pk=sums.pk).owner == owner
    moderation.suspend(actor=moderator, person=owner, reason="spam")
    second.by.refresh_from_db()
    assert not lifecycle.offers(actor=friend).exists()
    with refused("offer-void"):
        lifecycle.accept(actor=friend, offer=second)


def test_a_tombstone_stands_under_an_organisations_former_name(owner: User, friend: User, moderator: User) -> None:
    guild = organizations.create(actor=owner, name="guild")
    shared = adapters.create(actor=owner, name="shared", owner=guild)
    organizations.rename(actor=owner, organization=guild, name="club")
    moderation.take_down(actor=moderator, adapter=shared, reason="harm")
    for name in ("club/shared", "guild/shared"):
        with refused("taken-down", 410):
            adapters.find(actor=friend, repo_id=name)
