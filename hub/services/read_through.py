"""Takes in base models of another hub when somebody asks for them here: off by default, listed ones only, by their id only, never for anyone's own names.

What is taken in is a hosted base model at the commit that the other hub was at. Small files come at once; large ones when they are asked for (`fetching`).
"""

import fnmatch
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from filelock import FileLock, Timeout

from hub import adapter_format, card, model_format, storage
from hub.errors import HubError
from hub.models import Adapter, Blob, FormerName, Pending, Upstream, User
from hub.models.accounts import NAMESPACE
from hub.models.adapters import is_adapter_name
from hub.services import accounts, adapters, hosting, intake, trees, upstream
from hub.services.trees import Incoming, Inspected

SMALL = 10_000_000  # bytes of a file that comes at once
LATER = 1_000_000  # of a file by sha256 from which on it comes later; weights always do
SMALL_TOTAL = 100_000_000
MISSING_SECONDS, FAULT_SECONDS, WAIT_SECONDS = 60, 10, 30


def take_in(repo_id: str) -> bool:
    """Make a model of the other hub a hosted base model here; say whether it now is there to be found."""
    if not _is_wanted(repo_id):
        return False
    with _only_one(repo_id):
        if not _is_wanted(repo_id):
            return True
        return _remembering(repo_id, "main", None)


def take_in_revision(adapter: Adapter, sha: str) -> bool:
    """Make one more commit of a model that was read through a revision here, beside its head."""
    if not settings.READ_THROUGH or not upstream.SHA.fullmatch(sha) or not (origin := Upstream.objects.filter(adapter=adapter).first()):
        return False
    if not _is_listed(origin.repo_id):
        return False
    with _only_one(origin.repo_id):
        return adapter.revisions.filter(sha=sha).exists() or _remembering(origin.repo_id, sha, adapter)


def _is_wanted(repo_id: str) -> bool:
    """Say whether the other hub may be asked: it is on, the model is listed, and nothing of that name, seen or hidden, is or was anybody's here."""
    owner, _, name = repo_id.partition("/")
    if not settings.READ_THROUGH or not NAMESPACE.fullmatch(owner) or not is_adapter_name(name) or not _is_listed(repo_id):
        return False
    holders = accounts.named(owner)
    if holders.filter(is_namespace=False).exists() or accounts.formerly(owner).exists():
        return False
    here = {"owner__in": holders, "name__iexact": name}
    return not Adapter.with_deleted.filter(**here).exists() and not FormerName.objects.filter(**here).exists()


def _is_listed(repo_id: str) -> bool:
    return any(fnmatch.fnmatchcase(repo_id.lower(), pattern.lower()) for pattern in settings.READ_THROUGH_MODELS)


class _only_one:
    """Lets one process at a time ask for a model; the others wait for what it finds."""

    def __init__(self, repo_id: str) -> None:
        folder = Path(settings.WORK_DIR) / "read-through"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f"{_key(repo_id)}.lock", timeout=WAIT_SECONDS)

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise upstream.unavailable("it takes long to answer", status=504) from error

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _remembering(repo_id: str, revision: str, adapter: Adapter | None) -> bool:
    """Ask the other hub, unless it said a moment ago that there is nothing, or failed."""
    key = f"read-through:{_key(repo_id)}:{revision}"
    if (known := cache.get(key)) is not None:
        if known:
            raise HubError(known[0], known[1], status=known[2])
        return False
    try:
        found = upstream.listing(repo_id, revision)
        files = _usable(found) if found else []
        if found is None or not model_format.parts(file.path for file in files):
            cache.set(key, (), MISSING_SECONDS)
            return False
        _store(found, files, adapter)
    except HubError as error:
        fault = error if error.code.startswith("upstream-") else upstream.unavailable(f"what it has is refused here: {error.message.rstrip('.')}")
        cache.set(key, (fault.code, fault.message, fault.status), FAULT_SECONDS)
        raise fault from error
    return True


def _usable(found: upstream.Listing) -> list[upstream.File]:
    """Return the files that base models have here: no pickles, scripts or other formats. An adapter has none: adapters are not read through."""
    if any(file.path == adapter_format.CONFIG for file in found.files):
        return []
    return [file for file in found.files if _is_usable(file)]


def _is_usable(file: upstream.File) -> bool:
    try:
        adapter_format.check_path(file.path)
        adapter_format.check_kind(file.path, file.size, max_weights_bytes=settings.MAX_MODEL_BYTES, max_model_bytes=settings.MAX_MODEL_BYTES)
    except HubError as error:
        if error.code not in ("file-type-refused", "path-invalid"):
            raise
        return False
    return True


def _store(found: upstream.Listing, files: Sequence[upstream.File], adapter: Adapter | None) -> None:
    adapter_format.check_paths(file.path for file in files)
    later = {file.path: file for file in files if file.sha256 and (file.path.endswith(".safetensors") or file.size > LATER)}
    at_once = [file for file in files if file.path not in later]
    if sum(file.size for file in at_once) > SMALL_TOTAL or any(file.size > SMALL for file in at_once):
        raise upstream.unavailable("its small files are too large")
    owner = adapter.owner if adapter else hosting.namespace(found.repo_id.partition("/")[0])
    tree = {file.path: _fetch(found, file, owner) for file in at_once}
    tree |= {path: storage.Stored(file.sha256, file.size) for path, file in later.items()}
    inspected = _inspected(tree, later)
    with transaction.atomic():
        row = adapter or adapters.create_for(owner, name=found.repo_id.partition("/")[2], kind=Adapter.Kind.BASE_MODEL)
        if adapter is None:
            Upstream.objects.create(adapter=row, repo_id=found.repo_id)
        message = f"Read through from {settings.READ_THROUGH}/{found.repo_id}"
        revision = adapters.write(owner, row, None, tree, message, inspected, sha=found.sha)
        _await_bytes(found, list(later.values()))
        if adapter is None:
            adapters.advance(row, None, revision, inspected, tree)


def _await_bytes(found: upstream.Listing, files: Sequence[upstream.File]) -> None:
    known = set(Blob.objects.filter(pending__isnull=False).values_list("pk", flat=True))
    for file in {file.sha256: file for file in files if file.sha256 not in known}.values():
        if not storage.is_here(file.sha256):
            Pending.objects.create(blob_id=file.sha256, repo_id=found.repo_id, sha=found.sha, path=file.path)


def _fetch(found: upstream.Listing, file: upstream.File, owner: User) -> storage.Stored:
    """Fetch one small file, hold it against the hash that the other hub lists, and store it."""
    return intake.store(Incoming(file.path, io.BytesIO(upstream.small(found, file))), owner)


def _inspected(tree: trees.Tree, later: dict[str, upstream.File]) -> Inspected:
    """Describe the model by what is here: its configuration and card. Its weights are inspected when they come."""
    config = model_format.read_config(storage.read_text(tree[model_format.CONFIG].sha256).encode()) if model_format.CONFIG in tree else {}
    weights = sum(file.size for path, file in later.items() if model_format.is_weights(path))
    text = storage.read_text(tree[trees.CARD].sha256) if trees.CARD in tree else ""
    return Inspected(None, model_format.describe(config, parameters={}, weights_bytes=weights), card.parse(text))


def _key(repo_id: str) -> str:
    return hashlib.sha256(repo_id.lower().encode()).hexdigest()[:40]
