"""The hub's API as a worker elsewhere sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from compose_worker import work

TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
UPLOAD = httpx2.Timeout(600.0, connect=10.0)  # the hub looks at every number of a result before it answers
DEAD_LINK = "link-invalid"  # code of a refused link; the hub knows why, or that the job is not this worker's any more
BASE_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


class Refused(Exception):
    """The hub understood and said no."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


class Hub:
    """The hub's API for workers."""

    def __init__(self, url: str, token: str, transport: httpx2.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(timeout=TIMEOUT, follow_redirects=False, headers={"Authorization": f"Bearer {token}"}, transport=transport)
        self._files = httpx2.Client(timeout=TIMEOUT, follow_redirects=True, transport=transport)  # the token goes to the hub's API alone

    def call(self, path: str, *, claim: str = "", said: Any = None, files: Any = None) -> Any:
        """POST JSON, or a form, to the worker's door and return the answer; raises `Away`, or `Refused`."""
        headers = {"X-Claim": claim} if claim else {}
        body: dict[str, Any] = {"files": files}
        if files is None:
            headers["Content-Type"] = "application/json"
            body = {"content": json.dumps(said or {}, allow_nan=False)}
        try:
            answer = self._http.post(f"{self.url}/api/v1/worker/{path}", headers=headers, timeout=TIMEOUT if files is None else UPLOAD, **body)
        except httpx2.TransportError as error:
            raise work.Away(str(error)) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise work.Away(f"the hub answered {answer.status_code}")
        if answer.status_code == 204:
            return None
        try:
            said = answer.json()
            if answer.is_success:
                return said
            raise Refused(answer.status_code, str(said["error"]["code"]), str(said["error"]["message"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(answer.status_code, "no-hub", f"{self.url} does not answer as a Medley hub does ({answer.status_code}).") from error

    def bytes(self, url: str) -> Iterator[bytes]:
        """Yield the bytes behind a link of the hub's; raises `Refused` where it is not valid any more."""
        try:
            with self._files.stream("GET", url) as answer:
                if answer.status_code in (401, 403, 404):
                    raise Refused(answer.status_code, DEAD_LINK, "A link to an adapter of the job is not valid any more.")
                answer.raise_for_status()
                yield from answer.iter_bytes(1 << 20)
        except httpx2.HTTPError as error:
            raise work.Away(str(error)) from error

    def base(self, name: str, revision: str, folder: Path) -> None:
        """Fetch a base model that the hub hosts, through its Hugging Face door."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

        try:
            snapshot_download(name, revision=revision, endpoint=self.url, local_dir=folder, token=False, allow_patterns=BASE_FILES)
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise work.Away(f"the base model {name} could not be fetched: {error}") from error
