"""A small client of the REST API, with the standard library alone."""

import hashlib
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from demo.terminal import DemoError

TIMEOUT = 60  # seconds without a byte


class ApiError(DemoError):
    """The site refused a request; `code` is the stable one."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"The site answered {status} {code}: {message}" if code else f"The site answered {status}: {message}")
        self.status, self.code = status, code


class Client:
    """Speaks to one site as one user."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the site is on this machine

    def get(self, path: str) -> Any:
        return self._json("GET", path)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        return self._json("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def adapters(self, **filters: str) -> Iterator[dict[str, Any]]:
        """List adapters over all pages."""
        path = "/api/v1/adapters?" + urllib.parse.urlencode({**filters, "limit": "100"})
        while path:
            page = self.get(path)
            yield from page["items"]
            path = page["next"] or ""

    def adapter(self, repo_id: str) -> dict[str, Any] | None:
        """Return an adapter, or None where there is no such one."""
        try:
            return self.get(f"/api/v1/adapters/{repo_id}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def commit(self, repo_id: str, files: Mapping[str, Path], message: str) -> dict[str, Any]:
        """Upload files as one revision, as the upload page does."""
        body, kind = multipart(files, {"message": message})
        return self._json("POST", f"/api/v1/adapters/{repo_id}/commits", body, {"Content-Type": kind})

    def download(self, repo_id: str, revision: str, folder: Path) -> Path:
        """Fetch every file of a revision into `folder` and check the bytes against the catalogue's sha256."""
        listing = self.get(f"/api/v1/adapters/{repo_id}?revision={revision}")
        for row in listing["files"]:
            path = folder / row["path"]
            if not path.resolve().is_relative_to(folder.resolve()):
                raise DemoError(f"{repo_id} holds a file with an unsafe path: {row['path']!r}.")
            path.parent.mkdir(parents=True, exist_ok=True)
            quoted = urllib.parse.quote(row["path"])
            data = self._bytes("GET", f"/api/v1/adapters/{repo_id}/files/{quoted}?revision={revision}")
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise DemoError(f"{row['path']} of {repo_id} arrived with another checksum than the catalogue names.")
            path.write_bytes(data)
        return folder

    def _json(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        data = self._bytes(method, path, body, headers)
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise DemoError(f"The site answered {path} with something other than JSON.") from error

    def _bytes(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        url = path if path.startswith(("http://", "https://")) else self.url + path
        request = urllib.request.Request(url, data=body, method=method, headers={**self._headers, **(headers or {})})  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"The site at {self.url} does not answer ({error}).") from error


def _refusal(error: urllib.error.HTTPError) -> ApiError:
    text = error.read().decode(errors="replace")
    try:
        body = json.loads(text)["error"]
        return ApiError(error.code, body["code"], body["message"])
    except (ValueError, KeyError, TypeError):
        return ApiError(error.code, "", text[:300] or error.reason)


def multipart(files: Mapping[str, Path], fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Return body and content type of a form with `files` and, beside them in the same order, their `paths`."""
    boundary = uuid.uuid4().hex
    parts: list[bytes] = []

    def add(disposition: str, data: bytes, kind: str = "") -> None:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
        parts.append(head.encode() + b"\r\n" + data + b"\r\n")

    for name, value in fields.items():
        add(f'name="{name}"', value.encode())
    for path, source in files.items():
        add(f'name="files"; filename="{Path(path).name}"', source.read_bytes(), "application/octet-stream")
        add('name="paths"', path.encode())
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
