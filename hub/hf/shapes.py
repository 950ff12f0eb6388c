"""The JSON objects of the protocol: models, files, folders and commits as clients read them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from math import prod
from pathlib import PurePosixPath
from typing import Any

from hub import labels
from hub.hf import cards, oids
from hub.hf.repo import Snapshot
from hub.models import Revision, RevisionFile

Json = dict[str, Any]
LIBRARY = "peft"

FIELDS: dict[str, Callable[[Snapshot], Any]] = {
    "author": lambda s: s.adapter.owner.username,
    "baseModels": lambda s: _base_models(s),
    "cardData": lambda s: cards.for_clients(s.card_data),
    "config": lambda s: _config(s),
    "createdAt": lambda s: moment(s.adapter.created_at),
    "disabled": lambda s: False,
    "downloads": lambda s: s.adapter.downloads,
    "downloadsAllTime": lambda s: s.adapter.downloads,
    "gated": lambda s: s.adapter.gated or False,
    "lastModified": lambda s: moment(s.revision.created_at if s.revision else s.adapter.created_at),
    "library_name": lambda s: LIBRARY if s.facts else s.card_data.get("library_name") or ("transformers" if s.model else None),
    "likes": lambda s: s.adapter.likes,
    "model-index": lambda s: cards.for_clients(s.card_data).get("model-index"),
    "pipeline_tag": lambda s: _pipeline(s),
    "private": lambda s: s.adapter.private,
    "safetensors": lambda s: _safetensors(s),
    "sha": lambda s: s.sha,
    "siblings": lambda s: [{"rfilename": path} for path in s.rows],
    "tags": lambda s: s.labels,
    "trendingScore": lambda s: getattr(s.adapter, "trend", None),
    "usedStorage": lambda s: sum(row.blob.size for row in s.rows.values()),
}
BRIEF = ("private", "downloads", "likes", "tags", "pipeline_tag", "library_name", "createdAt", "trendingScore")
FULL = (*BRIEF, "author", "sha", "lastModified", "gated", "disabled", "siblings")
INFO = (*FULL, "cardData", "config", "safetensors", "baseModels", "model-index", "usedStorage", "downloadsAllTime")


def model(snapshot: Snapshot, fields: Iterable[str]) -> Json:
    """Return a model with the fields wanted; unknown ones and those without a value are left out."""
    repo_id = snapshot.adapter.repo_id
    found = {name: FIELDS[name](snapshot) for name in fields if name in FIELDS}
    return {"_id": f"{snapshot.adapter.pk:024x}", "id": repo_id, "modelId": repo_id, **{name: value for name, value in found.items() if value is not None}}


def sibling(row: RevisionFile) -> Json:
    """Return a file as model_info lists it with sizes."""
    entry = file(row)
    lfs = entry.get("lfs")
    found = {"rfilename": row.path, "size": row.blob.size, "blobId": entry["oid"]}
    return {**found, "lfs": {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}} if lfs else found


def file(row: RevisionFile, changed: Mapping[str, Revision] | None = None) -> Json:
    """Return a file as trees list it."""
    sha256, size = row.blob_id, row.blob.size
    found: Json = {"type": "file", "oid": oids.of(row.path, sha256, size), "size": size, "path": row.path}
    if oids.is_large(row.path, size):
        found["lfs"] = {"oid": sha256, "size": size, "pointerSize": len(oids.pointer_text(sha256, size))}
    return {**found, "lastCommit": last_commit(changed[row.path])} if changed else found


def folder(path: str, rows: Mapping[str, RevisionFile], changed: Mapping[str, Revision] | None = None) -> Json:
    """Return a folder as trees list it."""
    inside = [row for name, row in rows.items() if name.startswith(f"{path}/")]
    found: Json = {"type": "directory", "oid": oids.tree((row.path, row.blob_id) for row in inside), "size": 0, "path": path}
    return {**found, "lastCommit": last_commit(max((changed[row.path] for row in inside), key=lambda r: r.pk))} if changed else found


def folders(paths: Iterable[str]) -> list[str]:
    """Return every folder that the paths lie in."""
    found = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted(found - {"."})


def last_commit(revision: Revision) -> Json:
    """Return a commit as files name it."""
    return {"id": revision.sha, "title": title(revision), "date": moment(revision.created_at)}


def commit(revision: Revision, formatted: bool) -> Json:
    """Return a commit as the list of commits shows it."""
    text = revision.message.partition("\n")[2].strip()
    name = revision.author.username if revision.author else "deleted account"
    found: Json = {"id": revision.sha, "title": title(revision), "message": text, "authors": [{"user": name}], "date": moment(revision.created_at)}
    return {**found, "formatted": {"title": _escaped(title(revision)), "message": _escaped(text)}} if formatted else found


def title(revision: Revision) -> str:
    """Return the first line of a commit's message."""
    return revision.message.partition("\n")[0]


def moment(at: datetime) -> str:
    """Return a time as clients parse it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _base_models(s: Snapshot) -> Json | None:
    if s.parents:
        return {"relation": "merge", "models": [{"id": name} for name in (s.facts["base_model"], *s.parents)]}
    name = s.facts.get("base_model") or s.card_data.get("base_model")
    return {"relation": "adapter" if s.facts else "finetune", "models": [{"id": name}]} if isinstance(name, str) and name else None


def _config(s: Snapshot) -> Json | None:
    if s.model:
        return {"model_type": s.model.model_type, "architectures": s.model.architectures}
    if not s.facts:
        return None
    return {"peft": {"base_model_name_or_path": s.facts["base_model"], "task_type": s.facts["task_type"], "peft_type": s.facts["peft_type"]}}


def _pipeline(s: Snapshot) -> str | None:
    stated = s.card_data.get("pipeline_tag")
    return labels.pipeline(s.facts.get("task_type", ""), stated if isinstance(stated, str) else "") or (s.model.pipeline if s.model else "") or None


def _safetensors(s: Snapshot) -> Json | None:
    if s.model:
        return {"parameters": s.model.parameters, "total": sum(s.model.parameters.values())} if s.model.parameters else None
    if not s.facts:
        return None
    counts: Counter[str] = Counter()
    for tensor in s.facts["tensors"]:
        counts[tensor["dtype"]] += prod(tensor["shape"])
    return {"parameters": dict(counts), "total": counts.total()}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
