"""Suggestions of adapters for a task: what fits by its words, why, and who sees what."""

from typing import Any

import pytest

from hub.models import AccessRequest, Adapter, User
from hub.services import suggestions
from tests import make
from tests.conftest import Upload, compose

pytestmark = pytest.mark.django_db
ROWS = [{"input": f"What is the simple past of the verb go{n}?", "output": "went"} for n in range(5)]


def ask(actor: User, description: str = "", rows: Any = (), **more: Any) -> list[tuple[str, list[str]]]:
    found = suggestions.for_task(actor=actor, base_model=make.BASE, description=description, examples=rows, **more)
    return [(one.adapter.name, one.reasons) for one in found]


@pytest.fixture
def verbs(owner: User, upload: Upload) -> Adapter:
    upload(owner, "weather", card="# Weather\n\nForecasts rain.\n", seed=1)
    upload(owner, "elsewhere", base="other/base", card="# Verbs\n\nPast tense of verbs.\n", seed=2)
    upload(owner, "verb-dora", use_dora=True, card="# Verbs\n\nPast tense of verbs.\n", seed=3)
    return upload(owner, "simple-past", tags=("verbs",), card="# Past\n\nConjugates verbs of English irregularly.\n")


def test_it_works(owner: User, verbs: Adapter) -> None:
    assert ask(owner, rows=ROWS) == [("simple-past", ["tagged “verbs”", "its name says “past” and “simple”"])]
    assert ask(owner, "Irregular conjugation") == []
    assert ask(owner, "Something irregularly formed") == [("simple-past", ["its card says “irregularly”"])]


def test_nothing_in_common_nothing_suggested(owner: User, verbs: Adapter) -> None:
    assert ask(owner) == ask(owner, "the and for") == ask(owner, "Chess openings", [{"input": "e4", "output": "e5"}, "not a row", {"input": None}]) == []


def test_another_word_for_a_tag(owner: User, upload: Upload) -> None:
    upload(owner, "sums", tags=("arithmetic",))
    assert ask(owner, "Maths for children") == [("sums", ["tagged “arithmetic”"])]


def test_use_and_results_are_reasons_too(owner: User, friend: User, upload: Upload) -> None:
    results = "model-index:\n- name: x\n  results:\n  - dataset: {name: Verbs-2}\n    metrics: [{type: accuracy, value: 0.83}]"
    upload(owner, "verb-a", card="# A\n\nVerbs.\n")
    best = upload(owner, "verb-b", card=f"---\n{results}\n---\n# B\n\nVerbs.\n", seed=1)
    compose(friend, {best: 1.0}, name="mix")
    compose(friend, {best: 1.0}, name="hidden", private=True)
    assert ask(owner, "verb")[0] == ("verb-b", ["its name says “verb”", "used in 1 composition", "its card reports accuracy 0.83 on Verbs-2"])
    assert ask(friend, "verb", private=True)[0][1][1] == "used in 2 compositions"


def test_private_and_gated_adapters(owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "secret-verbs", private=True)
    gated = upload(owner, "gated-verbs", seed=1)
    Adapter.objects.filter(pk=gated.pk).update(gated="manual")
    assert ask(stranger, "verbs", private=True) == []
    assert [name for name, _ in ask(owner, "verbs", private=True)] == ["secret-verbs", "gated-verbs"]
    assert [name for name, _ in ask(owner, "verbs")] == ["gated-verbs"]
    AccessRequest.objects.create(adapter=gated, user=stranger, status="accepted")
    assert [name for name, _ in ask(stranger, "verbs", private=True)] == ["gated-verbs"] and ask(stranger, "verbs") == []


def test_words_of_any_kind(owner: User, verbs: Adapter) -> None:
    assert ask(owner, "\x00\ud800 verbs' OR 1=1 --")[0][0] == "simple-past"
    assert suggestions.for_task(actor=owner, base_model="\x00", description="verbs", examples=()) == []
