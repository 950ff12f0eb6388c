"""A server that answers as a hub does and no more: it reads uploads and keeps nothing, and sends one file. What is left is the work of the client."""

import json
import shutil
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILE = Path(sys.argv[-1])
BLOCK = 1 << 20
PART = 64_000_000  # of a file sent by LFS, as a hub has it by default


class Handler(BaseHTTPRequestHandler):
    """Says yes to everything."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Describe the file."""
        self._file()

    def do_GET(self) -> None:
        """Send the file, or hand out the address of an upload; no chunk is known."""
        if "/resolve/" in self.path:
            self._file()
            with FILE.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)
        elif "/xet-write-token/" in self.path:
            self._answer({"casUrl": f"{self._host}/xet", "accessToken": "any", "exp": int(time.time()) + 600})
        else:
            self._answer({}, 200 if self.path == "/" else 404)

    def do_PUT(self) -> None:
        """Read a part of a file."""
        self._content()
        self._answer({})

    def do_POST(self) -> None:
        """Read what is sent and take it."""
        content = self._content()
        path = self.path
        if path == "/api/repos/create":
            self._answer({"url": f"{self._host}/owner/sink"})
        elif path.endswith("/preupload/main"):
            files = json.loads(content)["files"]
            self._answer({"files": [{"path": file["path"], "uploadMode": "lfs", "shouldIgnore": False} for file in files]})
        elif path.endswith("/objects/batch"):
            self._answer({"transfer": "multipart", "objects": [self._parts(entry) for entry in json.loads(content)["objects"]]})
        elif "/commit/" in path:
            self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{self._host}/owner/sink/commit/{'0' * 40}"})
        elif "/xorb-grants/" in path or "/v2/" in path:
            self._answer({}, 404)
        else:
            self._answer({"was_inserted": True, "result": 1})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    @property
    def _host(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _file(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(FILE.stat().st_size))
        self.send_header("ETag", '"any"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def _parts(self, entry: dict[str, Any]) -> dict[str, Any]:
        header = {f"{number:05d}": f"{self._host}/part/{number}" for number in range(1, -(-entry["size"] // PART) + 1)}
        return {**entry, "actions": {"upload": {"href": f"{self._host}/complete", "header": {"chunk_size": str(PART), **header}}}}

    def _content(self) -> bytes:
        """Read the body; return its first block."""
        left, buffer, first = int(self.headers.get("Content-Length") or 0), memoryview(bytearray(BLOCK)), b""
        while left and (count := self.rfile.readinto(buffer[: min(left, BLOCK)])):  # type: ignore[attr-defined]
            first = first or bytes(buffer[:count])
            left -= count
        return first

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", '"any"')
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
