"""Virtual environments with older releases of huggingface_hub, made once and kept in .venv-clients."""

import fcntl
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".venv-clients"
WITH = ("numpy==2.4.6", "safetensors==0.8.0")


def python(version: str) -> str:
    """Return the Python that has this release."""
    place = FOLDER / version
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / "complete"
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            command = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"huggingface_hub=={version}", *WITH]
            subprocess.run(command, check=True)
            done.touch()
    return str(place / "bin" / "python")
