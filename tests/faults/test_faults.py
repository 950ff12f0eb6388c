"""What production does to a hub, done on purpose to real processes; docs/reliability.md lists what each test breaks and what must hold."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests import make
from tests.faults import soak
from tests.faults.site import OVER, Site
from tests.faults.table import fault
from tests.stack.link import HANGING, LOSING, REFUSING, RESETTING
from tests.stack.processes import children

pytestmark = pytest.mark.usefixtures("whole")


def kinds(*first: Any, more: Sequence[Any] = ()) -> list[Any]:
    """What a test tries: always the first ones, with FAULTS=all in the environment the others too."""
    return [*first, *(more if os.environ.get("FAULTS") == "all" else ())]


STAGES = {
    "claimed": ("hub_logline", {"sentence": "Started on"}),
    "loading": ("hub_logline", {"sentence": "Loading"}),
    "searching": ("hub_evaluation", {"step": 9}),
    "exporting": ("hub_logline", {"sentence": "Writing the adapter"}),
    "publishing": ("hub_adapter", {"name": "killed-publishing"}),
}
SEARCHING = STAGES["searching"]


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin something that will wait for a while; the returned function waits for its outcome."""
    found: list[Any] = []

    def run() -> None:
        found.append(work())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def outcome() -> Any:
        thread.join(200)
        assert found, "it did not come back, or it failed"
        return found[0]

    return outcome


@fault(
    "a worker dies",
    "kill -9 when the job was claimed, while it loads, searches, exports, and in the middle of the transaction that publishes",
    "the other worker goes on where it was; same weights and same file to the bit, no finished candidate measured again, one result",
)
@pytest.mark.parametrize("stage", kinds("claimed", "searching", "publishing", more=["loading", "exporting"]))
def test_a_worker_is_killed(site: Site, stage: str) -> None:
    table, columns = STAGES[stage]
    with site.held(f"killed-{stage}", table, **columns) as (number, worker):
        site.stack.workers[worker].kill()
    site.stack.workers[worker].start()
    site.check(number, again=stage == "searching")
    assert any("Taken over" in line for line in site.log(number))


@fault(
    "a worker is stopped politely",
    "SIGTERM while it searches",
    "the job is handed back before the worker ends, which is no attempt, and the other worker ends it with the same result",
)
def test_a_worker_is_stopped_politely(site: Site) -> None:
    with site.held("handed-back", "hub_logline", sentence="Comparing") as (number, worker):
        site.stack.workers[worker].signal(signal.SIGTERM)
    assert site.stack.workers[worker].stop() == 0
    assert any("Handed back" in line for line in site.log(number))
    site.check(number, again=True)  # it was comparing: what it had measured of a forward's candidates was not all written down


@fault("two workers claim one job", "both of them held at the moment of the claim, then let go at once", "one has it, the other looks for another job")
def test_two_workers_claim_one_job(site: Site) -> None:
    workers, clock = list(site.stack.workers.values()), site.stack.clock
    site.wait(lambda: not site.rows("SELECT 1 FROM hub_composition WHERE status IN ('queued', 'running')"))
    for process in (clock, *workers):
        process.signal(signal.SIGSTOP)
    try:
        number = site.submit("claimed-twice")
        bells = redis.Redis(port=site.stack.redis.port)
        bells.delete("compose")
        address = site.stack.postgres.url(site.stack.postgres.port)
        with psycopg.connect(address) as holding, psycopg.connect(address, autocommit=True) as watching:
            holding.execute("LOCK TABLE hub_composition IN EXCLUSIVE MODE")  # it can be read, and nothing in it be claimed
            for worker in workers:
                worker.signal(signal.SIGCONT)
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%LIMIT 1 FOR UPDATE SKIP LOCKED'"

            def both_wait() -> bool:
                if not bells.llen("compose"):  # a worker that was stopped while it asked for one loses it, and the clock that would ring again is stopped
                    site.ring(number)
                return watching.execute(waiting).fetchone() == (len(workers),)

            site.wait(both_wait)
            holding.rollback()
            site.wait(lambda: site.job(number)["attempts"] > 0 and watching.execute(waiting).fetchone() == (0,))
            assert site.job(number)["attempts"] == 1
    finally:
        for process in (clock, *workers):
            process.signal(signal.SIGCONT)
    site.check(number)


