"""`python -m compose_worker` starts a worker: one process, one job at a time, the base model kept warm.

With `--remote https://hub.example.org` it works for a hub elsewhere, by a worker token, and needs nothing of the hub but its address.
"""

import os
import sys
import warnings


def main() -> int:
    """Start the worker that the command line asks for."""
    # torch reads this when it loads. Threads that spin while they wait make a busy machine several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if any(argument.partition("=")[0] == "--remote" for argument in sys.argv[1:]):
        from compose_worker import remote

        return remote.main(sys.argv[1:])
    beside_the_hub(sys.argv[1:])
    return 0


def beside_the_hub(arguments: list[str]) -> None:
    """Start a Celery worker with the settings a composition needs."""
    from celery.platforms import SecurityWarning

    from hub.celery import app

    # Messages are JSON with an id, so a worker that runs as root in a container is no way in.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    ours = ["--pool=solo", "--without-gossip", "--without-mingle", "--include=compose_worker.tasks"]
    app.worker_main(["--quiet", "worker", *ours, *arguments])


if __name__ == "__main__":
    sys.exit(main())
