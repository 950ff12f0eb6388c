"""A worker that knows a hub by its address and a worker token alone: no database, no broker, no secret key (docs/workers.md)."""

import argparse
import hashlib
import json
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from compose_worker import work
from compose_worker.cache import Cache, Mismatch
from compose_worker.client import DEAD_LINK, Hub, Refused
from compose_worker.engine import fingerprint, spec
from compose_worker.engine.errors import ComposeError

logger = logging.getLogger(__name__)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
POLL = 3.0  # seconds between two questions for work
GATHER = 0.5  # seconds for which measurements are gathered into one report
BATCH = 200  # measurements in one report
STAGES = 20  # stages in one report
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries to reach a hub that is away
PATIENCE = 900.0  # seconds for which a result is offered to a hub that is away, and what a job needs is asked for
FAREWELL = 20.0  # the same for a job that is handed back
AFTER_FAULT = 30.0  # seconds of rest after something broke here
Found = TypeVar("Found")


@dataclass(frozen=True)
class Bases:
    """Which base models this worker serves, and those that it has itself."""

    patterns: tuple[str, ...]
    folder: Path

    def own(self, name: str) -> Path:
        """Return the folder that a base model has or would have here."""
        return self.folder / name.replace("/", "--")

    def present(self) -> list[str]:
        """List the base models in the folder."""
        return sorted(path.parent.name.replace("--", "/", 1) for path in self.folder.glob("*/config.json"))


