"""Takes in the files of a commit: stores what came, looks up what came ahead of it, and holds kinds and sizes against who sends them."""

from collections.abc import Iterable, Sequence

from hub import adapter_format, model_format, storage
from hub.errors import HubError
from hub.models import User
from hub.services import access, direct, quotas, uploads
from hub.services.trees import Incoming, Known, Tree


def store_all(incoming: Sequence[Incoming | Known], user: User | None, *, account: User | None, may_be_empty: bool) -> dict[str, storage.Stored]:
    """Return what each file is in the store, or refuse them all. Names are judged before a byte is stored; what does not fit into the account is not kept."""
    if not incoming and not may_be_empty:
        raise HubError("commit-empty", "A commit needs at least one file.", fields={"files": "Choose at least one file."})
    adapter_format.check_paths([f.path for f in incoming])
    for file in incoming:
        check_kind(file.path, 0, user)
    room = quotas.Room(account)
    return {f.path: store(f, user, room) if isinstance(f, Incoming) else _look_up(f, user, room) for f in incoming}


def check_kind(path: str, size: int, user: User | None) -> None:
    """Refuse a file by its name and size."""
    adapter_format.check_kind(path, size, max_weights_bytes=access.largest_adapter(), max_model_bytes=access.largest_model(user))


def refuse_models(user: User, paths: Iterable[str], changed: Iterable[str]) -> None:
    """Refuse a change that makes or changes a whole model, unless its sender may host base models. `paths` are those after the change."""
    if access.may_host(user):
        return
    files = model_format.parts(paths)
    if files & set(changed):
        weights = min(path for path in files if model_format.is_weights(path))
        raise HubError(
            "base-model-refused",
            f"{model_format.CONFIG} and {weights} make a whole model, and on this hub only its operators host base models. "
            "Upload the adapter alone: model.save_pretrained(folder) of a PEFT model writes it.",
            status=403,
        )


def differing(before: Tree, after: Tree) -> set[str]:
    """Return the paths that a change adds or gives other bytes."""
    return {path for path, stored in after.items() if before.get(path) != stored}


def store(file: Incoming, user: User | None, room: quotas.Room | None = None) -> storage.Stored:
    """Store one file that was judged by its name, and judge its size and text."""
    return _checked(file.path, storage.put(file.stream, limit=access.largest_file(user), check=room.take if room else None), user)


def _look_up(file: Known, user: User | None, room: quotas.Room) -> storage.Stored:
    blob = (uploads.owned(user=user, sha256=file.sha256) or direct.finish(user=user, sha256=file.sha256)) if user else None
    if blob is None or file.size not in (None, blob.size):
        raise HubError("object-missing", f"You have not sent the bytes of {file.path} ({file.sha256[:12]}), or too long ago. Send them again, then commit.")
    stored = storage.Stored(blob.sha256, blob.size)
    room.take(stored)
    return _checked(file.path, stored, user)


def _checked(path: str, stored: storage.Stored, user: User | None) -> storage.Stored:
    check_kind(path, stored.size, user)
    if adapter_format.is_read(path):
        with storage.open_blob(stored.sha256) as stream:
            adapter_format.check_text(path, stream)
    return stored
