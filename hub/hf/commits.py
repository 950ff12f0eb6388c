"""Commits: how each file shall come, and the lines that make up one atomic change."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from django.conf import settings as site
from django.http import HttpRequest

from hub import adapter_format, file_rules, storage
from hub.errors import HubError
from hub.hf import body, errors, oids, repo
from hub.hf.door import door
from hub.hf.repo import Snapshot
from hub.models import Adapter, Revision, RevisionFile, User
from hub.services import access, accounts, adapters, intake, quotas, refs
from hub.services.trees import Incoming, Known

MAX_FILES = 1000  # of one question how to send them
MAX_LINES = 2000
MAX_INLINE = 5_000_000  # bytes of one file inside a commit; clients send larger ones ahead
MAX_INLINE_TOTAL = 100_000_000
MAX_LINE = MAX_INLINE * 4 // 3 + 10_000
IN_MEMORY = 1 << 16  # of each inline file, the rest goes to disk
SHA256 = re.compile(r"[0-9a-f]{64}")
LICENCE = re.compile(r"[A-Za-z][A-Za-z0-9.+-]{0,59}")
Json = dict[str, Any]


@dataclass
class Change:
    """What the lines of a commit ask for."""

    message: str = ""
    parent: str = ""
    files: dict[str, Incoming | Known] = field(default_factory=dict)
    deletions: dict[str, None] = field(default_factory=dict)
    inline: int = 0


@door("POST")
def preupload(request: HttpRequest, owner: str, name: str, rev: str) -> Json:
    """Say of each file whether it goes inside the commit or ahead of it, and refuse before a byte is sent what will be refused after."""
    repo.refuse_pull_request(request)
    adapter = repo.mine_or_new(request, owner, name)
    snapshot = Snapshot(adapter, refs.tip(adapter=adapter, branch=refs.branch_name(rev))) if adapter else None
    sent = body.json(request).get("files")
    if not isinstance(sent, list) or len(sent) > MAX_FILES:
        raise HubError("body-invalid", f'The field "files" must be a list of at most {MAX_FILES} files.')
    rows = snapshot.rows if snapshot else {}
    user = access.require_login(request.user)
    announced = [_announced(entry) for entry in sent]
    left_out = _left_out([path for path, _ in announced])
    paths = [path for path, _ in announced if path not in left_out]
    intake.refuse_models(user, [*rows, *paths], paths)
    new = [size for path, size in announced if path not in left_out and (path not in rows or rows[path].size != size)]
    quotas.check_announced(adapter.owner if adapter else accounts.find_owner(owner), new)
    modes = [_ignored(path) if path in left_out else _mode(rows, user, path, size) for path, size in announced]
    return {"files": modes, **({"commitOid": snapshot.sha} if snapshot else {})}


@door("POST")
def commit(request: HttpRequest, owner: str, name: str, rev: str) -> Json:
    """Add a commit to a branch. All of it lands, or nothing."""
    repo.refuse_pull_request(request)
    adapter = repo.mine_or_new(request, owner, name)
    branch = refs.branch_name(rev)
    if adapter is not None:
        refs.tip(adapter=adapter, branch=branch)  # before the body is read
    with ExitStack() as stack:
        change = _read(request, stack)
        if not change.files and not change.deletions:
            raise HubError("commit-empty", "This commit changes nothing: it has no files and deletes none.")
        revision = _land(request, adapter, owner, name, branch, change)
    address = request.build_absolute_uri(f"/{revision.adapter.repo_id}/commit/{revision.sha}")
    return {"success": True, "commitOid": revision.sha, "commitUrl": address, "hookOutput": ""}


def _land(request: HttpRequest, adapter: Adapter | None, owner: str, name: str, branch: str, change: Change) -> Revision:
    """Add the commit to the adapter, or begin a new one with it."""
    if adapter is not None:
        return adapters.commit(
            actor=request.user,
            adapter=adapter,
            files=change.files.values(),
            deletions=change.deletions,
            message=change.message,
            parent=change.parent,
            branch=branch,
            in_parts=True,
        )
    if branch != refs.MAIN or change.deletions or change.parent:
        raise HubError("body-invalid", "A new adapter begins on main, with files alone: there is nothing to delete and no parent.")
    return adapters.publish(
        actor=request.user,
        owner=accounts.find_owner(owner),
        name=name,
        private=request.GET.get("private", "") not in repo.OFF,
        tags=request.GET.getlist("tag"),
        files=change.files.values(),
        message=change.message,
        in_parts=True,
    )


def _announced(entry: Any) -> tuple[str, int]:
    size = entry.get("size") if isinstance(entry, dict) else None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise HubError("body-invalid", "Each file needs a path and a size.")
    return body.text(entry, "path"), size


def _left_out(paths: list[str]) -> set[str]:
    """Return the paths that a client shall leave out, so that a trainer can push its folder: what it wrote for itself beside what it made.

    Where there is nothing else, somebody asked for just that, and is refused with a sentence.
    """
    found = {path for path in paths if file_rules.is_byproduct(path)}
    return found if len(found) < len(set(paths)) else set()


def _ignored(path: str) -> Json:
    return {"path": adapter_format.check_path(path), "uploadMode": "regular", "shouldIgnore": True}


def _mode(rows: Mapping[str, RevisionFile], user: User, path: str, size: int) -> Json:
    adapter_format.check_path(path)
    intake.check_kind(path, size, user)
    large = oids.is_large(path, size)
    mode: Json = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    if (row := rows.get(path)) is not None and oids.is_large(path, row.blob.size) == large:
        # Clients leave out a file whose id is the one they would send.
        mode["oid"] = row.blob_id if large else oids.of(path, row.blob_id, row.blob.size)
    return mode


def _read(request: HttpRequest, stack: ExitStack) -> Change:
    change = Change()
    for number, (key, value) in enumerate(_lines(request), 1):
        if number > MAX_LINES:
            raise HubError("too-many-files", f"A commit has at most {MAX_LINES} lines.", status=413)
        if key == "header":
            change.message = "\n\n".join(filter(None, (body.text(value, part, "", limit=100_000).strip() for part in ("summary", "description"))))
            change.parent = body.text(value, "parentCommit", "")
        elif key == "file":
            _add(change, _inline(change, value, stack))
        elif key == "lfsFile":
            _add(change, _sent_ahead(value))
        elif key in ("deletedFile", "deletedFolder"):
            path = body.text(value, "path").rstrip("/" if key == "deletedFolder" else "")
            change.deletions[adapter_format.check_path(path) + ("/" if key == "deletedFolder" else "")] = None
        else:
            raise errors.not_offered(f"Medley does not know the line {key[:40]!r} of a commit. It takes file, lfsFile, deletedFile and deletedFolder.")
    return change


def _lines(request: HttpRequest) -> Iterator[tuple[str, Json]]:
    for line in body.Body(request).lines(MAX_LINE):
        entry = body.parse(line)
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str) or not isinstance(entry.get("value"), dict):
            raise HubError("body-invalid", 'Each line of a commit is a JSON object with a "key" and a "value".')
        yield entry["key"], entry["value"]


def _add(change: Change, file: Incoming | Known) -> None:
    if file.path in change.files:
        raise HubError("path-duplicate", f"The commit has {file.path[:200]!r} twice. Send it once.")
    change.files[file.path] = file


def _inline(change: Change, value: Json, stack: ExitStack) -> Incoming:
    path = adapter_format.check_path(body.text(value, "path"))
    if body.text(value, "encoding", "base64") != "base64":
        raise HubError("body-invalid", f"The content of {path} must be in base64.")
    try:
        data = base64.b64decode(body.text(value, "content", limit=MAX_LINE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HubError("body-invalid", f"The content of {path} is not valid base64.") from error
    change.inline += len(data)
    if len(data) > MAX_INLINE or change.inline > MAX_INLINE_TOTAL:
        limits = f"{MAX_INLINE // 1_000_000} MB for a file and {MAX_INLINE_TOTAL // 1_000_000} MB for all"
        raise HubError("file-too-large", f"{path} is too large for the inside of a commit ({limits}). Send it ahead by LFS or Xet.", status=413)
    try:
        file = SpooledTemporaryFile(IN_MEMORY, dir=str(site.WORK_DIR))  # noqa: SIM115 (the stack closes it)
        stack.callback(file.close)
        file.write(data)
        file.seek(0)
    except OSError as error:
        raise storage.disk_error(error) from error
    return Incoming(path, cast("BinaryIO", file))


def first_files(sent: Json, stack: ExitStack) -> list[Incoming]:
    """Return the files that come with the call that creates their repository: a card that names the licence, and what is sent inside."""
    given = sent.get("files") or []
    if not isinstance(given, list) or not all(isinstance(value, dict) for value in given):
        raise HubError("body-invalid", 'The field "files" must be a list of files.')
    change = Change()
    for value in given:
        _add(change, _inline(change, value, stack))
    licence = body.text(sent, "license", "")
    if licence and not LICENCE.fullmatch(licence):
        raise HubError("body-invalid", "The licence must be an id such as apache-2.0.")
    if licence and repo.CARD not in change.files:
        _add(change, Incoming(repo.CARD, BytesIO(f"---\nlicense: {licence}\n---\n".encode())))
    return [file for file in change.files.values() if isinstance(file, Incoming)]


def _sent_ahead(value: Json) -> Known:
    path, oid = adapter_format.check_path(body.text(value, "path")), body.text(value, "oid")
    size = value.get("size")
    if body.text(value, "algo", "sha256") != "sha256" or not SHA256.fullmatch(oid):
        raise HubError("body-invalid", f"{path} must be named by its sha256: 64 lower-case hex digits.")
    if size is not None and not isinstance(size, int):
        raise HubError("body-invalid", f"The size of {path} must be a number.")
    return Known(path, oid, size)