class Job:
    """A job of a hub far away. Measurements are gathered, and sent again until the hub has them."""

    def __init__(self, hub: Hub, cache: Cache, bases: Bases, machine: work.Machine, given: Mapping[str, Any], stopping: threading.Event) -> None:
        self._hub, self._cache, self._bases, self._machine, self._given, self._stopping = hub, cache, bases, machine, given, stopping
        self.number = int(given["run"])
        self.pause = float(given["heartbeat_seconds"])
        self.wishes = work.Wishes(enough=bool(given["finish_requested"]))
        self.check: Callable[[], None] = lambda: None
        self.status = "running"
        self.broke = False  # something did here, so that another worker has to go on
        self._lock = threading.RLock()
        self._budget: int | None = None
        self._stages: list[dict[str, str]] = []
        self._evaluations: list[dict[str, Any]] = []
        self._best: dict[str, Any] | None = None
        self._next, self._pause = 0.0, 0.0  # when to send again, and how long to wait after a failure

    def told(self) -> AbstractContextManager[None]:
        """Change nothing: errors have their names."""
        return nullcontext()

    def prepare(self, folder: Path) -> spec.Spec:
        """Fetch what is not here, and gather what the engine takes."""
        given = self._given
        (folder / work.OUT).mkdir(parents=True)
        examples = tuple(spec.Example(e["input"], e["output"]) for e in given["examples"])
        base = str(self._base()) if examples else ""
        return spec.Spec(
            base_model=given["base_model"],
            base_path=base,
            base_revision=given["base_revision"] or (fingerprint.of(base) if base else ""),
            modules=tuple(self._module(one, folder / str(index)) for index, one in enumerate(given["modules"])),
            examples=examples,
            method=given["method"],
            settings=given["settings"],
            seed=given["seed"],
            name=given["name"],
            description=given["description"],
            out_dir=str(folder / work.OUT),
            history=tuple(_evaluation(e) for e in given["history"]),
            shortlist=given["shortlist"],
            samples=work.SAMPLES,
            **asdict(self._machine),
        )

    def plan(self, total: int) -> None:
        """Keep how many evaluations the job takes."""
        with self._lock:
            self._budget = total

    def stage(self, name: str, sentence: str) -> None:
        """Keep what begins now, and tell the hub at once if it is there."""
        with self._lock:
            self._stages.append({"name": name, "sentence": sentence[:500]})
        self._send_if_due(at_once=True)

    def record(self, evaluation: spec.Evaluation) -> work.Wishes:
        """Append a measured candidate to what is told next."""
        with self._lock:
            self._evaluations.append({**asdict(evaluation), "detail": dict(evaluation.detail)})
        self._send_if_due()
        return self.wishes

    def improve(self, weights: Mapping[str, float], loss: float) -> None:
        """Keep the best weights so far."""
        with self._lock:
            self._best = {"weights": dict(weights), "loss": loss}

    def beat(self) -> work.Wishes:
        """Tell the hub what is new, or just that this worker lives."""
        self._send()
        return self.wishes

    def rest(self) -> None:
        """Do nothing: connections are shared."""

    def finish(self, result: spec.Result, folder: Path) -> None:
        """Tell all measurements, then send the result."""
        said = {
            "weights": result.weights,
            "scores": {name: asdict(score) for name, score in result.scores.items()},
            "verdict": result.verdict,
            "summary": result.summary,
            "report": result.report,
            "files": [{"path": path, "sha256": _sha256(folder / path)} for path in result.files],
        }
        text = json.dumps(said, allow_nan=False)

        def send() -> Any:
            self._send()  # also says whether a result that was sent before has arrived: then the claim is gone
            with ExitStack() as opened:
                files = [("files", (path, opened.enter_context((folder / path).open("rb")), "application/octet-stream")) for path in result.files]
                # A form without files would not be multipart.
                return self._call("finish", files=[*files, ("result", (None, text))])

        try:
            self.status = self._insist(send, PATIENCE)["status"]
        except Refused as error:
            if error.status == 413:
                raise ComposeError(error.code, error.message) from error
            raise

    def fail(self, code: str, message: str) -> None:
        """End the job with an error; where something broke here, or a link does not lead anywhere, the hub may have another worker go on."""
        self.broke, self.check = code in ("internal", DEAD_LINK), lambda: None

        def send() -> Any:
            if not self.broke:
                self._send()
            return self._call("fail", said={"code": code, "message": message[:1000]})

        self.status = self._insist(send, PATIENCE)["status"]

    def cancelled(self) -> None:
        """End the job because its owner asked for it."""
        self.release()

    def release(self) -> None:
        """Hand the job back, with all measurements."""

        def send() -> Any:
            self._send()
            return self._call("release")

        self.status = self._insist(send, FAREWELL)["status"]

    def _call(self, what: str, **body: Any) -> Any:
        try:
            return self._hub.call(f"runs/{self.number}/{what}", claim=self._given["claim"], **body)
        except Refused as error:
            if error.status in (401, 404) or error.code == "claim-lost":
                raise work.Lost(error.message) from error
            raise

    def _send(self) -> None:
        """Report until nothing is left to be told, at least once."""
        with self._lock:
            while True:
                stages, evaluations, best = self._stages[:STAGES], self._evaluations[:BATCH], self._best
                body = {"budget": self._budget, "stages": stages, "evaluations": evaluations, "best": best}
                try:
                    orders = self._call("report", said=body)
                except work.Away:
                    self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
                    self._next = time.monotonic() + self._pause
                    raise
                self._pause, self._next = 0.0, time.monotonic() + GATHER
                self._budget, self._best = None, None
                del self._stages[: len(stages)], self._evaluations[: len(evaluations)]
                self.wishes = work.Wishes(orders["cancelled"], self.wishes.enough or orders["enough"])
                if not self._stages and not self._evaluations:
                    return

    def _send_if_due(self, *, at_once: bool = False) -> None:
        """Report if it is time; while the hub is away the engine goes on, and what it measures waits."""
        now = time.monotonic()
        if now >= self._next or (self._pause == 0.0 and (at_once or len(self._evaluations) >= BATCH)):
            try:
                self._send()
            except work.Away as error:
                logger.warning("the hub is away: %s", error)

    def _insist(self, call: Callable[[], Found], patience: float) -> Found:
        """Call until the hub hears it, for so many seconds, or until `check` ends it; then the job is as good as lost."""
        until, pause = time.monotonic() + patience, FIRST_PAUSE
        while True:
            try:
                return call()
            except work.Away as error:
                if time.monotonic() + pause > until:
                    raise work.Lost(f"the hub was away for too long: {error}") from error
                logger.warning("trying again in %.0f s: %s", pause, error)
            self.check()
            self._stopping.wait(pause) if not self._stopping.is_set() else time.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _base(self) -> Path:
        name, revision = self._given["base_model"], self._given["base_revision"]
        own = self._bases.own(name)
        if (own / "config.json").is_file():
            return own
        if not revision:
            raise ComposeError("base-model-unavailable", f"No worker has the base model {name}. Ask the hub's operator to add it.")
        return self._insist(lambda: self._cache.base(name, revision, lambda folder: self._hub.base(name, revision, folder)), PATIENCE)

    def _module(self, one: Mapping[str, Any], folder: Path) -> spec.Module:
        folder.mkdir()
        for path, file in ((CONFIG, one["config"]), (WEIGHTS, one["weights"])):
            self.check()
            (folder / path).hardlink_to(self._insist(lambda file=file: self._fetch(file), PATIENCE))
        return spec.Module(
            id=one["id"],
            revision=one["revision"],
            path=str(folder),
            weights_sha256=one["weights"]["sha256"],
            config_sha256=one["config"]["sha256"],
            licence=one["licence"],
        )

    def _fetch(self, file: Mapping[str, Any]) -> Path:
        try:
            return self._cache.file(file["sha256"], file["size"], lambda: self._hub.bytes(file["url"]))
        except Mismatch as error:
            raise work.Away(str(error)) from error
        except Refused as error:
            raise ComposeError(error.code, error.message) from error


