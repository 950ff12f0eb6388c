"""What the page of a finished composition says beyond its charts: sample answers, rivals, effects on other text, and what became of the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.models import Adapter, Composition, User
from hub.web import charts

RESULTS = {"mix": "This mix", "single": "The result", "tuned": "The trained adapter", "nothing": "The mix, not published"}
RIVALS = {"best_single": "the best single adapter", "base": "the base model", "uniform": "the even mix"}
ALLOWING = ("medley", "medley+tune")  # parts of the examples judge their fits too harshly, so that a mix may win with a loss that is not the lowest
ANSWERERS = (("base", "Base model"), ("best_single", "Best single"), ("composed", "This result"))


@dataclass(frozen=True)
class Answer:
    """What one of the candidates wrote."""

    name: str
    text: str
    right: bool


@dataclass(frozen=True)
class Sample:
    """One example with what the candidates answered."""

    number: int
    input: str
    expected: str
    answers: list[Answer]


def context(job: Composition) -> dict[str, Any]:
    """Return what the report of a job shows."""
    report = job.report if isinstance(job.report, dict) else {}
    result = _result(job)
    return {
        "report": report,
        "took": (job.finished_at - job.started_at) if job.finished_at and job.started_at else None,
        "scores": charts.score_rows(job.scores, _result_name(job)),
        "rival": _rival(job),
        "makes_allowance": job.method in ALLOWING,
        "more_right": _more_right(job),
        "scored_on": (report.get("scored_on") or {}).get("composed", ""),
        "alone": charts.alone(report),
        "other_text": _other_text(report),
        "parts": charts.parts(report),
        "samples": samples(job, report),
        "samples_from": report.get("samples") or {},
        "answerers": [name for _, name in ANSWERERS],
        "result": result,
        "seen_by": seen_by(job.owner, result) if result is not None else "",
        "recipe": job.result.recipe if result is not None and job.result else None,
    }


def seen_by(user: User, adapter: Adapter) -> str:
    """Say who sees the adapter while it is private, as the user is told it."""
    owner = adapter.owner
    return f"members of {owner.username}" if owner.is_organization else "you" if owner == user else owner.username


def samples(job: Composition, report: Mapping[str, Any]) -> list[Sample]:
    """Return the sample answers beside the answers that were wanted; the report names rows, the words are the job's."""
    lines = (report.get("samples") or {}).get("rows") or []
    found = []
    for line in lines:
        if 0 <= line["row"] < len(job.examples):
            example = job.examples[line["row"]]
            wanted = example["output"].strip()
            answers = [Answer(name, line[key], line[key] == wanted) for key, name in ANSWERERS]
            found.append(Sample(line["row"] + 1, example["input"], wanted, answers))
    return found


def _result_name(job: Composition) -> str:
    if job.verdict == "nothing" and job.method == "tune":
        return "The training, not published"
    return RESULTS.get(job.verdict, "This mix")


def _result(job: Composition) -> Adapter | None:
    """Return the adapter that came out, if it still exists."""
    return job.result.adapter if job.result else None


def _rival(job: Composition) -> str:
    """Say what has a lower loss than the published mix; empty where nothing has.

    A method publishes such a mix that may not decline, or that makes allowance for fits to a part of the examples.
    """
    losses = {name: score["loss"] for name, score in job.scores.items()}
    return next((words for name, words in RIVALS.items() if losses.get(name, 9e9) < losses.get("composed", 0)), "")


def _more_right(job: Composition) -> str:
    """Say what answers more of the examples right than the published adapter, though its loss is not lower; empty where nothing does."""
    composed = job.scores.get("composed")
    rivals = [(job.scores[name]["accuracy"], words) for name, words in RIVALS.items() if job.scores.get(name)]
    best, words = max(rivals, key=lambda rival: rival[0], default=(0.0, ""))
    if not composed or best <= composed["accuracy"]:
        return ""
    return f"{words[:1].upper()}{words[1:]} answers more of the examples exactly right: {best:.0%} against {composed['accuracy']:.0%}"


def _other_text(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the adapter does to ordinary text, with the direction in words."""
    found = report.get("forgetting")
    return {**found, "direction": "rises" if found["change"] > 0 else "falls"} if isinstance(found, dict) else None