@fault("Redis is lost", "kill -9 and everything in it wiped while a job waits and another one is submitted", "both jobs end: the rows are the queue")
def test_redis_is_killed_and_wiped(site: Site) -> None:
    with site.held("before-redis-died", *SEARCHING[:1], **SEARCHING[1]) as (number, _):
        waiting = site.submit("waited-for-redis")
        site.stack.redis.kill()
        site.stack.redis.wipe()
        late = site.submit("came-without-redis")
        assert site.request("GET", "/adapters").status_code == 200
        site.stack.redis.start()
        site.stack.redis.ready()
    for one in (number, waiting, late):
        site.check(one, again=True)


@fault(
    "PostgreSQL is restarted",
    "stopped and started, and all its processes killed with -9, while a job searches",
    "the site says 503 in a sentence and recovers by itself; the job goes on with the same result",
)
@pytest.mark.parametrize("how", kinds("killed", more=["stopped"]))
def test_postgres_is_restarted(site: Site, how: str) -> None:
    with site.held(f"postgres-{how}", *SEARCHING[:1], **SEARCHING[1]) as (number, _):
        site.stack.postgres.stop() if how == "stopped" else site.stack.postgres.kill()
        answer = site.request("GET", "/adapters")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database-unavailable")
        page = httpx.get(f"{site.stack.url}/settings", cookies={"sessionid": "somebodys"}, timeout=60)
        assert page.status_code == 503 and "database does not answer" in page.text
        client = httpx.get(f"{site.stack.url}/api/models/owner/module-0", timeout=60)
        assert client.status_code == 503 and client.headers["Retry-After"]
        site.stack.postgres.start()
        site.stack.postgres.ready()
    assert site.insist("GET", "/adapters").status_code == 200
    site.check(number, again=True)


@fault(
    "the network between a worker and PostgreSQL is cut",
    "connections refused, hanging, reset, and packets lost without a word, while a job searches",
    "the worker waits and goes on, or another one takes over; whoever comes too late writes nothing; same result",
)
@pytest.mark.parametrize("mode", kinds(LOSING, more=[REFUSING, HANGING, RESETTING]))
def test_a_worker_loses_the_database(site: Site, mode: str) -> None:
    with site.held(f"database-{mode}", *SEARCHING[:1], **SEARCHING[1]) as (number, worker):
        site.stack.links[worker, "database"].cut(mode)
    if mode == HANGING:
        site.wait(lambda: site.job(number)["attempts"] > 1)  # for the others it is as good as dead
    else:
        site.wait(lambda: site.job(number)["attempts"] > 1 or site.job(number)["status"] in OVER or "trying again" in site.stack.workers[worker].said())
    site.stack.links[worker, "database"].heal()
    site.check(number, again=True)


