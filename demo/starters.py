"""The starter catalogue: what lies in demo/adapters, and its upload through the REST API."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.client import Client
from demo.terminal import Terminal, bar

FOLDER = Path(__file__).resolve().parent / "adapters"
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Starter:
    """One adapter of the starter catalogue."""

    id: str  # "owner/name"
    path: Path
    config: Mapping[str, Any]

    @property
    def owner(self) -> str:
        return self.id.partition("/")[0]

    @property
    def files(self) -> dict[str, Path]:
        return {path.name: path for path in sorted(self.path.iterdir()) if path.is_file()}

    @property
    def shape(self) -> tuple[Any, ...]:
        """What adapters must share so that their factors can be added, as LoraHub does."""
        return (self.config["r"], tuple(sorted(self.config["target_modules"])), self.config["lora_alpha"], self.config["use_rslora"])


def starters(folder: Path = FOLDER) -> list[Starter]:
    """List the starter adapters by id."""
    configs = sorted(folder.glob(f"*/*/{CONFIG}"))
    return [Starter("/".join(path.parent.parts[-2:]), path.parent, json.loads(path.read_text())) for path in configs]


def one_shape(found: list[Starter]) -> list[Starter]:
    """Keep the largest group of adapters with one shape."""
    groups: dict[tuple[Any, ...], list[Starter]] = {}
    for starter in found:
        groups.setdefault(starter.shape, []).append(starter)
    return max(groups.values(), key=len)


def upload(clients: Mapping[str, Client], found: list[Starter], terminal: Terminal) -> dict[str, str]:
    """Bring the catalogue to what lies in the folder; return the head revision of each adapter."""
    heads: dict[str, str] = {}
    new = 0
    for number, starter in enumerate(found, 1):
        client = clients[starter.owner]
        there = client.adapter(starter.id)
        if there is None:
            client.post("/api/v1/adapters", {"name": starter.id.partition("/")[2], "private": False, "tags": []})
        if there is not None and _holds(there, starter):
            heads[starter.id] = head_of(there)
        else:
            heads[starter.id] = client.commit(starter.id, starter.files, "Upload the starter adapter")["sha"]
            new += 1
        terminal.progress(f"Uploading {bar(number, len(found))} {starter.id}")
    terminal.line(f"{len(found)} starter adapters are in the catalogue, {new} of them uploaded now.")
    return heads


def head_of(adapter: Mapping[str, Any]) -> str:
    """Return the revision that the API answered with."""
    return adapter["sha"]


def _holds(adapter: Mapping[str, Any], starter: Starter) -> bool:
    """Whether the adapter's head has every file of the starter, byte for byte."""
    there = {row["path"]: row["sha256"] for row in adapter.get("files", [])}
    return all(there.get(name) == digest for name, digest in _digests(starter))


def _digests(starter: Starter) -> Iterator[tuple[str, str]]:
    for name, path in starter.files.items():
        yield name, hashlib.sha256(path.read_bytes()).hexdigest()
