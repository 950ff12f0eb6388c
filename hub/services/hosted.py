"""Ties hosted base models to the names that adapters carry, and shows a worker their files in a folder, without a second copy."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from hub import model_format, storage
from hub.models import Adapter, BaseModel, Pending, Revision


def announce(adapter: Adapter) -> None:
    """Say that a base model is hosted here, for everyone to see. Once its bytes are all here, every worker that shares the store has it."""
    if adapter.private:
        forget(adapter)
        return
    row, is_new = BaseModel.objects.get_or_create(name=adapter.repo_id)
    BaseModel.objects.filter(repository=adapter).exclude(pk=row.pk).update(repository=None, available_at=None)
    row.repository = adapter
    row.available_at = timezone.now() if is_whole(adapter.head) else row.available_at if is_new else None
    row.save(update_fields=["repository", "available_at"])


def forget(adapter: Adapter) -> None:
    """Say that a base model is hosted no longer; a worker with a folder of its own says so again when it starts."""
    BaseModel.objects.filter(repository=adapter).update(repository=None, available_at=None)


def awaited(blobs: Iterable[str]) -> set[str]:
    """Return those of these blobs whose bytes lie upstream still."""
    rows = Pending.objects.filter(blob__in=list(blobs)).values_list("blob_id", flat=True)
    return {sha256 for sha256 in rows if not storage.is_here(sha256)}


def is_whole(revision: Revision | None) -> bool:
    """Say whether a worker could load this revision: configuration, tokenizer, and all weights, with their bytes here."""
    files = dict(revision.files.values_list("path", "blob_id")) if revision else {}
    if awaited(files.values()):
        return False
    has_weights = any("/" not in path and model_format.is_weights(path) for path in files)
    if model_format.CONFIG not in files or not has_weights or not any(path.startswith("tokenizer") for path in files):
        return False
    index = files.get(model_format.INDEX)
    return index is None or model_format.shards(storage.read_text(index, model_format.MAX_INDEX_BYTES).encode()) <= files.keys()


def revision(name: str) -> Revision | None:
    """Return the revision of a hosted base model that workers compose on; None where it is not hosted, or not whole."""
    row = BaseModel.objects.select_related("repository__head").filter(name=name, repository__private=False).first()
    found = row.repository.head if row and row.repository else None
    return found if is_whole(found) else None


def open_revision(name: str) -> Revision | None:
    """Return that revision where everybody may have its files, so that a machine elsewhere can fetch them."""
    found = revision(name)
    return found if found is not None and not found.adapter.gated and not found.adapter.taken_down else None


def weight(revision: Revision) -> int:
    """Return the bytes of the weights of a hosted base model."""
    rows = revision.files.values_list("path", "blob__size")
    return sum(size for path, size in rows if model_format.is_weights(path))


def shown_in(folder: Path) -> str:
    """Return the revision whose files a folder that `folder` made shows; empty for any other folder."""
    return folder.name.rpartition("-")[2] if folder.parent == _shown() else ""


def folder(name: str) -> Path | None:
    """Return a folder with the files of a hosted base model, as links to the store; None where it is not hosted, or not whole."""
    if (found := revision(name)) is None:
        return None
    target = _shown() / f"{found.adapter_id}-{found.sha}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix="."))
        for path, sha256 in found.files.values_list("path", "blob_id"):
            link = unfinished / path
            link.parent.mkdir(parents=True, exist_ok=True)
            storage.link(sha256, link)
        try:
            os.rename(unfinished, target)  # noqa: PTH104 (Path.rename says the same; an existing folder is an error here)
        except OSError:  # another worker was faster
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _shown() -> Path:
    return Path(settings.WORK_DIR) / "hosted"
