"""Where a worker finds base models on its disk: one folder `owner--name` each."""

import shutil
from pathlib import Path

from django.conf import settings

from hub.errors import HubError
from hub.services import runs

NEEDED = ("config.json", "*.safetensors", "tokenizer*")


def folder(name: str) -> Path:
    """Return the folder that the base model `owner/name` has or would have."""
    if name in ("", ".", "..") or name.startswith("/") or "\\" in name or "\x00" in name or len(name) > 200:
        raise HubError("base-model-invalid", f"{name[:60]!r} is no name of a base model. Use owner/name.")
    return Path(settings.BASE_MODELS_DIR) / name.replace("/", "--")


def present() -> list[str]:
    """List the base models that are on this machine."""
    return sorted(p.parent.name.replace("--", "/", 1) for p in Path(settings.BASE_MODELS_DIR).glob("*/config.json"))


def add(*, name: str, source: Path) -> Path:
    """Copy a model folder in under `name`, whole or not at all, and say that it is here."""
    target = folder(name)
    missing = [pattern for pattern in NEEDED if not any(source.glob(pattern))]
    if missing:
        raise HubError(
            "base-model-incomplete", f"{source} lacks {', '.join(missing)}. A base model needs its configuration, safetensors weights and tokenizer."
        )
    if target.exists():
        raise HubError("base-model-exists", f"{name} is here already, in {target}. Remove that folder to replace it.", status=409)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, ignore=shutil.ignore_patterns(".*"))
    unfinished.rename(target)
    runs.announce_base_models([name])
    return target
