"""The verbs the worker has over imports: claim, run, fail, ring. Files come from the one configured hub, and go through what every upload goes through."""

import io
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import PurePosixPath

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from hub import adapter_format, celery, file_rules, storage
from hub.errors import HubError
from hub.models import Import, User
from hub.services import adapters, audit, clock, imports, intake, quotas, trees, uploads, upstream
from hub.services.trees import Incoming
from hub.services.upstream import File, Listing, Source

Status = Import.Status
SMALL = 10_000_000  # bytes of a file that the other hub keeps in git itself
MAX_BESIDE = 200_000_000  # bytes of everything but the weights
BEAT_SECONDS = 1.0  # between two notes of how far it is
STALE = 4  # times JOB_STALE_SECONDS: a large file is read once more at the end, in silence
ATTEMPTS = 3
PASSED_OVER = ("checkpoint-", "runs", ".git")  # folders that trainings leave behind


class LostClaim(Exception):
    """It was cancelled, or went to another worker."""


def source() -> Source:
    """Return where adapters are imported from; no token is ever sent there."""
    return Source(settings.IMPORTS, "", "Adapters are imported from")


def claim(*, import_id: int) -> Import | None:
    """Take an import that waits, or one whose worker fell silent; None when there is nothing to take."""
    now, token = clock.now(), uuid.uuid4().hex
    taken = _takeable().filter(pk=import_id).update(status=Status.RUNNING, claim=token, heartbeat_at=now, attempts=F("attempts") + 1, done=0)
    if not taken:
        return None
    row = Import.objects.select_related("owner").get(pk=import_id)
    if row.attempts > ATTEMPTS:
        fail(row=row, code="worker-lost", message="The workers that took this import died on the way. Tell the hub's operator, or try again.")
        return None
    return row if row.claim == token else None


def ring() -> int:
    """Ring for imports that wait or were left behind; say for how many."""
    now = clock.now()
    quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=now - timedelta(seconds=settings.JOB_STALE_SECONDS))
    ids = list(_takeable().filter(quiet).order_by("pk").values_list("pk", flat=True)[:20])
    Import.objects.filter(pk__in=ids).update(rung_at=now)
    for import_id in ids:
        celery.ring_import(import_id)
    return len(ids)


def run(*, row: Import) -> None:
    """Bring the adapter over and publish it. Raises HubError for what its owner should know, LostClaim where it is no longer wanted."""
    origin = source()
    found = _open(row, upstream.look(origin, row.repo_id, row.revision))
    files, left_out = _chosen(row.repo_id, found)
    quotas.check_announced(row.owner, [file.size for file in files])
    _update(row, sha=found.sha, total=sum(file.size for file in files), left_out=left_out[:20], heartbeat_at=clock.now())
    stored = {file.path: _fetch(row, origin, found, file) for file in files}
    stored[trees.CARD] = _card(row.owner, origin, found, stored)
    intake.refuse_models(row.owner, stored, stored)
    ready = adapters.Prepared(stored, trees.inspect(stored))
    with transaction.atomic():
        _update(row, status=Status.SUCCEEDED, finished_at=timezone.now(), done=row.total)
        message = f"Import {found.repo_id} from {upstream.host(origin.url)} at {found.sha[:12]}"
        revision = adapters.publish(actor=row.owner, name=row.name, private=row.private, files=ready, message=message)
        Import.objects.filter(pk=row.pk).update(adapter=revision.adapter)
        audit.record(row.owner, "import.succeed", row, repo_id=found.repo_id, sha=found.sha, adapter=revision.adapter.repo_id)


def fail(*, row: Import, code: str, message: str) -> None:
    """End the import with an error; one that is no longer this worker's stays as it is."""
    ended = {"status": Status.FAILED, "finished_at": timezone.now(), "error_code": code[:60], "error_message": message}
    with transaction.atomic():
        if Import.objects.filter(pk=row.pk, claim=row.claim, status=Status.RUNNING).update(**ended):
            audit.record(row.owner, "import.fail", row, code=code)


def _takeable() -> QuerySet[Import]:
    stale = clock.now() - timedelta(seconds=STALE * settings.JOB_STALE_SECONDS)
    return Import.objects.filter(Q(status=Status.QUEUED) | Q(status=Status.RUNNING, heartbeat_at__lt=stale))


def _update(row: Import, **columns: object) -> None:
    if not Import.objects.filter(pk=row.pk, claim=row.claim, status=Status.RUNNING).update(**columns):
        raise LostClaim(f"import {row.pk} is no longer this worker's")
    for name, value in columns.items():
        setattr(row, name, value)


