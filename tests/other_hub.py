"""A small hub on loopback that answers as huggingface.co does, for tests of reading through; it can also lie, lag and break off."""

import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import save

SHA = "a" * 40
REPO = "HuggingFaceTB/Tiny"


def model(size: int = 1000, seed: int = 0) -> dict[str, bytes]:
    """The files of a model that no torch is needed for, among them what base models here do not have."""
    weights = save({"w": np.random.default_rng(seed).normal(size=size).astype(np.float32)})
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    files = {"config.json": json.dumps(config).encode(), "tokenizer.json": b"{}", "tokenizer.model": b"\x0a\x05piece", "model.safetensors": weights}
    return {**files, "README.md": b"---\nlicense: mit\n---\n# Tiny\n\nA tiny model.\n", "pytorch_model.bin": b"\x80\x02", "modeling.py": b"print()"}


class OtherHub:
    """What it has, how it misbehaves, and what it was asked."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {REPO: model()}
        self.sha = SHA
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.listing: Callable[[dict[str, Any]], Any] = lambda found: found  # changes what it says of a model
        self.status = 0  # answers everything with this
        self.silence = 0.0  # seconds before each answer
        self.redirect: Callable[[str], str] | None = None  # where each file is, as the Location of a 302
        self.bytes: Callable[[str, bytes], bytes] = lambda path, data: data  # what it sends instead
        self.cut = 0  # sends so many bytes of the weights under the whole length
        self.gate: threading.Event | None = None  # the second half of the weights waits for this, and comes byte by byte
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def paths(self, of: str = "") -> list[str]:
        """What it was asked for, as far as it holds `of`."""
        return [path for path, _ in self.asked if of in path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.asked.append((path, dict(handler.headers.items())))
        time.sleep(self.silence)
        if self.status:
            return self._send(handler, self.status, b"{}")
        if path.startswith("/api/models/"):
            repo, _, rev = path.removeprefix("/api/models/").partition("/revision/")
            if repo not in self.models or rev not in ("main", self.sha):
                return self._send(handler, 404, b'{"error": "Repository not found"}')
            found = self.listing(self._listing(repo))
            return self._send(handler, 200, found if isinstance(found, bytes) else json.dumps(found).encode())
        repo, _, rest = path.strip("/").partition("/resolve/")
        name = rest.partition("/")[2]
        if self.redirect and not path.startswith("/cdn/"):
            return self._send(handler, 302, b"", Location=self.redirect(path))
        repo = repo.removeprefix("cdn/")
        if repo not in self.models or name not in self.models[repo]:
            return self._send(handler, 404, b"{}")
        return self._send_file(handler, name, self.bytes(name, self.models[repo][name]))

    def _listing(self, repo: str) -> dict[str, Any]:
        files = []
        for path, data in self.models[repo].items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
            if path.endswith((".safetensors", ".model", ".bin")):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            files.append(entry)
        return {"_id": "6", "id": repo, "modelId": repo, "sha": self.sha, "private": False, "gated": False, "siblings": files}

    def _send_file(self, handler: BaseHTTPRequestHandler, name: str, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        large = name == "model.safetensors"
        half = len(data) // 2
        handler.wfile.write(data[: self.cut if self.cut and large else half])
        if self.cut and large:
            handler.connection.close()
            return
        handler.wfile.flush()
        while self.gate and large and half < len(data) // 2 + 200 and not self.gate.wait(0.1):
            handler.wfile.write(data[half : half + 1])  # slow, but alive
            half += 1
        handler.wfile.write(data[half:])

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)


@contextmanager
def running() -> Iterator[OtherHub]:
    """The hub, until the end of the block."""
    hub = OtherHub()
    try:
        yield hub
    finally:
        if hub.gate:
            hub.gate.set()
        hub.server.shutdown()
        hub.server.server_close()


class TlsServer:
    """A service inside that speaks TLS under a certificate of its own; it notes who connected and what they said."""

    def __init__(self, certificate: Path) -> None:
        self.connections, self.heard = 0, b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ended(self) -> tuple[int, bytes]:
        """Wait for the one connection to end, and say how many there were and what was heard."""
        self._thread.join(30)
        return self.connections, self.heard

    def _serve(self) -> None:
        with self._socket, suppress(OSError):
            self._socket.settimeout(20)
            raw, _ = self._socket.accept()
            self.connections += 1
            raw.settimeout(20)
            with self._context.wrap_socket(raw, server_side=True) as stream:
                self.heard = stream.recv(1000)


def tls_server(folder: Path) -> TlsServer:
    """Start one whose certificate is for the very name that is asked for, and signed by nobody whom others trust."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cdn.hf.co")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("cdn.hf.co")]), critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "inside.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return TlsServer(path)
