"""What a worker needs of a job's modules: their ids, and the bytes of configuration and weights."""

from dataclasses import dataclass

from hub.errors import HubError
from hub.models import Blob, Composition, Ingredient, RevisionFile
from hub.services import adapters


@dataclass(frozen=True)
class Input:
    """A module of a job with its bytes."""

    position: int
    id: str
    sha: str
    licence: str
    config: Blob
    weights: Blob


def of(job: Composition) -> list[Input]:
    """List the modules in their order. One that was deleted or taken down meanwhile fails a job that named it, and is left out where Medley found it."""
    rows = list(job.ingredients.select_related("revision__adapter"))
    blobs: dict[int, dict[str, Blob]] = {}
    files = RevisionFile.objects.filter(revision__in=[row.revision_id for row in rows if row.revision_id], path__in=(adapters.CONFIG, adapters.WEIGHTS))
    for file in files.select_related("blob"):
        blobs.setdefault(file.revision_id, {})[file.path] = file.blob
    left = [row for row in rows if (row.revision is not None and not row.revision.adapter.taken_down) or not job.auto]
    return [_input(row, blobs.get(row.revision_id or 0, {})) for row in left]


def _input(row: Ingredient, blobs: dict[str, Blob]) -> Input:
    if row.revision is None:
        raise HubError("module-deleted", f"{row.repo_id} was deleted after this job was submitted. Submit it again without that adapter.")
    if row.revision.adapter.taken_down:
        raise HubError("module-taken-down", f"{row.repo_id} was taken down after this job was submitted. Submit it again without that adapter.")
    return Input(row.position, row.repo_id, row.sha, row.revision.adapter.licence, blobs[adapters.CONFIG], blobs[adapters.WEIGHTS])
