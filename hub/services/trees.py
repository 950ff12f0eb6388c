"""The files of a revision as a map from path to bytes: what comes in, what a change makes of it, and what it then is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from hub import adapter_format, card, model_format, storage
from hub.errors import HubError
from hub.models import Revision
from hub.services import texts

CARD = "README.md"
MAX_DELETIONS = 1000
Tree = Mapping[str, storage.Stored]


@dataclass(frozen=True)
class Incoming:
    """One file of a commit: a path and a stream to read it from."""

    path: str
    stream: BinaryIO


@dataclass(frozen=True)
class Known:
    """One file of a commit whose bytes are here already: sent ahead by the same person, or part of something that person may read."""

    path: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class Inspected:
    """What a revision is: an adapter, a whole model, or neither; and what its card says."""

    facts: adapter_format.Facts | None
    model: model_format.ModelFacts | None
    card: card.Card


def of(revision: Revision | None) -> dict[str, storage.Stored]:
    """Return the files of a revision; none of none."""
    if revision is None:
        return {}
    return {row.path: storage.Stored(row.blob_id, row.blob.size) for row in revision.files.select_related("blob")}


def changed(tree: Tree, stored: Tree, gone: Iterable[str]) -> dict[str, storage.Stored]:
    """Return a tree without what is `gone` and with what is `stored`. A path with a slash at its end means a folder."""
    left = dict(tree)
    for path in gone:
        hit = [name for name in left if name.startswith(path)] if path.endswith("/") else [path] if path in left else []
        if not hit:
            raise HubError("file-not-found", f"There is no {'folder' if path.endswith('/') else 'file'} {path[:200]!r} to delete.", status=404)
        for name in hit:
            del left[name]
    left.update(stored)
    adapter_format.check_paths(list(left))
    return left


def inspect(tree: Tree, head: Revision | None = None, before: Tree | None = None, *, in_parts: bool = False) -> Inspected:
    """Say what a revision with these files is, or refuse it. Weights that `head`, whose files are `before`, holds too are not read again.

    With `in_parts`, what is no adapter yet may hold the config or the weights of one alone.
    """

    def opener(sha256: str) -> "storage.Opener":
        return lambda: storage.open_blob(sha256)

    if head is not None and _inspected(tree) == _inspected(before or {}):
        facts = adapter_format.Facts(**head.facts) if head.facts else None
        model = model_format.ModelFacts(**head.model) if head.model else None
    else:
        files = [adapter_format.File(path, s.size, opener(s.sha256)) for path, s in tree.items()]
        facts = adapter_format.inspect(files, headers_only=frozenset(model_format.parts(tree)), in_parts=in_parts and not (head and head.facts))
        model = None if facts else model_format.inspect(files)
    text = storage.read_text(tree[CARD].sha256) if CARD in tree else ""
    return Inspected(facts, model, card.parse(text))


def _inspected(tree: Tree) -> dict[str, storage.Stored]:
    return {path: stored for path, stored in tree.items() if path in (adapter_format.CONFIG, model_format.CONFIG) or path.endswith(".safetensors")}


def message(given: str, paths: Sequence[str], gone: Sequence[str]) -> str:
    """Return the message of a commit, made up from what it does where none was given."""
    if text := texts.storable(given).strip():
        return text[:500]
    names, verb = (paths, "Upload") if paths else (gone, "Delete")
    return f"{verb} {names[0]}" if len(names) == 1 else f"{verb} {len(names)} files"
