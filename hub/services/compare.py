"""Says what differs between two revisions of an adapter: text files line by line, everything else by size and hash, weights by how alike the updates are.

The texts are strangers': files are read and compared up to a size, the page as a whole up to a time and a number of lines, and what is beyond is said in words.
"""

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hub import storage
from hub.file_rules import is_text
from hub.models import Adapter, Pending, Revision, RevisionFile
from hub.services import access, profiles

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_BYTES = 200_000  # of a file
MAX_LINES = 2000  # of a file, where it differs
MAX_SHOWN = 3000  # lines of a page
MAX_FILES = 100  # listed
SECONDS = 1.0  # spent on a page
WIDTH = 400  # characters of a line
CONTEXT = 3  # lines around a change
GATED = "The files of this adapter are gated: ask for access to see what changed."
TOO_LARGE = f"Too large to compare line by line: more than {MAX_BYTES // 1000} kB or {MAX_LINES:,} lines differ."
TOO_MUCH = "There is more than this page can show. Download both revisions to compare this file."
AWAY = "This file is not on this hub yet."


@dataclass(frozen=True)
class Line:
    """One line of a comparison; `before` and `after` are its numbers, None where it is not."""

    kind: str  # "same", "added", "removed"
    text: str
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class Change:
    """One file that differs. A file that is added has no `before`, a deleted one no `after`."""

    path: str
    before: RevisionFile | None
    after: RevisionFile | None
    hunks: list[list[Line]] = field(default_factory=list)
    note: str = ""  # why there are no lines

    @property
    def kind(self) -> str:
        """What happened to the file."""
        return "added" if self.before is None else "deleted" if self.after is None else "changed"

    @property
    def added(self) -> int:
        """Lines that came."""
        return sum(line.kind == "added" for hunk in self.hunks for line in hunk)

    @property
    def removed(self) -> int:
        """Lines that went."""
        return sum(line.kind == "removed" for hunk in self.hunks for line in hunk)


@dataclass(frozen=True)
class Comparison:
    """What differs between two revisions."""

    changes: list[Change]
    left_out: int  # files beyond those listed
    similarity: float | None  # cosine of the updates, where both are measured and the weights or their scales differ


@dataclass
class _Budget:
    """What is left for a page."""

    until: float
    lines: int = MAX_SHOWN

    def is_spent(self) -> bool:
        return self.lines <= 0 or time.monotonic() > self.until


def revisions(*, actor: "Actor", adapter: Adapter, before: Revision, after: Revision) -> Comparison:
    """Compare two revisions of an adapter that the actor sees; of a gated one whoever was not let in reads the card alone."""
    old, new = ({row.path: row for row in revision.files.select_related("blob")} for revision in (before, after))
    paths = [path for path in sorted({*old, *new}) if path not in old or path not in new or old[path].blob_id != new[path].blob_id]
    rows = [row for path in paths for row in (old.get(path), new.get(path)) if row is not None]
    away = set(Pending.objects.filter(blob__in={row.blob_id for row in rows}).values_list("blob_id", flat=True))
    may_read, budget = access.may_read_files(actor, adapter), _Budget(time.monotonic() + SECONDS)
    changes = []
    for path in sorted(paths, key=lambda path: (path != access.OPEN_FILE, path))[:MAX_FILES]:
        if path != access.OPEN_FILE and not may_read:
            changes.append(Change(path, old.get(path), new.get(path), note=GATED))
        else:
            changes.append(_change(path, old.get(path), new.get(path), away, budget))
    one, other = profiles.of(before), profiles.of(after)
    similarity = profiles.cosine(one, other) if one and other and one.pk != other.pk else None
    return Comparison(changes, max(0, len(paths) - MAX_FILES), similarity)


def lines(before: str, after: str) -> list[list[Line]] | None:
    """Return what differs between two texts with a few lines around it; None where too many lines differ."""
    old, new = _split(before), _split(after)
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    start, end = max(0, start - CONTEXT), max(0, end - CONTEXT)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(old), len(new)) > MAX_LINES:
        return None
    matcher = difflib.SequenceMatcher(None, old, new)  # lines that are everywhere are no anchors: that keeps hostile texts from taking long
    return [list(_hunk(group, old, new, start)) for group in matcher.get_grouped_opcodes(CONTEXT)]


def _change(path: str, before: RevisionFile | None, after: RevisionFile | None, away: set[str], budget: _Budget) -> Change:
    rows = [row for row in (before, after) if row is not None]
    if not is_text(path):
        return Change(path, before, after)
    if any(row.blob_id in away for row in rows):
        return Change(path, before, after, note=AWAY)
    if budget.is_spent():
        return Change(path, before, after, note=TOO_MUCH)
    if any(row.blob.size > MAX_BYTES for row in rows):
        return Change(path, before, after, note=TOO_LARGE)
    hunks = lines(*(storage.read_text(row.blob_id) if row else "" for row in (before, after)))
    if hunks is None:
        return Change(path, before, after, note=TOO_LARGE)
    budget.lines -= sum(map(len, hunks))
    return Change(path, before, after, note=TOO_MUCH) if budget.lines < 0 else Change(path, before, after, hunks)


def _hunk(group: Sequence[tuple[str, int, int, int, int]], old: Sequence[str], new: Sequence[str], start: int) -> Iterator[Line]:
    for kind, old_from, old_to, new_from, new_to in group:
        if kind == "equal":
            for place in range(old_to - old_from):
                yield Line("same", _shown(old[old_from + place]), start + old_from + place + 1, start + new_from + place + 1)
            continue
        for place in range(old_from, old_to):
            yield Line("removed", _shown(old[place]), before=start + place + 1)
        for place in range(new_from, new_to):
            yield Line("added", _shown(new[place]), after=start + place + 1)


def _split(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


_VISIBLE: Mapping[int, str] = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {
    code: f"\\u{code:04x}" for code in (0x200B, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}


def _shown(line: str) -> str:
    """A line of bounded width in which what one does not see, or what turns text around, can be seen."""
    text = line[:WIDTH].translate(_VISIBLE)
    return f"{text} … ({len(line) - WIDTH:,} more characters)" if len(line) > WIDTH else text
