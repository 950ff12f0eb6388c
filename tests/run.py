"""Runs the whole suite in two halves: on SQLite with the filesystem broker, and on PostgreSQL with Redis.

Pages, API, engine, attacks, faults and the demonstration run in the first; the verbs, the Hugging Face clients and remote workers in the second. What
depends on how a database searches, locks and migrates runs in both (BOTH). `--everything` runs all the verbs in both.
DATABASE_URL and REDIS_URL name the servers of the second half; where they are not set, throw-away ones are started. Nothing is skipped.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import servers

ALONE = [f"tests/test_{name}.py" for name in ("commands", "deploy", "health", "backup", "migrations")]
SECOND = ("tests/services", "tests/hf", "tests/worker", *ALONE)
# The fault suite in the first half runs such processes on PostgreSQL and Redis.
LOCAL = "tests/worker/test_stack.py"
# These ask the database nothing that others do not ask it too.
FIRST = [f"tests/services/test_{name}.py" for name in ("object_store", "direct", "read_through", "imports", "given_weights", "cards", "hosting")]
_BOTH = ("commit", "find", "finish", "migration", "moving", "queue", "quotas", "runs", "search", "store", "submit")
BOTH = [f"tests/services/test_{name}.py" for name in _BOTH]

WHOLE = [f"tests/worker/test_{name}.py" for name in ("nginx", "remote")]  # processes that hardly care which database and broker there are


def main() -> int:
    """Run both halves and return the worse exit status."""
    everything = "--everything" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--everything"]
    ours = [] if everything else [f"--ignore={path}" for path in (*WHOLE, *_services()) if path not in (*FIRST, *BOTH)]
    first = _pytest("SQLite, filesystem broker", [*arguments, "--ignore=tests/hf", *ours], {"CELERY_BROKER_URL": "filesystem://"})
    folder = servers.temporary_folder()
    database = os.environ.get("DATABASE_URL") or servers.postgres(folder)
    broker = os.environ.get("REDIS_URL") or servers.redis()
    theirs = [*SECOND, *(f"--ignore={path}" for path in (LOCAL, *FIRST))]
    second = _pytest("PostgreSQL, Redis", [*arguments, *theirs], {"DATABASE_URL": database, "CELERY_BROKER_URL": broker})
    return max(first, second)


def _services() -> list[str]:
    return [f"tests/services/{path.name}" for path in sorted(Path("tests/services").glob("test_*.py"))]


def _pytest(title: str, arguments: list[str], settings: dict[str, str]) -> int:
    print(f"== {title}", flush=True)
    with tempfile.TemporaryDirectory(prefix="medley-tests-") as data:
        # Several processes with one thread each do more than one process whose threads wait for each other.
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONDONTWRITEBYTECODE": "",  # hundreds of processes would compile the project anew, where somebody has set it
            "DATABASE_URL": f"sqlite:///{data}/medley.sqlite3",
            "MEDLEY_DATA": data,
            **settings,
        }
        command = [sys.executable, "-m", "pytest", f"--numprocesses={(os.cpu_count() or 1) + 1}", "--dist=loadfile", "--no-loadscope-reorder", *arguments]
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
