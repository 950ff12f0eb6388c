"""Runs the whole suite: on SQLite with the filesystem broker, then what touches a database on PostgreSQL with Redis.

The Hugging Face clients, which take longest, run in the second half alone; the attacks on their door run in the first.
DATABASE_URL and REDIS_URL name the servers of the second half; where they are not set, throw-away ones are started. Nothing is skipped.
"""

import os
import subprocess
import sys
import tempfile

from tests import servers

# Every verb, the Hugging Face clients, and whole processes: what is left out asks the database nothing but what these do.
PURE = [f"--ignore=tests/services/test_{name}.py" for name in ("object_store", "direct", "read_through", "imports", "given_weights", "cards", "hosting")]
DATABASE = ("tests/services", "tests/hf", "tests/worker", *(f"tests/test_{name}.py" for name in ("backup", "commands", "deploy", "health", "migrations")))


def main() -> int:
    """Run both halves and return the worse exit status."""
    arguments = sys.argv[1:]
    first = _pytest("SQLite, filesystem broker", [*arguments, "--ignore=tests/hf"], {"CELERY_BROKER_URL": "filesystem://"})
    folder = servers.temporary_folder()
    database = os.environ.get("DATABASE_URL") or servers.postgres(folder)
    broker = os.environ.get("REDIS_URL") or servers.redis()
    second = _pytest("PostgreSQL, Redis", [*arguments, *DATABASE, *PURE], {"DATABASE_URL": database, "CELERY_BROKER_URL": broker})
    return max(first, second)


def _pytest(title: str, arguments: list[str], settings: dict[str, str]) -> int:
    print(f"== {title}", flush=True)
    with tempfile.TemporaryDirectory(prefix="medley-tests-") as data:
        # Several processes with one thread each do more than one process whose threads wait for each other.
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "DATABASE_URL": f"sqlite:///{data}/medley.sqlite3",
            "MEDLEY_DATA": data,
            **settings,
        }
        command = [sys.executable, "-m", "pytest", f"--numprocesses={os.cpu_count()}", "--dist=loadfile", "--no-loadscope-reorder", *arguments]
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
