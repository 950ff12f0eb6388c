"""Calls the REST API with random data for longer than the test run does: `make fuzz ARGS="--examples 500 --seed 7"`."""

import argparse
import os
import subprocess
import sys


def main() -> int:
    """Run the one test with these numbers, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="calls of each address, method and asker")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    env = {**os.environ, "FUZZ_EXAMPLES": str(given.examples), "FUZZ_SEED": str(given.seed)}
    return subprocess.run([sys.executable, "-m", "pytest", "tests/attacks/test_schema.py", "--timeout=0"], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
