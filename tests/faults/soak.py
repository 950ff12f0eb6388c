"""Jobs and uploads while everything breaks at random: `make faults ARGS="--jobs 1000 --minutes 10 --seed 0"`."""

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests import servers
from tests.faults.site import Site
from tests.stack.link import HANGING, LOSING, REFUSING, RESETTING
from tests.stack.processes import children
from tests.stack.topology import WORKERS

DRAINING_SECONDS = 3600.0


@dataclass
class Told:
    """What a soak did and found."""

    seed: int
    jobs: int = 0
    uploads: int = 0
    faults: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    broken_seconds: float = 0.0
    forwards: int = 0
    repeated: int = 0

    def __str__(self) -> str:
        kinds = "\n".join(f"  {count:5} {kind}" for kind, count in sorted(self.by_kind.items()))
        attempts = ", ".join(f"{count} jobs at attempt {attempt}" for attempt, count in sorted(self.attempts.items()))
        return (
            f"seed {self.seed}: {self.jobs} jobs and {self.uploads} uploads accepted, {self.faults} faults in {self.broken_seconds:.0f} s\n"
            f"over after {self.seconds:.0f} s\n"
            f"{kinds}\n"
            f"ended: {attempts}\n"
            f"every upload is there byte for byte; every job succeeded once with one result, the same weights, the same file to the bit\n"
            f"{self.forwards} forwards; {self.repeated} of them because one was cut off in the middle, none for a candidate that the history held"
        )


class Trouble:
    """Breaks one thing after the other, by chance but always the same for a seed."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.chance = site, random.Random(seed)
        self.kinds: dict[str, Callable[[], None]] = {
            "kill -9 a worker": self._kill_worker,
            "stop a worker politely": self._stop_worker,
            "kill -9 the site's processes": self._kill_site,
            "kill -9 Redis and wipe it": self._wipe_redis,
            "stop and start PostgreSQL": lambda: self._restart_postgres(site.stack.postgres.stop),
            "kill -9 PostgreSQL": lambda: self._restart_postgres(site.stack.postgres.kill),
            "cut a link": self._cut,
            "the bucket answers 500": lambda: self._bucket(status=500),
            "the bucket is slow": lambda: self._bucket(seconds=4),
            "the bucket sends half": lambda: self._bucket(short=True),
        }

    def once(self) -> str:
        """Break something, mend it, and say what it was."""
        kind = self.chance.choice(list(self.kinds))
        self.kinds[kind]()
        return kind

    def _for_a_while(self) -> None:
        time.sleep(self.chance.uniform(0.2, 4.0))

    def _kill_worker(self) -> None:
        worker = self.site.stack.workers[self.chance.choice(WORKERS)]
        worker.kill()
        worker.start()

    def _stop_worker(self) -> None:
        worker = self.site.stack.workers[self.chance.choice(WORKERS)]
        worker.stop()
        worker.start()

    def _kill_site(self) -> None:
        for pid in children(self.site.stack.web.pid):
            os.kill(pid, signal.SIGKILL)

    def _wipe_redis(self) -> None:
        redis = self.site.stack.redis
        redis.kill()
        redis.wipe()
        self._for_a_while()
        redis.start()
        redis.ready()

    def _restart_postgres(self, end: Callable[[], object]) -> None:
        end()
        self._for_a_while()
        self.site.stack.postgres.start()
        self.site.stack.postgres.ready()

    def _cut(self) -> None:
        link = self.site.stack.links[self.chance.choice(sorted(self.site.stack.links))]
        link.cut(self.chance.choice((REFUSING, HANGING, RESETTING, LOSING)))
        self._for_a_while()
        link.heal()

    def _bucket(self, **what: object) -> None:
        self.site.stack.bucket.trouble(share=self.chance.choice((0.3, 1.0)), **what)
        self._for_a_while()
        self.site.stack.bucket.trouble()


def run(site: Site, *, jobs: int, seconds: float, seed: int, say: Callable[[str], None] = lambda line: None) -> Told:
    """Submit and upload while things break for `seconds`, mend everything, wait for the jobs, and hold everything against what must be."""
    told, begun = Told(seed), time.monotonic()
    name, numbers, failed = f"soak-{seed}", list[int](), list[BaseException]()

    def work() -> None:
        try:
            for count in range(jobs):
                numbers.append(site.submit(f"{name}-{count:04}-job"))
                if count % 5 == 0:
                    site.upload(f"{name}-{count:04}-upload", seed=1000 + count)
                    told.uploads += 1
        except BaseException as error:
            failed.append(error)
            raise

    submitting = threading.Thread(target=work, daemon=True)
    submitting.start()
    trouble = Trouble(site, seed)
    while time.monotonic() - begun < seconds:
        kind = trouble.once()
        told.by_kind[kind] += 1
        told.faults += 1
        say(f"{time.monotonic() - begun:6.0f} s  {kind}; {len(numbers)} jobs accepted")
        time.sleep(trouble.chance.uniform(0.1, 2.0))
    told.broken_seconds = time.monotonic() - begun
    site.mend()
    submitting.join(DRAINING_SECONDS)
    assert not failed and not submitting.is_alive(), failed
    for number in numbers:
        site.over(number, DRAINING_SECONDS)
    told.seconds, told.jobs = time.monotonic() - begun, len(set(numbers))
    _hold_against(site, numbers, told)
    return told


def _hold_against(site: Site, numbers: list[int], told: Told) -> None:
    for number in numbers:
        job = site.check(number, again=True)
        told.attempts[job["attempts"]] += 1
        made = len(site.forwards(job["name"]))
        told.forwards += made
        told.repeated += max(0, made - site.calm["forwards"])
    assert site.rows("SELECT composition_id, step FROM hub_evaluation GROUP BY 1, 2 HAVING count(*) > 1") == []
    site.check_store()


def main() -> int:
    """Run a soak as long as wanted on a stack of its own."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    site = Site(servers.temporary_folder())
    try:
        site.start()
        print(f"A stack at {site.stack.url}; {options.jobs} jobs, {options.minutes:g} minutes of faults.", flush=True)
        print(run(site, jobs=options.jobs, seconds=60 * options.minutes, seed=options.seed, say=lambda line: print(line, flush=True)))
    finally:
        site.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
