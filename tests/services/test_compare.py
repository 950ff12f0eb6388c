"""What differs between two revisions, and that no text can make the answer long or late."""

import json
import random
import time

import pytest
from django.contrib.auth.models import AnonymousUser
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.models import Adapter, Revision, User
from hub.services import adapters, compare
from tests import make
from tests.conftest import commit
from tests.services.stage import measured


def compared(adapter: Adapter, before: Revision, after: Revision, actor: "User | AnonymousUser | None" = None) -> dict[str, compare.Change]:
    found = compare.revisions(actor=actor or AnonymousUser(), adapter=adapter, before=before, after=after)
    return {change.path: change for change in found.changes}


def rows(change: compare.Change) -> list[tuple[str, str]]:
    return [(line.kind, line.text) for hunk in change.hunks for line in hunk]


def test_it_works(sums: Adapter) -> None:
    before = sums.head
    config = json.loads(make.adapter()["adapter_config.json"]) | {"lora_alpha": 1}
    after = commit(sums, {"README.md": b"# Sums\n\nAdds large numbers.\n", "adapter_config.json": json.dumps(config).encode(), "notes.txt": b"one\ntwo\n"})
    found = compared(sums, before, after)
    assert list(found) == ["README.md", "adapter_config.json", "notes.txt"]
    assert rows(found["README.md"])[-4:] == [("same", "# Sums"), ("same", ""), ("removed", "Adds small numbers."), ("added", "Adds large numbers.")]
    assert [(line.before, line.after) for line in found["README.md"].hunks[0][-2:]] == [(7, None), (None, 3)]
    assert (found["notes.txt"].kind, found["notes.txt"].added, found["notes.txt"].removed) == ("added", 2, 0)
    assert compared(sums, after, before)["notes.txt"].kind == "deleted" and compared(sums, before, before) == {}


def test_weights_are_compared_by_hash_and_update(sums: Adapter) -> None:
    before = sums.head
    measured(sums, 1, 0)
    after = commit(sums, {"adapter_model.safetensors": make.adapter(seed=5)["adapter_model.safetensors"]})
    assert compare.revisions(actor=sums.owner, adapter=sums, before=before, after=after).similarity is None, "not measured yet"
    measured(sums, 0.6, 0.8)
    found = compare.revisions(actor=sums.owner, adapter=sums, before=Revision.objects.get(pk=before.pk), after=Revision.objects.get(pk=after.pk))
    [change] = found.changes
    assert (change.kind, change.hunks, change.note) == ("changed", [], "") and found.similarity == pytest.approx(0.6, abs=1e-3)


def test_of_a_gated_adapter_strangers_read_the_card_alone(sums: Adapter, stranger: User) -> None:
    before = sums.head
    after = commit(sums, {"README.md": b"# New\n", "notes.txt": b"hushed\n"})
    adapters.update(actor=sums.owner, adapter=sums, gated="manual")
    for actor in (AnonymousUser(), stranger):
        found = compared(sums, before, after, actor)
        assert found["README.md"].hunks and (found["notes.txt"].hunks, found["notes.txt"].note) == ([], compare.GATED)
    assert compared(sums, before, after, sums.owner)["notes.txt"].hunks


def texts() -> list[tuple[str, list[str], list[str]]]:
    """Pairs of texts that a naive comparison takes very long for."""
    chance, n = random.Random(0), compare.MAX_LINES
    words = [f"w{number}" for number in range(n // 20)]
    order = [str(number) for number in range(n)]
    return [
        ("often", chance.choices(words, k=n), chance.choices(words, k=n)),
        ("two", chance.choices("ab", k=n), chance.choices("ab", k=n)),
        ("few", [x for number in range(99) for x in ("x", f"a{number}")], [x for number in range(99) for x in ("x", f"b{number}")]),
        ("turned", order, order[::-1]),
        ("shuffled", order, chance.sample(order, n)),
    ]


@pytest.mark.parametrize(("before", "after"), [pytest.param(a, b, id=name) for name, a, b in texts()])
def test_no_text_takes_long(before: list[str], after: list[str]) -> None:
    start = time.process_time()
    assert compare.lines("\n".join(before), "\n".join(after))
    assert time.process_time() - start < 20


def test_what_is_too_much_is_said(sums: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sums.head
    many = {f"part{number}.txt": b"".join(b"%d\n" % n for n in range(1900)) for number in range(3)}
    after = commit(sums, {**many, "long.txt": b"x\n" * 3000, "huge.txt": b"x" * (compare.MAX_BYTES + 1), "wide.txt": b"y" * 100_000})
    found = compared(sums, before, after)
    assert found["long.txt"].note == found["huge.txt"].note == compare.TOO_LARGE
    assert found["part0.txt"].added == 1900 and found["part1.txt"].note == found["part2.txt"].note == compare.TOO_MUCH
    monkeypatch.setattr(compare, "SECONDS", -1)
    assert {change.note for change in compared(sums, before, after).values()} == {compare.TOO_MUCH}
    monkeypatch.setattr(compare, "MAX_FILES", 2)
    assert compare.revisions(actor=sums.owner, adapter=sums, before=before, after=after).left_out == 4


def test_what_cannot_be_seen_is_shown() -> None:
    [[removed, added]] = compare.lines("a", "a\u202eb\r" + "x" * 1000) or []
    assert removed.text == "a" and added.text.startswith("a\\u202eb\u240dx") and added.text.endswith("… (604 more characters)")


PLAIN = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(before=PLAIN, after=PLAIN)
def test_the_lines_lead_from_one_text_to_the_other(before: list[str], after: list[str]) -> None:
    hunks = compare.lines("".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after))
    assert hunks is not None
    told = [line for hunk in hunks for line in hunk]
    assert all(line.text == before[line.before - 1] for line in told if line.before) and all(line.text == after[line.after - 1] for line in told if line.after)
    gone, new = {line.before for line in told if line.kind == "removed"}, {line.after for line in told if line.kind == "added"}
    assert [x for n, x in enumerate(before, 1) if n not in gone] == [x for n, x in enumerate(after, 1) if n not in new]