class Worker:
    """Asks for jobs, one at a time, until it is told to stop."""

    def __init__(self, hub: Hub, cache: Cache, bases: Bases, machine: work.Machine) -> None:
        self.hub, self.cache, self.bases, self.machine = hub, cache, bases, machine
        self.stopping = threading.Event()
        self.instance = secrets.token_hex(4)  # no name of this machine: people see it beside their jobs
        self.warm = ""

    def run(self) -> int:
        """Work until `stopping` is set; return the exit code, 1 where the hub does not want this worker."""
        pause = FIRST_PAUSE
        while not self.stopping.is_set():
            work.show_alive()
            try:
                rest = self.turn()
            except work.Away as error:
                logger.warning("the hub is away: %s", error)
                rest, pause = pause, min(LONGEST_PAUSE, 2 * pause)
            except Refused as error:
                logger.error("%s", error)
                return 1
            else:
                pause = FIRST_PAUSE
            self.stopping.wait(rest)
        return 0

    def turn(self) -> float:
        """Run one job, if there is one, and return how many seconds to rest then."""
        asked = {"instance": self.instance, "device": _device(self.machine.device), "bases": self.bases.patterns, "folders": self.bases.present()}
        given = self.hub.call("claim", said={**asked, "warm": self.warm})
        if given is None:
            return POLL
        job = Job(self.hub, self.cache, self.bases, self.machine, given, self.stopping)
        logger.info("job %s: begun at candidate %s", job.number, len(given["history"]))
        status = work.run(job, self.cache.scratch, self.stopping)
        logger.info("job %s: %s", job.number, status)
        self.warm = given["base_model"]
        return AFTER_FAULT if job.broke else 0.0


def main(arguments: list[str]) -> int:
    """Work for the hub of `--remote URL` until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m compose_worker")
    parser.add_argument("--remote", metavar="URL", required=True, help="the hub's address; WORKER_TOKEN in the environment lets this worker in")
    url = parser.parse_args(arguments).remote
    token = os.environ.get("WORKER_TOKEN", "")
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel("WARNING")
    if not token or not url.startswith(("https://", "http://")):
        parser.error("set WORKER_TOKEN to a worker token, and give the hub's address as https://...")
    if url.startswith("http://"):
        logger.warning("%s is not encrypted: the token, examples and adapters can be read on the way", url)
    env = os.environ.get
    folder = Path(env("WORKER_CACHE") or Path.home() / ".cache" / "medley-worker")
    worker = Worker(
        Hub(url, token),
        Cache(folder, int(env("WORKER_CACHE_MB") or 50_000) * 1_000_000),
        Bases(tuple(p for p in (env("WORKER_BASES") or "").split(",") if p), Path(env("MEDLEY_BASE_MODELS") or folder / "base-models")),
        work.Machine(
            device=env("COMPOSE_DEVICE") or "auto",
            dtype=env("COMPOSE_DTYPE") or "auto",
            forward_tokens=int(env("COMPOSE_FORWARD_TOKENS") or 0),
            keep_bases=int(env("COMPOSE_BASES_MB") or 8192) * 1_000_000,
            keep_modules=int(env("COMPOSE_MODULES_MB") or 512) * 1_000_000,
        ),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread: the one that is interrupted may hold the event's lock.
        signal.signal(number, lambda *_: threading.Thread(target=worker.stopping.set).start())
    import compose_worker.engine.run  # noqa: F401  (torch takes seconds to load: not while a job waits for it)

    logger.info("working for %s as %s", url, worker.instance)
    return worker.run()


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _evaluation(row: Mapping[str, Any]) -> spec.Evaluation:
    rows = None if row["rows"] is None else tuple(row["rows"])
    return spec.Evaluation(row["step"], row["phase"], tuple(map(float, row["weights"])), float(row["loss"]), rows, row["detail"])


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
