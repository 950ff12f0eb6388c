"""Virtual environments with older releases of huggingface_hub and other things that few tests need, made once and kept in .venv-clients."""

import fcntl
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".venv-clients"
WITH = ("numpy==2.4.6", "safetensors==0.8.0")


def python(version: str) -> str:
    """Return the Python that has this release."""
    return environment(version, f"huggingface_hub=={version}", *WITH)


def environment(name: str, *packages: str) -> str:
    """Return the Python of a virtual environment with these packages."""
    place = FOLDER / name
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / "complete"
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            subprocess.run([place / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", *packages], check=True)
            done.touch()
    return str(place / "bin" / "python")
