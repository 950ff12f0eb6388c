"""`visible_to` decides what anyone sees, in every list and count."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.errors import HubError
from hub.models import Adapter, BaseModel, Composition, User
from hub.services import adapters, jobs, numbers, pinning, search, social
from tests import make
from tests.conftest import Upload
from tests.services.stage import refused, submit

Cast = dict[str, Any]


@pytest.fixture
def cast(owner: User, friend: User, stranger: User, upload: Upload) -> Cast:
    """The owner has one open and one hidden adapter; the hidden one is alone on its base and with its tag."""
    upload(owner, "open", tags=("open-tag", "both"), card="# Open\n\nAbout apples.\n")
    upload(owner, "hidden", private=True, tags=("hidden-tag", "both"), seed=1, card="# Hidden\n\nAbout pears.\n")
    upload(owner, "hidden-base", private=True, base="secret/base", seed=2)
    return {"owner": owner, "stranger": stranger, "nobody": AnonymousUser()}


def listed(actor: Any, **more: Any) -> list[str]:
    """The ids of a listing, and the same number as its total."""
    page = search.adapters(actor=actor, **more)
    assert page.total == len(page.items)
    return sorted(a.name for a in page.items)


EVERYTHING = ["hidden", "hidden-base", "open"]


def test_the_list(cast: Cast) -> None:
    assert listed(cast["owner"]) == EVERYTHING
    assert listed(cast["stranger"]) == listed(cast["nobody"]) == ["open"]


@pytest.mark.parametrize(
    "filters",
    [{"q": "pears"}, {"q": "hidden"}, {"q": "owner/hidden"}, {"tag": "hidden-tag"}, {"base_model": "secret/base"}, {"q": "hidden-tag"}],
)
@pytest.mark.parametrize("sort", list(search.SORTS))
def test_no_filter_shows_what_is_hidden(cast: Cast, filters: dict[str, str], sort: str) -> None:
    assert listed(cast["owner"], **filters, sort=sort)
    for actor in (cast["stranger"], cast["nobody"]):
        assert listed(actor, **filters, sort=sort) == []


def test_the_owner_filter(cast: Cast) -> None:
    assert listed(cast["owner"], owner="OWNER") == EVERYTHING
    assert listed(cast["stranger"], owner="owner") == ["open"]


def test_base_models(cast: Cast) -> None:
    def seen(actor: Any) -> dict[str, int]:
        return {row.name: row.adapters for row in search.base_models(actor=actor)}

    assert seen(cast["owner"]) == {make.BASE: 2, "secret/base": 1}
    assert seen(cast["stranger"]) == seen(cast["nobody"]) == {make.BASE: 1}
    BaseModel.objects.create(name="unused/base")
    assert "unused/base" not in seen(cast["nobody"])


def test_tags(cast: Cast) -> None:
    assert search.tags(actor=cast["owner"], q="") == [("both", 2), ("hidden-tag", 1), ("open-tag", 1)]
    for actor in (cast["stranger"], cast["nobody"]):
        assert search.tags(actor=actor, q="") == [("both", 1), ("open-tag", 1)]


def test_the_front_page_counts_what_everyone_may_see(cast: Cast) -> None:
    counts = numbers.totals()
    assert counts == {"adapters": 1, "composed": 0, "size": Adapter.objects.get(name="open").size}


def test_suggest(cast: Cast) -> None:
    def names(actor: Any, private: bool) -> list[str]:
        return sorted(a.name for a, _ in pinning.suggest(actor=actor, base_model=make.BASE, private=private))

    assert names(cast["owner"], True) == ["hidden", "open"]
    assert names(cast["owner"], False) == ["open"], "a public result names no private adapter"
    for actor in (cast["stranger"], cast["nobody"]):
        assert names(actor, True) == names(actor, False) == ["open"]


Call = Callable[[Any], Any]
HIDDEN: dict[str, Call] = {
    "find": lambda actor: adapters.find(actor=actor, repo_id="owner/hidden"),
    "find_file": lambda actor: adapters.find_file(actor=actor, repo_id="owner/hidden", path="adapter_config.json"),
    "like": lambda actor: social.like(actor=actor, adapter=Adapter.objects.get(name="hidden"), on=True),
    "submit": lambda actor: submit(actor, ["owner/hidden"], private=True),
    "submit on its base": lambda actor: submit(actor, "auto", base_model="secret/base", private=True),
}


@pytest.mark.parametrize("call", HIDDEN.values(), ids=HIDDEN)
def test_every_verb_that_takes_an_adapter(cast: Cast, call: Call) -> None:
    with pytest.raises(HubError) as caught:
        call(cast["stranger"])
    assert caught.value.code in ("not-found", "module-not-found", "base-model-unknown")
    assert "private" not in caught.value.message
    call(cast["owner"])


def test_a_missing_module_and_a_hidden_one_sound_the_same(cast: Cast) -> None:
    said = []
    for name in ("hidden", "nothng"):
        with refused("module-not-found", 400) as caught:
            submit(cast["stranger"], [f"owner/{name}"])
        said.append(caught.value.message.replace(name, ""))
    assert said[0] == said[1]


def test_jobs_are_their_owners_alone(cast: Cast, friend: User) -> None:
    job = submit(cast["owner"])
    assert list(Composition.objects.visible_to(cast["owner"])) == [job]
    for actor in (cast["stranger"], cast["nobody"]):
        assert not Composition.objects.visible_to(actor).exists()
    with refused("not-found", 404):
        jobs.cancel(actor=cast["stranger"], job=job)
    with refused("login-required", 401):
        jobs.cancel(actor=cast["nobody"], job=job)
    job.refresh_from_db()
    assert job.status == "queued" and not job.cancel_requested


def test_an_empty_adapter_is_listed_for_its_owner_only(cast: Cast) -> None:
    adapters.create(actor=cast["owner"], name="empty")
    assert "empty" in listed(cast["owner"]) and "empty" not in listed(cast["stranger"])
    assert "empty" not in listed(cast["nobody"])
