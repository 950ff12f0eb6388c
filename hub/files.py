"""Serves the bytes of a revision: one file with ETag and Range, or the whole revision as a ZIP. Every door's downloads end here."""

import re
from pathlib import PurePosixPath
from typing import BinaryIO

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, parse_etags
from prometheus_client import Counter
from zipstream import ZipStream

from hub import object_store, storage
from hub.models import Adapter, Blob, Revision, RevisionFile
from hub.services import access, fetching, hosted, social
from hub.services.files import Found

WEIGHTS_SUFFIX = ".safetensors"
TEXT = frozenset({".md", ".txt", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".py", ".jinja"})
# The only types a browser may show in a page. SVG is left out on purpose: it can carry scripts.
IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
SANDBOX = "default-src 'none'; sandbox"
SENT = Counter("medley_sent_bytes", "Bytes of files in answers, as announced.")


def file_response(request: HttpRequest, row: RevisionFile | Found, *, attachment: bool) -> HttpResponseBase:
    """Answer a GET or HEAD for one file; the caller has checked that the asker may see the adapter, and here is the gate of its files."""
    if isinstance(row, RevisionFile):
        access.require_file(request.user, row.revision.adapter, row.path)
    return _sent(request, row, attachment=attachment)


def _sent(request: HttpRequest, row: RevisionFile | Found, *, attachment: bool) -> HttpResponseBase:
    size, etag = row.size, f'"{row.blob_id}"'
    if (wanted := request.headers.get("If-Match")) and not {etag, "*"} & set(parse_etags(wanted)):
        return _dress(HttpResponse(status=412), etag)
    if (known := request.headers.get("If-None-Match")) and {etag, f"W/{etag}", "*"} & set(parse_etags(known)):
        return _dress(HttpResponse(status=304), etag)
    span = _span(request, etag, size)
    if span is not None and span.start >= size:
        # The JavaScript client asks for the first byte to learn a size, also of a file that has none.
        response = _dress(HttpResponse(status=416 if size else 200, content_type=content_type(row.path)), etag)
        response["Content-Range"] = f"bytes */{size}"
        return response
    if request.method == "GET" and row.path.endswith(WEIGHTS_SUFFIX) and (span is None or span.start == 0):
        count(request, row.adapter)
    length = size if span is None else len(span)
    if request.method == "GET":
        SENT.inc(length)
    disposition = content_disposition_header(attachment, PurePosixPath(row.path).name) or "inline"
    handed_on = _handed_on(row, disposition) if request.method == "GET" else None
    response = _dress(handed_on or _body(request, row, span), etag)
    response["Content-Type"] = content_type(row.path)
    response["Content-Disposition"] = disposition
    if handed_on:
        return response
    response["Content-Length"] = str(length)
    if span is not None:
        response["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    return response


def blob_response(request: HttpRequest, blob: Blob, name: str) -> HttpResponseBase:
    """Answer a GET or HEAD for bytes that the asker was given a link to: no file of a revision, and no download that counts."""
    return _sent(request, Found(name, blob.sha256, blob.size, "", 0), attachment=True)


def zip_response(request: HttpRequest, adapter: Adapter, revision: Revision) -> HttpResponseBase:
    """Answer with all files of a revision in one ZIP, made while it is sent, under the same conditions as each of them."""
    access.require_file(request.user, adapter)
    archive = ZipStream(sized=True)
    rows = list(revision.files.all())
    fetching.require(row.blob_id for row in rows)
    for row in rows:
        storage.open_blob(row.blob_id).close()  # a broken store is an error before the first byte, not a cut download
        archive.add_path(str(storage.local_path(row.blob_id)), f"{adapter.name}/{row.path}")
    if request.method == "GET" and any(row.path.endswith(WEIGHTS_SUFFIX) for row in rows):
        count(request, adapter)
    response: HttpResponseBase = HttpResponse() if request.method == "HEAD" else StreamingHttpResponse(archive)
    response["Content-Length"] = str(len(archive))
    response["Content-Type"] = "application/zip"
    response["Content-Disposition"] = content_disposition_header(True, f"{adapter.name}-{revision.short}.zip") or "attachment"
    return _dress(response, f'"zip-{revision.sha}"', ranges=False)


def count(request: HttpRequest, adapter: Adapter) -> None:
    """Count one fetch of the weights by whoever asks."""
    social.count_download(adapter=adapter, client=f"user:{request.user.pk}" if request.user.is_authenticated else address(request))


def address(request: HttpRequest) -> str:
    """Return the asker's network address, behind as many proxies as NUM_PROXIES says."""
    proxies = int(settings.REST_FRAMEWORK.get("NUM_PROXIES") or 0)
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    if proxies and forwarded:
        return forwarded[-min(proxies, len(forwarded))]
    return str(request.META.get("REMOTE_ADDR", ""))


def content_type(path: str) -> str:
    """Return a media type that no browser runs."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in TEXT:
        return "text/plain; charset=utf-8"
    return IMAGES.get(suffix, "application/octet-stream")


def _span(request: HttpRequest, etag: str, size: int) -> range | None:
    """Return the bytes asked for; None for the whole file, and a span that starts at the size for one that lies outside."""
    match = RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if match is None or request.headers.get("If-Range", etag).strip() != etag:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return range(max(0, size - int(last)), size) if int(last) else range(size, size)
    start, stop = int(first), int(last) + 1 if last else size
    if last and int(last) < start:
        return None
    return range(min(start, size), min(stop, size))


def _handed_on(row: RevisionFile | Found, disposition: str) -> HttpResponseBase | None:
    """Leave the sending, of a part too, to the bucket that the file lies in, or to the nginx in front (hub/deploy/nginx.conf.template)."""
    sha256 = row.blob_id
    if settings.S3_BUCKET and not hosted.awaited([sha256]):
        address = storage.address(sha256, content_type=content_type(row.path), disposition=disposition)
        return HttpResponse(status=302, headers={"Location": address}) if address else None
    if settings.X_ACCEL and storage.local_path(sha256).exists():
        return HttpResponse(headers={"X-Accel-Redirect": f"{settings.X_ACCEL}/{object_store.spread(sha256)}"})
    return None


def _body(request: HttpRequest, row: RevisionFile | Found, span: range | None) -> HttpResponseBase:
    status = 200 if span is None else 206
    if request.method == "HEAD":
        return HttpResponse(status=status)
    wanted = range(row.size) if span is None else span
    return _Sent(_Part(fetching.open_blob(row.blob, whole=wanted.stop == row.size), wanted), status=status)


class _Part:
    """A part of a file, which ends where the part does. A server can let the kernel send it, unless the file is still being fetched."""

    def __init__(self, stream: BinaryIO, span: range) -> None:
        stream.seek(span.start)
        self._stream, self._left = stream, len(span)
        self.fileno, self.close = stream.fileno, stream.close

    def read(self, size: int = -1) -> bytes:
        """Return some of the next bytes of the part."""
        count = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(count) if count else b""
        self._left -= len(data)
        return data


class _Sent(FileResponse):
    """A response that hands its file to the server; what the headers say is the caller's business."""

    block_size = storage.CHUNK

    def set_headers(self, filelike: object) -> None:
        """Leave the headers alone."""


def _dress(response: HttpResponseBase, etag: str, *, ranges: bool = True) -> HttpResponseBase:
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes" if ranges else "none"
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = SANDBOX
    return response
