"""What the page of a finished composition says beyond its charts: sample answers, rivals, effects on other text, and what became of the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compose_worker.engine import catalogue
from hub.models import Adapter, Composition, User
from hub.web import charts

RESULTS = {"mix": "This mix", "single": "The result", "tuned": "The trained adapter", "nothing": "The mix, not published"}
UNPUBLISHED = {"tune": "The training, not published", "select": "The adapter, not published"}
UNMIXED = ("select", "tune")  # methods in which no adapters are put together
NOT_MADE = {"tune": "The training came to nothing.", "cma": "The search came to nothing.", "lorahub": "The search came to nothing."}
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
    rival, more_right = _rival(job), _more_right(job)
    scored_on = report.get("scored_on") or {}
    cut = _cut_ranks(job, report)
    recipe = job.result.recipe if result is not None and job.result else None
    return {
        "report": report,
        "took": (job.finished_at - job.started_at) if job.finished_at and job.started_at else None,
        "scores": charts.score_rows(job.scores, _result_name(job), cut),
        "headline": _headline(job, report, rival, more_right, cut.get("composed")),
        "rival": rival,
        "more_right": more_right,
        "chosen_by_loss": job.method not in catalogue.GIVEN_WEIGHTS,
        "scored_on": scored_on.get("composed", ""),
        "single_scored_on": single if (single := scored_on.get("best_single", "")) != scored_on.get("composed", "") else "",
        "single_is_cut": "best_single" in cut,
        "mixes": job.method not in UNMIXED,
        "alone": charts.alone(report),
        "other_text": _other_text(report),
        "parts": charts.parts(report),
        "samples": samples(job, report),
        "samples_say": _samples_say(job, report),
        "samples_from": report.get("samples") or {},
        "answerers": [name for _, name in ANSWERERS],
        "result": result,
        "result_hidden": job.result.adapter.repo_id if job.result and result is None else "",
        "seen_by": seen_by(job.owner, result) if result is not None else "",
        "recipe": recipe,
        "parents": [parent for parent in (recipe or {}).get("parents") or [] if parent.get("weight")],
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
    if job.verdict == "nothing" and job.method in UNPUBLISHED:
        return UNPUBLISHED[job.method]
    return RESULTS.get(job.verdict, "This mix")


def _result(job: Composition) -> Adapter | None:
    """Return the adapter that came out, if it still exists and the composition's owner may still see it."""
    return job.result.adapter if job.result and Adapter.objects.visible_to(job.owner).filter(pk=job.result.adapter_id).exists() else None


def _headline(job: Composition, report: Mapping[str, Any], rival: str, more_right: str, rank: int | None) -> str:
    """Say in one sentence what came out; its file has the rank, if it was cut."""
    if job.verdict == "nothing" and report.get("cuts"):
        return "Nothing helped once it was cut to the rank or size allowed."
    if job.verdict == "nothing":  # a search that makes nothing says little of the adapters
        return NOT_MADE.get(job.method, "Nothing helped.")
    if not job.scores:
        return "Put together as asked."
    alone = report.get("chosen") == "single"
    one = "One adapter as it is" if rank is None else f"One adapter, cut to rank {rank},"
    kinds = {"single": (one, "what it found"), "tuned": ("A newly trained adapter", "what it trained")}
    who, made = ("One adapter alone", "") if alone else kinds.get(job.verdict, ("A mix", "its mix"))
    if report.get("unwritten"):
        return f"{who} did best of what could be written."
    if not rival:
        return f"{who} {'has the lowest loss, but not the most right answers' if more_right else 'did best'}."
    worse = f"{who.replace('A mix', 'The mix')} did worse than {rival}"
    if job.method in ALLOWING and alone:
        return f"{worse} where it was picked without the examples that judge it; on all examples it did best."
    if job.method in ALLOWING:
        return f"{worse} where parts of the examples judged it, by less than what is allowed for that."
    return f"{worse}, but this method publishes no mix." if alone else f"{worse}. It is published because this method always publishes {made}."


def _cut_ranks(job: Composition, report: Mapping[str, Any]) -> dict[str, int]:
    """The ranks of the files whose scores the rows of the table tell, for those that were cut; the others are of adapters as they are."""
    cuts = report.get("cuts")
    known = {name: one["rank"] for name, one in cuts.items() if isinstance(one, dict) and isinstance(one.get("rank"), int)} if isinstance(cuts, dict) else {}
    shown = "mix" if report.get("chosen") in (None, "base") else str(report["chosen"])
    single = (job.scores.get("best_single") or {}).get("loss")
    found = {}
    for row, name in (("best_single", "single"), ("uniform", "uniform"), ("composed", shown)):
        score = job.scores.get(row)
        if score and (rank := known.get(name) or (known.get("single") if score["loss"] == single else None)):  # the same adapter is measured once
            found[row] = rank
    return found


def _samples_say(job: Composition, report: Mapping[str, Any]) -> str:
    """Say what the result that answers the samples knew of them."""
    if report.get("chosen") == "single" and len(report.get("singles") or {}) > 1:
        return "It was picked on these examples."
    if report.get("chosen") in ("single", "uniform") or job.method in catalogue.GIVEN_WEIGHTS:
        return "Nothing was learned from these examples."
    if (report.get("samples") or {}).get("held_out"):
        return f"The weights that answer here were learned without the example{', and nothing is cut from them' if report.get('cuts') else ''}."
    return "The result has seen these examples, so new ones will go worse."


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
