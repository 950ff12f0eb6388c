"""How a revision came to be: the revisions before it, and which of them last changed a path."""

from collections.abc import Iterator, Mapping

from hub.models import Revision, RevisionFile

BATCH = 50


def ancestors(*, revision: Revision, skip: int = 0, limit: int = BATCH) -> tuple[list[Revision], int]:
    """Return revisions from this one backwards, and how many there are in all."""
    ids = list(_line(revision))
    rows = Revision.objects.select_related("author").defer("facts", "recipe", "scores").in_bulk(ids[skip : skip + limit])
    return [rows[pk] for pk in ids[skip : skip + limit]], len(ids)


def last_changes(*, revision: Revision, files: Mapping[str, str]) -> dict[str, Revision]:
    """Return for each path of `files` (path to sha256, as the revision has them) the revision that last changed it."""
    ids = list(_line(revision))
    open_paths, found = dict(files), {}
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        had: dict[int, dict[str, str]] = {pk: {} for pk in batch}
        for pk, path, sha256 in RevisionFile.objects.filter(revision__in=batch, path__in=open_paths).values_list("revision_id", "path", "blob_id"):
            had[pk][path] = sha256
        for place, pk in enumerate(batch, start):
            for path in [path for path, sha256 in open_paths.items() if had[pk].get(path) != sha256]:
                found[path] = ids[place - 1]
                del open_paths[path]
        if not open_paths:
            break
    found.update(dict.fromkeys(open_paths, ids[-1]))
    rows = Revision.objects.defer("facts", "recipe", "scores").in_bulk(set(found.values()))
    return {path: rows[pk] for path, pk in found.items()}


def _line(revision: Revision) -> Iterator[int]:
    """Yield the keys of a revision and of all before it, newest first."""
    before = dict(Revision.objects.filter(adapter=revision.adapter_id, pk__lte=revision.pk).order_by().values_list("pk", "parent_id"))
    pk: int | None = revision.pk
    while pk is not None:
        yield pk
        pk = before.get(pk)