@fault(
    "the network between the site and PostgreSQL is cut",
    "connections refused, and packets lost",
    "503 in a sentence, not an endless wait; afterwards the site answers again",
)
@pytest.mark.parametrize("mode", kinds(REFUSING, more=[LOSING]))
def test_the_site_loses_the_database(site: Site, mode: str) -> None:
    site.insist("GET", "/adapters")
    site.stack.links["web", "database"].cut(mode)
    answer = site.request("GET", "/adapters", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database-unavailable")
    site.stack.links["web", "database"].heal()
    assert site.insist("GET", "/adapters").status_code == 200


@fault(
    "the network to Redis is cut",
    "for site, clock and workers: refused, hanging, reset, packets lost",
    "pages, uploads and jobs are taken as before; jobs run once Redis is back, without anything being started again",
)
@pytest.mark.parametrize("mode", kinds(LOSING, more=[REFUSING, HANGING, RESETTING]))
def test_everybody_loses_redis(site: Site, mode: str) -> None:
    links = [link for (_, service), link in site.stack.links.items() if service == "broker"]
    for link in links:
        link.cut(mode)
    number = site.submit(f"broker-{mode}")
    assert site.request("GET", "/adapters").status_code == 200
    for link in links:
        link.heal()
    site.check(number)


@fault(
    "the network between a worker and the bucket is cut",
    "refused, reset, packets lost, when the result is to be stored",
    "the worker waits with its job, and publishes it when the bucket is back: nothing is computed again",
)
@pytest.mark.parametrize("mode", kinds(REFUSING, more=[RESETTING, LOSING]))
def test_a_worker_loses_the_bucket(site: Site, mode: str) -> None:
    with site.held(f"bucket-{mode}", "hub_logline", sentence="Writing the adapter") as (number, worker):
        site.stack.links[worker, "bucket"].cut(mode)
    site.wait(lambda: "trying again: The file store" in site.stack.workers[worker].said())
    assert site.job(number)["status"] == "running"
    site.stack.links[worker, "bucket"].heal()
    site.check(number)  # which says that no forward was made again


@fault(
    "the bucket misbehaves",
    "answers 500, is slower than S3_SECONDS, sends half of an object and hangs up, while files are uploaded and a job reads and writes",
    "an upload is refused with 503 in a sentence and nothing of it is visible, then succeeds; the job ends with the same result; no damaged byte is kept",
)
@pytest.mark.parametrize("trouble", kinds({"status": 500}, {"short": True}, more=[{"seconds": 6}]), ids=lambda trouble: next(iter(trouble)))
def test_the_bucket_misbehaves(site: Site, trouble: dict[str, Any]) -> None:
    name, other = f"bucket-{next(iter(trouble))}", f"while-{next(iter(trouble))}"
    for worker in site.stack.workers:
        site.forget_blobs(worker)
    site.stack.bucket.trouble(**trouble)
    number = site.submit(name)
    site.wait(lambda: any("trying again: The file store" in worker.said() for worker in site.stack.workers.values()))
    if "short" not in trouble:  # which harms reading alone
        files = [("files", (path, data)) for path, data in make.adapter(seed=41).items()]
        site.insist("POST", "/adapters", json={"name": other}, accept=["name-taken"])
        answer = site.request("POST", f"/adapters/owner/{other}/commits", files=files, data={"message": "Upload"}, timeout=120)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage-unavailable")
        assert site.request("GET", f"/adapters/owner/{other}").json()["sha"] is None
    site.stack.bucket.trouble()
    site.upload(other, seed=41)
    site.check(number)


@fault(
    "a site process dies while a commit lands",
    "kill -9 of every gunicorn worker in the middle of the transaction",
    "no revision is visible, the client sees an error and sends it again; gunicorn starts new processes",
)
def test_the_site_is_killed_before_a_commit_lands(site: Site) -> None:
    site.insist("POST", "/adapters", json={"name": "cut-commit"})
    files = [("files", (path, data)) for path, data in make.adapter(seed=42).items()]
    with site.holds.at("hub_revision", message="Cut off") as hold:
        answer = in_background(lambda: site.request("POST", "/adapters/owner/cut-commit/commits", files=files, data={"message": "Cut off"}))
        hold.wait()
        for pid in children(site.stack.web.pid):
            os.kill(pid, signal.SIGKILL)
        assert answer().status_code == 502
    assert site.insist("GET", "/adapters/owner/cut-commit").json()["sha"] is None
    site.upload("cut-commit", seed=42)


@fault(
    "a site process dies after a commit landed",
    "kill -9 of every gunicorn worker after the transaction, before the client is answered",
    "the revision is there, whole; the client that sends it again gets it as its answer, and there is no second one",
)
def test_the_site_is_killed_after_a_commit_landed(site: Site) -> None:
    site.insist("POST", "/adapters", json={"name": "late-answer"})
    site.insist("GET", "/adapters")
    files = [("files", (path, data)) for path, data in {**make.adapter(seed=43), "README.md": b"# late-answer\n"}.items()]
    site.stack.links["web", "broker"].cut(HANGING)  # the workers are rung for after the transaction
    answer = in_background(lambda: site.request("POST", "/adapters/owner/late-answer/commits", files=files, data={"message": "Upload"}))
    landed = "SELECT count(*) FROM hub_revision r JOIN hub_adapter a ON a.id = r.adapter_id WHERE a.name = 'late-answer'"
    site.wait(lambda: site.rows(landed) == [(1,)])
    for pid in children(site.stack.web.pid):
        os.kill(pid, signal.SIGKILL)
    site.stack.links["web", "broker"].heal()
    assert answer().status_code in (200, 201, 502)
    site.upload("late-answer", seed=43)
    assert site.rows(landed) == [(1,)]


@fault(
    "a worker's disk is full",
    "a disk of 64 kB, when it lays out a job, and for good",
    "the job waits, then fails with a sentence that names the disk; the worker lives, and the next job on a worker with room succeeds",
)
def test_a_workers_disk_is_full(site: Site) -> None:
    first, second = site.stack.workers.values()
    for worker in (first, second):
        worker.stop()
    first.environment |= {"DISK": "64k", "JOB_PATIENCE_SECONDS": "1"}
    try:
        first.start()
        job = site.over(site.submit("disk-full"))
        assert (job["status"], job["error_code"]) == ("failed", "storage-full"), (job, first.said())
        assert "disk is full" in job["error_message"] and first.runs
        first.stop()
    finally:
        first.environment = {name: value for name, value in first.environment.items() if name not in ("DISK", "JOB_PATIENCE_SECONDS")}
    second.start()
    site.check(site.submit("disk-free"))


@fault(
    "clocks differ",
    "a worker whose clock is an hour ahead, and one whose clock is an hour behind, beside one that runs a job",
    "nobody takes the job away and nobody loses it: heartbeats are written and judged by the database's clock",
)
@pytest.mark.parametrize("hours", kinds(1, more=[-1]))
def test_clocks_differ(site: Site, hours: int) -> None:
    first, second = site.stack.workers.values()
    second.stop()
    second.environment["SKEW"] = str(3600 * hours)
    name = f"skewed-{'ahead' if hours > 0 else 'behind'}"
    try:
        first.signal(signal.SIGSTOP)  # the worker with the wrong clock takes the first job
        second.start()
        with site.holds.at("hub_logline", sentence="Comparing") as hold:
            number = site.submit(name)
            hold.wait()
            first.signal(signal.SIGCONT)
            other = site.submit(f"beside-{name}")
            for _ in range(3):
                site.ring(number)
            hold.wait(count=2)  # the worker with the right clock has looked at both, and is as far with the other one
            for _ in range(20):
                (silent,) = site.rows("SELECT extract(epoch FROM clock_timestamp() - heartbeat_at) FROM hub_composition WHERE id = %s", number)[0]
                assert abs(silent) < 600, "written by the database's clock"
        for one in (number, other):
            site.check(one)
            taken = [line for line in site.log(one) if "Taken over" in line]
            assert len(taken) <= 1, "a machine under load may have been silent once; a wrong clock takes a job away with every look"
    finally:
        first.signal(signal.SIGCONT)
        second.stop()
        del second.environment["SKEW"]


@fault(
    "all of it, at random",
    "uploads and jobs while workers, site processes, Redis and PostgreSQL are killed, links are cut, and the bucket misbehaves; seeded",
    "every acknowledged upload is there byte for byte; every accepted job ends once, with one result and the same weights",
)
def test_a_short_soak(site: Site) -> None:
    told = soak.run(site, jobs=8, seconds=7, seed=7)
    assert told.jobs == 8 and told.faults > 0
