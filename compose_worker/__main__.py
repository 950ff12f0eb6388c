"""`python -m compose_worker` starts the worker: one process, one job at a time, the base model kept warm."""

import os
import sys
import warnings

from celery.platforms import SecurityWarning

from hub.celery import app


def main() -> None:
    """Start a Celery worker with the settings a composition needs."""
    # torch reads this when it loads. Threads that spin while they wait make a busy machine several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Messages are JSON with an id, so a worker that runs as root in a container is no way in.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    arguments = ["--pool=solo", "--without-gossip", "--without-mingle", "--include=compose_worker.tasks"]
    app.worker_main(["--quiet", "worker", *arguments, *sys.argv[1:]])


if __name__ == "__main__":
    main()
