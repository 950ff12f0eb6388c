"""How fast a hub takes and sends a large file, beside what the machine can do at best: python -m benchmarks.transfer.

Everything is measured in one run on one disk, the rows in turn, several times over; what counts is the median of the ratios within a turn.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import transfer_report
from benchmarks.transfer_client import BLOCK, FILE
from benchmarks.transfer_report import Machine, Turn
from benchmarks.transfer_site import ROOT, Server, Site, plain, sink

REPORT = ROOT / "docs" / "benchmarks" / "transfer.md"
SMALL = 100_000_000
WIDTH = 1024  # of the tensor


def main() -> None:
    """Measure, print, and write the report."""
    options = _options()
    machine = Machine.now()
    with tempfile.TemporaryDirectory(prefix="medley-benchmark-", dir=options.dir) as name:
        folder = Path(name)
        with Site(folder / "hub") as site, sink(folder / FILE, folder / "sink.log") as nothing, plain(folder, folder / "plain.log") as other:
            turns = []
            for number in range(options.turns):
                turns.append(_turn(folder, number, options.megabytes * 1_000_000, site, nothing, other, options.seconds))
                print(transfer_report.line(turns[-1]), flush=True)
            memory = {size: _memory(folder, size, site) for size in sorted({SMALL, options.megabytes * 1_000_000})}
    text = transfer_report.write(turns, memory, machine, options.megabytes * 1_000_000)
    print(text)
    if options.report:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="the size of the file")
    parser.add_argument("--turns", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=4, help="how long requests are counted")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; it needs room for 8 times the file")
    parser.add_argument("--no-report", dest="report", action="store_false", help=f"do not write {REPORT.relative_to(ROOT)}")
    return parser.parse_args()


def _turn(folder: Path, number: int, size: int, site: Site, nothing: Server, other: Server, seconds: float) -> Turn:
    """Measure everything once, with a file that nobody has seen before."""
    path, home = folder / FILE, folder / f"home-{number}"
    seconds_of: Turn = {}
    repo = f"owner/turn-{number}"
    write_weights(path, size, seed=number)
    seconds_of["bare"] = _bare(path, durable=False)
    seconds_of["bare, durable"] = _bare(path, durable=True)
    seconds_of["xet sink"] = _client(home / "xet-sink", "upload", nothing.url, "any", "owner/sink", str(path))
    seconds_of["xet"] = _client(home / "xet", "upload", site.url, site.token, repo, str(path))
    file = f"{site.url}/{repo}/resolve/main/{FILE}"
    seconds_of["plain get"] = _client(home, "get", f"{other.url}/{FILE}")
    seconds_of["get"] = _client(home, "get", file)
    seconds_of["hf sink"] = _client(home, "download", nothing.url, "owner/sink")
    seconds_of["hf"] = _client(home, "download", site.url, repo)
    seconds_of["empty"] = 1 / _client(home, "heads", f"{site.url}/empty", str(seconds))
    seconds_of["head"] = 1 / _client(home, "heads", file, str(seconds))
    seconds_of["head, token"] = 1 / _client(home, "heads", file, str(seconds), site.token)
    change(path)
    seconds_of["lfs sink"] = _client(home / "lfs-sink", "upload-open-file", nothing.url, "any", "owner/sink", str(path))
    seconds_of["lfs"] = _client(home / "lfs", "upload-open-file", site.url, site.token, repo, str(path))
    _forget(site)
    return seconds_of


def _memory(folder: Path, size: int, site: Site) -> dict[str, float]:
    """Return the most megabytes that the site's process holds while it takes and sends a file."""
    path, found = folder / FILE, {}
    write_weights(path, size, seed=size)
    repo = f"owner/memory-{size}"
    for kind in ("upload", "download", "upload-open-file"):
        site.peak(reset=True)
        more = (repo,) if kind == "download" else (site.token, repo, str(path))
        _client(folder / f"home-{size}-{kind}", kind, site.url, *more)
        found[kind] = site.peak()
        change(path)
    _forget(site)
    return found


def _bare(path: Path, *, durable: bool) -> float:
    """Read, hash and write a file, as one does who need not do anything else."""
    os.sync()
    target = path.with_suffix(".copy")
    start = time.perf_counter()
    digest = hashlib.sha256()
    with path.open("rb") as source, target.open("wb") as out:
        while block := source.read(BLOCK):
            digest.update(block)
            out.write(block)
        if durable:
            out.flush()
            os.fsync(out.fileno())
    taken = time.perf_counter() - start
    target.unlink()
    return taken


def _client(home: Path, kind: str, *arguments: str) -> float:
    """Run one transfer by a client that remembers nothing."""
    os.sync()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DJANGO_"))}
    environment |= {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TMPDIR": str(home.parent)}
    command = [sys.executable, "-m", "benchmarks.transfer_client", kind, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


def _forget(site: Site) -> None:
    """Make room: what was measured is not needed any more."""
    for blob in (Path(site.environment["MEDLEY_DATA"]) / "blobs").glob("*/*/*"):
        blob.unlink()


def write_weights(path: Path, size: int, seed: int) -> None:
    """Write a file of weights: one tensor of bfloat16 numbers that look like trained ones."""
    rows = size // (2 * WIDTH)
    header = f'{{"weight":{{"dtype":"BF16","shape":[{rows},{WIDTH}],"data_offsets":[0,{rows * WIDTH * 2}]}}}}'.encode()
    header += b" " * (-len(header) % 8)
    random = np.random.default_rng(seed)
    with path.open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, rows, 8192):
            values = random.standard_normal((min(8192, rows - start), WIDTH), dtype=np.float32) * np.float32(0.02)
            out.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def change(path: Path) -> None:
    """Change the last bit of the last number, which makes it another file."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-2, os.SEEK_END)
        file.write(bytes([last ^ 1]))


if __name__ == "__main__":
    main()
