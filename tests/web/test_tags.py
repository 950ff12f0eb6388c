"""Numbers, sizes and times as the pages write them."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from hub.web import formats


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (742, "742 B"),
        (1000, "1.00 kB"),
        (3100, "3.10 kB"),
        (1_840_000, "1.84 MB"),
        (62_500_000, "62.5 MB"),
        (999_600_000, "1.00 GB"),
        (None, "0 B"),
    ],
)
def test_size(count: int | None, said: str) -> None:
    assert formats.size(count) == said


@pytest.mark.parametrize(("number", "said"), [(0.336, "+0.34"), (-0.12, "\u22120.12"), (0.001, "0.00"), (-0.001, "0.00"), (None, "")])
def test_signed(number: float | None, said: str) -> None:
    assert formats.signed(number) == said


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=1, seconds=5), "1 minute ago"),
        (timedelta(hours=2, minutes=5), "2 hours ago"),
        (timedelta(days=1, hours=2), "yesterday"),
        (timedelta(days=9), "9 days ago"),
        (timedelta(days=30), "4 weeks ago"),
        (timedelta(seconds=-5), "just now"),
    ],
)
def test_when(past: timedelta, said: str) -> None:
    html = formats.when(timezone.now() - past)
    assert f">{said}</time>" in html and 'datetime="' in html


def test_long_ago_is_a_date() -> None:
    assert ">7 Mar 2024</time>" in formats.when(datetime(2024, 3, 7, tzinfo=timezone.get_current_timezone())) and formats.when(None) == ""


@pytest.mark.parametrize(
    ("given", "said"), [(41, "41 s"), (232, "3 min 52 s"), (120, "2 min"), (7500, "2 h 5 min"), (None, ""), (timedelta(seconds=61), "1 min 1 s")]
)
def test_seconds(given: float | timedelta | None, said: str) -> None:
    assert formats.seconds(given) == said


def test_small_ones() -> None:
    assert (formats.count(4812), formats.score(0.567), formats.score(None), formats.trim(0.05)) == ("4,812", "0.57", "", "0.05")
    assert [formats.trim(number) for number in (16.0, 10**10, 1e300, -1.5)] == ["16", "10,000,000,000", "1e+300", "-1.5"]
    assert (formats.tail("a/b/c"), formats.head("a/b/c"), formats.tail("c"), formats.initials("field-notes"), formats.initials("owner")) == (
        "c",
        "a/b",
        "c",
        "fn",
        "ow",
    )
    assert formats.short_targets({"target_modules": ["model.q_proj", "v_proj"]}) == "q v" and formats.short_targets({}) == ""