def _open(row: Import, found: Listing | None) -> Listing:
    """Return what everyone may have there, or say in a sentence why this is not it."""
    name, there = row.repo_id, upstream.host(settings.IMPORTS)
    if found is None:
        at = "" if row.revision == imports.MAIN else f" at {row.revision}"
        raise HubError("import-not-found", f"{there} shows nobody {name}{at}: it does not exist, or is private. Check the id, letter by letter.")
    if found.is_closed:
        raise HubError(
            "import-gated", f"{name} is gated: {there} gives its files only to people it let in. Download it with your own account, then upload the folder."
        )
    return found


def _chosen(name: str, found: Listing) -> tuple[list[File], list[str]]:
    """Return the files to fetch and the paths left out, or say why there is nothing to import."""
    files = [file for file in found.files if _is_wanted(file)]
    paths = {file.path for file in files}
    if adapters.CONFIG not in paths:
        raise HubError("import-not-an-adapter", f"{name} is not a PEFT adapter: it has no {adapters.CONFIG}. Only adapters can be imported.")
    if adapters.WEIGHTS not in paths:
        pickled = any(PurePosixPath(file.path).suffix in file_rules.PICKLES for file in found.files)
        why = "as a pickle file, which can run code when it is opened and is not taken. Ask its author for safetensors" if pickled else "under another name"
        raise HubError("import-no-weights", f"{name} has no {adapters.WEIGHTS}: its weights are there {why}.")
    _check_sizes(name, files)
    adapter_format.check_paths(file.path for file in files)
    return files, sorted(file.path for file in found.files if file.path not in paths)


def _is_wanted(file: File) -> bool:
    """Whether an adapter may have the file: nothing that code hides in, no other weights, nothing that trainings leave behind."""
    path = PurePosixPath(file.path)
    if file.path.startswith(PASSED_OVER) or (path.suffix.lower() == file_rules.WEIGHTS and file.path != adapters.WEIGHTS):
        return False
    try:
        adapter_format.check_path(file.path)
        adapter_format.check_kind(file.path, 0)
    except HubError:
        return False
    return True


def _check_sizes(name: str, files: Sequence[File]) -> None:
    for file in files:
        try:
            adapter_format.check_kind(file.path, file.size, max_weights_bytes=settings.MAX_WEIGHTS_BYTES)
        except HubError as error:
            raise HubError("import-too-large", f"{name} cannot be imported. {error.message}", status=error.status) from error
    beside = [file.size for file in files if file.path != adapters.WEIGHTS]
    if sum(beside) > MAX_BESIDE or any(file.size > SMALL for file in files if not file.sha256):
        raise HubError("import-too-large", f"{name} cannot be imported: the files beside its weights are too large.", status=413)


def _fetch(row: Import, origin: Source, found: Listing, file: File) -> storage.Stored:
    """Bring one file over, unless its owner has sent or may read these bytes here anyway."""
    if file.sha256 and (known := uploads.owned(user=row.owner, sha256=file.sha256)) and known.size == file.size:
        _update(row, done=row.done + file.size, heartbeat_at=clock.now())
        return storage.Stored(known.sha256, known.size)
    if not file.sha256:
        stored = intake.store(Incoming(file.path, io.BytesIO(upstream.small(found, file, origin))), row.owner)
        _update(row, done=row.done + file.size, heartbeat_at=clock.now())
    else:
        with upstream.content(found.repo_id, found.sha, file.path, file.size, origin) as pieces:
            stored = intake.store(Incoming(file.path, _Counted(row, pieces)), row.owner)  # type: ignore[arg-type]
        if stored != storage.Stored(file.sha256, file.size):
            raise upstream.unavailable(f"the bytes of {file.path} are not those that it announced", source=origin)
    uploads.remember(user=row.owner, stored=stored)
    return stored


def _card(owner: User, origin: Source, found: Listing, stored: dict[str, storage.Stored]) -> storage.Stored:
    """Return the card with a line that says where the adapter came from; its front matter, the licence in it too, stays as it is."""
    text = storage.read_text(stored[trees.CARD].sha256).rstrip() if trees.CARD in stored else f"# {found.repo_id.partition('/')[2]}"
    said = f"Imported from [{found.repo_id}]({origin.url}/{found.repo_id}) at commit `{found.sha}`."
    kept = intake.store(Incoming(trees.CARD, io.BytesIO(f"{text}\n\n---\n\n{said}\n".encode())), owner)
    uploads.remember(user=owner, stored=kept)
    return kept


class _Counted(io.RawIOBase):
    """The bytes of a file as they come, noted in the row; stops where the import is no longer wanted."""

    def __init__(self, row: Import, pieces: Iterator[bytes]) -> None:
        self._row, self._pieces, self._rest, self._noted = row, pieces, b"", time.monotonic()

    def read(self, size: int = -1) -> bytes:
        """Return some of the next bytes; none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        out, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        self._row.done += len(out)
        if not out or time.monotonic() - self._noted > BEAT_SECONDS:
            self._noted = time.monotonic()
            _update(self._row, done=self._row.done, heartbeat_at=clock.now())
        return out
