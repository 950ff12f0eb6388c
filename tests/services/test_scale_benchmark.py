"""The benchmark of a growing catalogue: what it makes is whole, and everything that it measures can be done."""

from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from benchmarks import scale, scale_catalogue, scale_probes
from hub.models import Adapter, Composition, Facet, Neighbour, Revision, RevisionFile, SearchText, User
from hub.services import adapters, queue, search


@pytest.fixture
def few(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of 12."""
    monkeypatch.setattr(scale_catalogue, "SEED", 12)
    monkeypatch.setattr(scale_catalogue, "PEOPLE", 3)
    scale_catalogue.grow(0, 12)


@pytest.mark.django_db(transaction=True)  # indexes are dropped and made anew
def test_copies_are_whole_adapters_of_their_own(few: None) -> None:
    if connection.vendor != "postgresql":
        with pytest.raises(RuntimeError, match="Only PostgreSQL"):
            scale_catalogue.grow(12, 36)
        return
    before = {model: model.objects.count() for model in (Adapter, Revision, RevisionFile, SearchText, Facet, Neighbour, User)}
    scale_catalogue.grow(12, 36)
    assert {model: model.objects.count() for model in before} == {model: 3 * number for model, number in before.items()}
    scale_catalogue.grow(36, 72)
    assert {model: model.objects.count() for model in before} == {model: 6 * number for model, number in before.items()}, "copies of copies are new ones too"
    last = Adapter.objects.select_related("owner", "head__profile").latest("pk")
    assert last.head and last.head.adapter_id == last.pk and last.head.profile and last.head.profile.neighbours.count() == 3
    assert adapters.find_file(actor=last.owner, repo_id=last.repo_id, path="README.md").revision == last.head
    assert not last.private and last.pk in [a.pk for a in search.adapters(actor=AnonymousUser(), q=last.name).items]
    fresh = adapters.create(actor=last.owner, name="goes-on")
    assert fresh.pk > last.pk, "the next number is free"


def test_everything_that_is_measured_can_be_done(few: None) -> None:
    for group in scale_probes.of_catalogue().values():
        for probe in group.values():
            probe()


def test_the_queue(few: None) -> None:
    scale_catalogue.queue(0, 0)  # an empty queue is measured first
    scale_catalogue.queue(0, 5)
    scale_catalogue.queue(5, 7)
    waiting = Composition.objects.filter(status=Composition.Status.QUEUED)
    assert waiting.count() == 7 and waiting.values("owner").distinct().count() == 3
    for probe in scale_probes.of_queue()["A queue of so many jobs of a thousand people"].values():
        probe()
    assert waiting.count() == 7, "what was claimed was handed back"
    job = queue.take(worker="w", has_base=lambda name: True)
    assert job is not None and job.ingredients.count() == 2


def test_the_page_names_what_grows() -> None:
    rows = {"flat": {1000: (5.0, 3), 10_000: (6.0, 3)}, "linear": {1000: (5.0, 3), 10_000: (50.0, 4)}, "tiny": {1000: (0.1, 1), 10_000: (1.0, 1)}}
    lines = scale._table(rows).splitlines()
    assert lines[2:] == ["| flat | 5.0 | 6.0 | 3 | 1.2 |", "| linear | 5.0 | 50.0 | 4 | **10.0** |", "| tiny | 0.1 | 1.0 | 1 | 1.0 |"]


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    state = scale.State.at(tmp_path / "scale.json")
    state.adapters, state.tables, state.notes = 1000, {"Finding": {"list": {1000: (1.5, 3)}}}, ["Made."]
    state.keep()
    assert scale.State.at(tmp_path / "scale.json") == state
