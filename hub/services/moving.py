"""Writes a whole hub into a folder, and reads it back into an empty one: the way between databases and machines.

The folder holds `hub.json` (format, last migration, counts), `rows/<app>.<model>.jsonl` (Django's serialisation, a row a line) and `blobs/<ab>/<cd>/<sha256>`.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core import serializers
from django.core.management.color import no_style
from django.core.serializers.base import DeserializationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from hub import object_store, storage
from hub.errors import HubError
from hub.models import Adapter, Blob, ChunkIndex, DirectUpload, Facet, Holding, Neighbour, Pending, Profile, SearchText, Upload, User, Worker
from hub.services import index, quotas, social, store

FORMAT = 1
APPS = ("auth", "account", "allauth_idp_oidc", "mfa", "hub")  # those that are installed; sessions end, the admin's diary stays behind
LEFT_OUT = (SearchText, Facet, Holding, Upload, DirectUpload, Worker)  # made anew, and uploads that nobody has committed
NAMED = ("auth.Group", "hub.User")  # these name permissions, whose numbers differ between databases
Report = Callable[[str], None]


@dataclass(frozen=True)
class Moved:
    """What was written or read."""

    rows: int
    blobs: int
    bytes: int


class _Encoder(DjangoJSONEncoder):
    """Keeps times to the microsecond, which Django's own cuts to the millisecond."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if isinstance(o, datetime) else super().default(o)


def export_to(folder: Path, report: Report = print) -> Moved:
    """Write the hub into `folder`. Rows are one moment's picture; blobs that are there from an earlier export stay as they are."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "hub.json").is_file():
        raise HubError("folder-not-empty", f"{folder} holds something else. Name an empty folder, or one that an earlier export wrote.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    rows = folder / "rows"
    with tempfile.TemporaryDirectory(dir=folder, prefix="rows-") as temporary:
        counts, blobs = _write_rows(Path(temporary))
        (folder / "hub.json").unlink(missing_ok=True)  # while it is missing, the folder is no export
        shutil.rmtree(rows, ignore_errors=True)
        shutil.copytree(temporary, rows)
    report(f"{sum(counts.values())} rows of {len(counts)} tables")
    size = sum(_copy_out(blob, folder / "blobs") for blob in blobs)
    about = {"format": FORMAT, "migration": _migration(), "at": timezone.now().isoformat(), "rows": counts, "blobs": len(blobs)}
    (folder / "hub.json").write_text(json.dumps(about, indent=2) + "\n")
    return Moved(sum(counts.values()), len(blobs), size)


def import_from(folder: Path, report: Report = print) -> Moved:
    """Read what `export_to` wrote into this hub, which must be migrated and empty. All rows or none come in; every blob is checked by its sha256."""
    about = _about(folder)
    if User.objects.exists() or Adapter.objects.exists():
        raise HubError("hub-not-empty", "This hub has accounts or repositories already. Import into a database that `manage.py migrate` has just made.")
    blobs, size = 0, 0
    for path in sorted((folder / "blobs").glob("??/??/*")):
        with path.open("rb") as stream:
            size += storage.put(stream, expect=storage.Stored(path.name, path.stat().st_size)).size
        blobs += 1
    report(f"{blobs} blobs")
    try:
        with transaction.atomic():
            rows = sum(_read_rows(folder / "rows" / f"{model._meta.label_lower}.jsonl") for model in tables())
            if rows != sum(about["rows"].values()):
                raise HubError("export-damaged", f"The export speaks of {sum(about['rows'].values())} rows and holds {rows}. Export the hub again.")
            if missing := next((fault for fault in store.check(hashes=False)), None):
                raise HubError("blob-missing", f"The export lacks the blob {missing.sha256} ({', '.join(missing.used_by) or 'unused'}). Export the hub again.")
    except DeserializationError as error:
        raise HubError("export-damaged", f"A row of the export cannot be read: {error}. Export the hub again.") from error
    index.catch_up(everything=True)
    quotas.mend()
    social.refresh_trends()
    return Moved(rows, blobs, size)


def tables() -> list[type[models.Model]]:
    """The models whose rows move."""
    found = [model for name in APPS if apps.is_installed(name) or name in apps.app_configs for model in apps.get_app_config(name).get_models()]
    return [model for model in found if model not in LEFT_OUT and model._meta.label != "auth.Permission"]


def _rows(model: type[models.Model]) -> models.QuerySet[Any]:
    """The rows of a table that move: of blobs those that something uses, and what is known of these."""
    rows = model._base_manager.order_by("pk")
    used = Blob.objects.exclude(pk__in=store.unused().values("pk"))
    if model is Blob:
        return rows.filter(pk__in=used.values("pk"))
    if model in (Profile, Neighbour):
        whole = Profile.objects.filter(weights__in=used, config__in=used)
        return rows.filter(pk__in=whole.values("pk")) if model is Profile else rows.filter(profile__in=whole, other__in=whole)
    return rows.filter(blob__in=used) if model is ChunkIndex else rows


def _write_rows(folder: Path) -> tuple[dict[str, int], list[Blob]]:
    counts = {}
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for model in tables():
            label = model._meta.label
            with (folder / f"{model._meta.label_lower}.jsonl").open("w", encoding="utf-8") as out:
                rows = _rows(model)
                counts[label] = rows.count()
                serializers.serialize("jsonl", rows.iterator(store.BATCH), stream=out, cls=_Encoder, use_natural_foreign_keys=label in NAMED)
        waiting = Pending.objects.values("blob_id")
        return counts, list(_rows(Blob).exclude(pk__in=waiting))


def _copy_out(blob: Blob, folder: Path) -> int:
    """Copy a blob that is not there yet; return its size."""
    target = folder / object_store.spread(blob.sha256)
    if not (target.is_file() and target.stat().st_size == blob.size):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".part")
        with storage.open_blob(blob.sha256) as source, temporary.open("wb") as out:
            shutil.copyfileobj(source, out, storage.CHUNK)
        temporary.replace(target)
    return blob.size


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "hub.json").read_text())
    except (OSError, ValueError) as error:
        raise HubError("export-missing", f"{folder} holds no whole export: hub.json is missing or cannot be read.") from error
    if about.get("format") != FORMAT or about.get("migration") != _migration():
        raise HubError(
            "export-version",
            f"The export was made at migration {about.get('migration')}, and this hub is at {_migration()}. Bring the older one to the other's version first.",
        )
    return dict(about)


def _migration() -> str:
    """The last migration of this hub."""
    return str(MigrationRecorder.Migration.objects.filter(app="hub").order_by("-name").values_list("name", flat=True)[0])


def _read_rows(path: Path) -> int:
    count = 0
    for row in _deserialized(path):
        row.save(force_insert=True)
        count += 1
    if count:
        _reset_sequence(type(row.object))
    return count


def _deserialized(path: Path) -> Iterator[Any]:
    if path.is_file():
        with path.open(encoding="utf-8") as stream:
            yield from serializers.deserialize("jsonl", stream)


def _reset_sequence(model: type[models.Model]) -> None:
    """Let the database count on from the highest number that came in."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)
