"""Free ports that stay free: below those which the kernel gives to connections, so that a service finds its own again when it is started once more."""

import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def free() -> int:
    """Return a port that nobody listens on, and that was not given before."""
    lowest = int(RANGE.read_text().split()[0]) if RANGE.exists() else 32768
    choices = random.SystemRandom()
    while True:
        port = choices.randrange(max(1024, lowest - 16384), lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
