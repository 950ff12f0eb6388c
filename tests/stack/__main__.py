"""`python -m tests.stack` (`make stack`): Medley as in production on this machine, until Ctrl-C."""

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests import nginx
from tests.stack.topology import Stack, stopping


def main() -> int:
    """Start, say where it is, wait, stop."""
    parser = argparse.ArgumentParser(prog="make stack", description="Start Medley as docker-compose.yml does, without containers.")
    parser.add_argument("--data", type=Path, default=Path("var/stack"), help="where everything is kept (default: var/stack)")
    parser.add_argument("--throw-away", action="store_true", help="keep nothing: use a folder that is removed at the end")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")), help="where the site is (default: PORT, or 8000; 0: any free one)")
    options = parser.parse_args()
    try:
        nginx.find()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if not options.throw_away:
        return run(options.data, options.port)
    with tempfile.TemporaryDirectory(prefix="medley-stack-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        return run(Path(folder), options.port)


def run(folder: Path, port: int) -> int:
    """Run the stack in a folder until a signal comes or one of its processes ends."""
    stop = threading.Event()
    for number in stopping():
        signal.signal(number, lambda *_: stop.set())
    stack = Stack(folder, port)
    status = 0
    try:
        stack.start()
        print(f"Medley runs at {stack.url} (Ctrl-C stops it).", flush=True)
        print(f"Data and logs: {stack.folder}. For manage.py: . {stack.write_environment()}", flush=True)
        while not stop.wait(0.5):
            ended = [process for process in stack.processes() if not process.runs]
            if ended:
                print(f"{ended[0].name} ended, so everything stops. Its last words:\n{ended[0].said()}", file=sys.stderr)
                status = 1
                break
    except RuntimeError as error:
        print(error, file=sys.stderr)
        status = 1
    finally:
        stack.stop()
    print("Stopped.", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
