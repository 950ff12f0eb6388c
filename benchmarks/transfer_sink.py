"""A server that answers an upload by Xet as a hub does, reads every byte and keeps none: what an upload costs the client alone."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK = 1 << 20


class Handler(BaseHTTPRequestHandler):
    """Says yes to everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Hand out the address of an upload; no chunk is known."""
        if "/xet-write-token/" in self.path:
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            self._answer({"casUrl": f"{host}/xet", "accessToken": "any", "exp": int(time.time()) + 600})
        else:
            self._answer({}, 200 if self.path == "/" else 404)

    def do_POST(self) -> None:
        """Read what is sent and take it."""
        content = self._content()
        path, host = self.path, f"http://127.0.0.1:{self.server.server_address[1]}"
        if path == "/api/repos/create":
            self._answer({"url": f"{host}/owner/sink"})
        elif path.endswith("/preupload/main"):
            files = json.loads(content)["files"]
            self._answer({"files": [{"path": file["path"], "uploadMode": "lfs", "shouldIgnore": False} for file in files]})
        elif "/commit/" in path:
            self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{host}/owner/sink/commit/{'0' * 40}"})
        elif "/xorb-grants/" in path or "/v2/" in path:
            self._answer({}, 404)
        else:
            self._answer({"was_inserted": True, "result": 1})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

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
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
