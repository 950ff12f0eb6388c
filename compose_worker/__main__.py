"""`python -m compose_worker` starts the worker: one process, one job at a time, the base model kept warm."""

import sys
import warnings

from celery.platforms import SecurityWarning

from hub.celery import app


def main() -> None:
    """Start a Celery worker with the settings a composition needs."""
    # Messages are JSON with an id, so a worker that runs as root in a container is no way in.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    arguments = ["--pool=solo", "--without-gossip", "--without-mingle", "--include=compose_worker.tasks"]
    app.worker_main(["--quiet", "worker", *arguments, *sys.argv[1:]])


if __name__ == "__main__":
    main()
