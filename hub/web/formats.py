"""Numbers, times and names as the pages write them."""

import math
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hub import labels
from hub.services import texts

MINUS = "\u2212"
LONG_AGO = timedelta(days=90)
size = texts.size


@cache
def icon(name: str) -> SafeString:
    """Draw one of the symbols of `_icons.html`."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="#i-{}"/></svg>', name)


def count(number: int | None) -> str:
    """Write a count: 4,812."""
    return f"{number or 0:,}"


def score(number: float | None) -> str:
    """Write a score or loss: 0.57."""
    return "" if number is None else f"{number:.2f}"


def figures(number: float | None) -> str:
    """Write a measured size with three figures: 0.0123, 4.56, 1,230."""
    if not number:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:,.{digits}f}" if digits < 7 else f"{number:.2e}"


def signed_figures(number: float) -> str:
    """Write a number of any sign with three figures: −0.0123."""
    return f"{MINUS if number < 0 else ''}{figures(abs(number))}"


def signed(number: float | None) -> str:
    """Write a weight: +0.34, \u22120.12."""
    if number is None:
        return ""
    text = f"{abs(number):.2f}"
    return text if text == "0.00" else f"{MINUS if number < 0 else '+'}{text}"


def trim(number: float | None) -> str:
    """Write a number without needless zeros: 16, 0.05, 10,000,000,000."""
    if number is None:
        return ""
    return f"{number:,.0f}" if float(number).is_integer() and abs(number) < 1e15 else f"{number:g}"


def seconds(number: float | timedelta | None) -> str:
    """Write a duration: 41 s, 3 min 52 s, 2 h 5 min."""
    if number is None:
        return ""
    total = round(number.total_seconds() if isinstance(number, timedelta) else number)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total % 60 else f"{total // 60} min"
    return f"{total // 3600} h {total % 3600 // 60} min"


def roughly(low: float, high: float) -> str:
    """Write a range of seconds as people say it: under a minute, 1 to 3 minutes, about 2 hours."""
    if high < 50:
        return "under a minute"
    unit, size = ("hour", 3600) if low >= 5400 else ("minute", 60)
    first, last = max(1, round(low / size)), max(1, math.ceil(high / size - 0.25))
    return f"about {last} {unit}{'' if last == 1 else 's'}" if first >= last else f"{first} to {last} {unit}s"


def when(at: datetime | None) -> SafeString:
    """Write a time: relative under three months, else the date; the full time is in the tooltip."""
    if at is None:
        return SafeString("")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M UTC"), ago(at))


def ago(at: datetime) -> str:
    """Say how long ago that was; after three months, the date."""
    past = timezone.now() - at
    if past >= LONG_AGO:
        return f"{at.day} {at:%b %Y}"
    if past < timedelta(minutes=1):
        return "just now"
    if past < timedelta(hours=1):
        return _some(int(past / timedelta(minutes=1)), "minute")
    if past < timedelta(days=1):
        return _some(int(past / timedelta(hours=1)), "hour")
    if past.days == 1:
        return "yesterday"
    return _some(past.days, "day") if past.days < 14 else _some(past.days // 7, "week")


def _some(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'} ago"


def clock(at: datetime | None) -> str:
    """Write the time of a log line: 14:06:31."""
    return f"{at:%H:%M:%S}" if at else ""


def tail(name: str) -> str:
    """Return what follows the last slash: the part of a model's name that tells it apart."""
    return str(name).rpartition("/")[2]


def head(name: str) -> str:
    """Return what comes before the last slash."""
    return str(name).rpartition("/")[0]


def initials(name: str) -> str:
    """Return two letters that stand for a user name."""
    parts = str(name).split("-")
    return (parts[0][:1] + parts[1][:1] if len(parts) > 1 else str(name)[:2]).lower()


def cut(text: str, length: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def short_targets(facts: dict[str, Any]) -> str:
    """Name the matrices an adapter changes, without the common ending: q k v o."""
    return labels.targets(map(str, facts.get("target_modules") or []))
