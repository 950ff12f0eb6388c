"""Reads request bodies: JSON without surprises, and multipart uploads straight to disk that are whole or refused."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParser as DjangoMultiPartParser
from django.http.multipartparser import MultiPartParserError
from rest_framework.parsers import BaseParser, DataAndFiles

from hub import storage, strict_json
from hub.api.errors import upload_incomplete
from hub.errors import HubError


class StrictJSONParser(BaseParser):
    """application/json: no duplicate keys, no NaN, bounded size and nesting."""

    media_type = "application/json"

    def parse(self, stream: BinaryIO, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the value, or refuse."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        announced = _length(parser_context)
        if announced > limit:
            raise HubError("body-too-large", f"The body is larger than {limit / 1e6:.0f} MB. Send fewer examples.", status=413)
        raw = stream.read(limit + 1)
        if len(raw) < announced:
            raise upload_incomplete()
        try:
            return strict_json.loads(raw)
        except strict_json.JsonFault as fault:
            raise HubError("json-invalid", f"The body is not valid JSON: {fault}.") from fault


class UploadParser(BaseParser):
    """multipart/form-data. Each file keeps the name its sender gave it, folders and all, as `sent_name`."""

    media_type = "multipart/form-data"

    def parse(self, stream: BinaryIO, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> DataAndFiles:
        """Return fields and files; what was cut off leaves no file behind."""
        request = (parser_context or {})["request"]
        counted = _Counted(stream)
        try:
            parser = _Parser({**request.META, "CONTENT_TYPE": media_type}, counted, request.upload_handlers, "utf-8")
        except MultiPartParserError as error:
            raise _broken() from error
        with contextlib.ExitStack() as failed:
            failed.callback(_discard, request.upload_handlers)
            try:
                fields, files = parser.parse()
            except (MultiPartParserError, OSError) as error:
                if counted.size < _length(parser_context) and isinstance(error, MultiPartParserError | UnreadablePostError):
                    raise upload_incomplete() from error
                raise (_broken() if isinstance(error, MultiPartParserError) else storage.disk_error(error)) from error
            failed.pop_all()
        rows = [file for name in files for file in files.getlist(name)]
        if counted.size < _length(parser_context) or len(rows) != len(parser.sent_names):
            close(rows)
            raise upload_incomplete() if counted.size < _length(parser_context) else _broken()
        for file, name in zip(rows, parser.sent_names, strict=True):
            file.sent_name = name
        return DataAndFiles(fields, files)


def close(files: Iterable[UploadedFile]) -> None:
    """Close uploaded files, which deletes them."""
    for file in files:
        file.close()


class _Parser(DjangoMultiPartParser):
    """Keeps the names of files as they were sent: Django shortens `../a/b.txt` to `b.txt`, which hides the mistake."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent_names: list[str] = []

    def sanitize_file_name(self, file_name: str) -> str:
        """Keep the sent name, and give the temporary file one that is safe on every disk."""
        self.sent_names.append(file_name)
        return "upload"


class _Counted:
    """A stream that knows how many bytes came: a server hands a cut connection on as an ordinary end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data


def _discard(handlers: Iterable[FileUploadHandler]) -> None:
    """Delete the file that was being written; on a full disk closing it fails once more, and deletes it all the same."""
    for handler in handlers:
        with contextlib.suppress(OSError):
            handler.upload_interrupted()


def _broken() -> HubError:
    return HubError("multipart-invalid", "The body is not valid multipart/form-data. Use the form upload of an HTTP library, or curl -F.")


def _length(parser_context: Mapping[str, Any] | None) -> int:
    try:
        return int((parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
