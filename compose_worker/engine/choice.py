"""Decides what is published: the mix that was found, a single module, the uniform mean, or nothing; and says why in words."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compose_worker.engine import benefit, cutting, merge, scores
from compose_worker.engine.cutting import Cuts
from compose_worker.engine.export import Change
from compose_worker.engine.scores import Rows
from compose_worker.engine.search import Found, Task
from compose_worker.engine.spec import Score

HELD_OUT = "examples held out in turn"
HELD_OUT_AND_CUT = "examples held out in turn, counting what the cut to its rank changes"
ALL = "all examples; nothing was learned from them"
FITTED = "the examples it was fitted to, so new ones will go worse"
SHARE, NATS = 0.5, 5.0  # of a candidate's loss, and over all examples: how much more fits to a part of them may lose, and their mean still beat it
ENOUGH, FEWER = 10, 0.1  # of so many examples and more, a mix may have so much smaller a share right than what it competes with
PICKED = "the examples it was picked on, so new ones may go worse"


@dataclass(frozen=True)
class Choice:
    """The candidate that is published and how every candidate did."""

    candidate: str  # "mix", "uniform", "single" or "base"
    verdict: str  # "mix", "single", "tuned" or "nothing"
    weights: tuple[float, ...]
    scores: dict[str, Score]
    scored_on: dict[str, str]
    losses: dict[str, float]  # by candidate, on the rows that decide
    summary: str
    change: Mapping[str, Change] | None = None  # what is published instead of the weighted modules, by layer
    layers: Mapping[str, Sequence[float]] | None = None  # by layer, where every layer has weights of its own; `weights` are their means
    is_cut: bool = False  # whether what is published lacks a part without which it does worse on the examples


def choose(
    task: Task, found: Found, ids: Sequence[str], rivals: Sequence[str], helped: bool = False, cuts: Cuts | None = None, barred: Collection[str] = ()
) -> Choice:
    """Take the candidate that the rows held out speak for; a method without rivals publishes what it found.

    `helped` says that the modules are known to help. What is known of `cuts` counts for the candidates that would be cut; those that are `barred`
    cannot be written.
    """
    tokens = task.evaluator.tokens
    best = task.best_single()
    rows = {"base": scores.whole(task.base), "uniform": scores.whole(task.uniform)}
    on = {"base": ALL, "uniform": ALL, "best_single": PICKED, "composed": FITTED}
    rows["single"] = scores.whole(best)
    fitted = found.held_out is None and found.learned and not rivals  # and so was picking: like is compared with like
    if task.folds and len(task.alone) > 1 and not fitted:
        rows["single"], _ = scores.held_out_best([task.singles[i] for i in task.alone], task.folds, tokens)
        on["best_single"] = HELD_OUT
    elif len(task.alone) == 1:
        on["best_single"] = ALL
    rows["mix"] = scores.whole(found.fitted) if found.held_out is None else found.held_out
    is_one = task.uniform.weights == best.weights
    is_single = found.change is None and bool((found.mix == np.array(best.weights)).all())
    known = dict(cuts or {})
    if "single" in known:
        known |= {name: known["single"] for name, is_same in (("mix", is_single), ("uniform", is_one)) if is_same}
    rows = {name: cutting.counted(r, known[name]) if name in known else r for name, r in rows.items()}
    losses = {name: scores.loss(r, tokens) for name, r in rows.items()}
    out = {*barred, *(["mix"] if is_single and rivals else [])}  # of a module and a mix that is the same, the module
    possible = {name: math.inf if name in out else loss for name, loss in losses.items()}
    alone = scores.loss(known["single"].file if "single" in known else scores.whole(best), tokens)
    if "mix" in known and scores.loss(known["mix"].file, tokens) >= alone:
        found = replace(found, partial=False)  # its file has seen all examples, and does no better on them: there is nothing to allow for
    competing = _competing(rivals, possible, math.inf if "single" in barred else alone, is_one)
    candidate = _candidate(possible, found, competing, 1 / sum(tokens), {name: r.exact for name, r in rows.items()})
    if _is_nothing(task, found, rivals, candidate, rows, helped, candidate in known):
        candidate = "base"
    weights = {"base": task.base.weights, "single": best.weights, "uniform": task.uniform.weights, "mix": found.weights}[candidate]
    shown = "mix" if candidate == "base" else candidate  # when nothing helped, show what the mix would have been
    on["composed"] = {"uniform": ALL, "single": on["best_single"], "mix": _scored_on(found)}[shown]
    on |= {key: HELD_OUT_AND_CUT for key, name in (("best_single", "single"), ("composed", shown)) if name in known and on[key] == HELD_OUT}
    best_id = ids[next(i for i in task.alone if task.singles[i] is best)]
    table = {
        "base": scores.score(rows["base"], tokens),
        "best_single": scores.score(rows["single"], tokens, best_id),
        "uniform": scores.score(rows["uniform"], tokens),
        "composed": scores.score(rows[shown], tokens, best_id if shown == "single" else None),
    }
    verdict = _verdict(task.method, weights, found, candidate)
    outdone = losses["mix"] < losses["single"] and _is_less_often_right(rows["mix"].exact, rows["single"].exact)
    change = found.change if candidate == "mix" else None
    layers = task.evaluator.bank.by_layer(found.layers) if candidate == "mix" and found.layers is not None else None
    only = next(name for name, weight in zip(ids, weights, strict=True) if weight) if candidate == "mix" and verdict == "single" else None
    picked = on["best_single"] in (HELD_OUT, HELD_OUT_AND_CUT)
    several, parted = len(task.kept) > 1, bool(task.folds)
    said = _Said(task.method, candidate, verdict, table, found, best_id, alone, picked, outdone, several, parted, only, frozenset(known), frozenset(barred))
    is_cut = shown in known and cutting.is_worse(known[shown], tokens)
    return Choice(candidate, verdict, weights, table, on, losses, _summary(said), change, layers, is_cut)


def _is_nothing(task: Task, found: Found, rivals: Sequence[str], candidate: str, rows: Mapping[str, Rows], helped: bool, cut: bool) -> bool:
    """Whether the base model is what remains: because no module helps, or because what is cut from the files took away what did."""
    tokens = task.evaluator.tokens
    if "base" in rivals and not helped and not benefit.helps(task, found, rows):
        return True
    if not cut:
        return False
    if "base" in rivals:
        return not benefit.remains(candidate, candidate == "mix" and found.change is not None, rows, tokens)
    return found.learned and scores.loss(rows["mix"], tokens) >= scores.loss(rows["base"], tokens)


def _competing(rivals: Sequence[str], losses: Mapping[str, float], alone: float, is_one: bool) -> list[str]:
    """The rivals, among them the uniform mean only where it has a lower loss than the best single module has on all examples, which is `alone`.

    Where that module is all that is averaged (`is_one`) they are the same.

    Held-out rows judge modules that were picked without them; the one that is published was picked on all, while the mean needs no picking.
    On upstream tasks the mean did worse on new rows where it won by the held-out rows only (`docs/benchmarks/README.md`).
    """
    return [name for name in rivals if name != "uniform" or (losses[name] < alone and not is_one)]


def _verdict(method: str, weights: Sequence[float], found: Found, candidate: str) -> str:
    used = [weight for weight in weights if weight != 0.0]
    if candidate == "mix" and found.layers is not None and found.layers.any():
        return "mix"
    if not used:
        return "tuned" if candidate == "mix" and found.change is not None else "nothing"
    return "single" if used == [1.0] and (candidate != "mix" or found.change is None or merge.is_sum(method)) else "mix"


def _scored_on(found: Found) -> str:
    if found.held_out is not None:
        return HELD_OUT
    return FITTED if found.learned else ALL


def _candidate(
    losses: dict[str, float],
    found: Found,
    rivals: Sequence[str],
    nat: float,
    exact: Mapping[str, Sequence[bool]] | None = None,
) -> str:
    """The rival with the lowest loss, unless the mix beats it.

    It must beat the base by more than what may be chance. What is held out judges fits to a part of the examples alone, while their mean, which
    is published, has seen all: against other candidates they are allowed for, but not against one that gets every example right already.
    A lower loss does not make up for clearly fewer right answers, where there are enough examples to tell.
    """
    if not rivals:
        return "mix"
    best = min(rivals, key=lambda name: losses[name])  # on a tie the simpler one
    doubt = scores.DOUBT * nat
    if found.held_out is None or losses["mix"] + doubt >= losses["base"]:
        return best
    if exact is not None and _is_less_often_right(exact["mix"], exact[best]):
        return best
    flawless = exact is not None and all(exact[best])
    allowed = min(SHARE * losses[best], NATS * nat) if found.partial and not flawless else 0.0
    return "mix" if losses["mix"] + doubt < losses[best] + allowed else best


def _is_less_often_right(mix: Sequence[bool], rival: Sequence[bool]) -> bool:
    return len(rival) >= ENOUGH and sum(mix) < sum(rival) - FEWER * len(rival)


@dataclass(frozen=True)
class _Said:
    """What the finding is put into words from."""

    method: str
    candidate: str
    verdict: str
    table: Mapping[str, Score]
    found: Found
    best: str  # id of the module that is best alone, with this loss on all examples
    alone: float
    picked: bool  # whether the score of the best single module is that of picking one without the examples it is judged on
    outdone: bool
    several: bool  # whether there were modules to mix
    parted: bool  # whether there were folds
    only: str | None  # id of the module that the mix is, where it is one module as it is
    cut: frozenset[str]  # candidates of which it is known what cutting their ranks costs
    barred: frozenset[str]  # candidates that cannot be written


def _summary(said: _Said) -> str:
    table, found = said.table, said.found
    base, composed = table["base"], table["composed"]
    if said.verdict == "nothing" and said.candidate == "mix":
        return _nothing_made(said)
    if said.verdict == "nothing" and said.cut:
        return (
            f"Cut to the rank or size allowed, what was found is not clearly better than the base model (loss {composed.loss:.3f} against {base.loss:.3f}). "
            "No adapter was published. Allow a larger rank or file."
        )
    if said.verdict == "nothing":
        learned = (
            f" A weight of its own for every adapter and layer gives {composed.loss:.3f}, but so many weights learn as much from adapters of random numbers; "
            "the method 'tune' learns from examples alone."
        )
        picked = f"; one picked without the examples that judge it, {table['best_single'].loss:.3f}" if said.picked else ""
        return (
            "Nothing here helps: no adapter does clearly better than the base model "
            f"(loss {base.loss:.3f}; the best one alone, {said.best}, {said.alone:.3f}{picked})."
            f"{learned if found.layers is not None and composed.loss < base.loss else ''} No adapter was published. Try other adapters or more examples."
        )
    numbers = f"loss {composed.loss:.3f} and {composed.accuracy:.0%} right, against {base.loss:.3f} and {base.accuracy:.0%} for the base model"
    of = " of what can be written" if said.barred else ""
    if said.candidate == "single":
        picked = "picked without the examples that judge it, one adapter has " if said.picked else ""
        best = "does best of all that were tried alone" if said.method == "select" and said.several else f"alone does best{of}"
        return f"The adapter {said.best} {best}: {picked}{numbers}.{_of_the_mix(said)}"
    single = table["best_single"]
    whose = f"picking the best single adapter ({said.best} on all of them)" if said.picked else f"the best single adapter ({said.best})"
    against = f"{single.loss:.3f} and {single.accuracy:.0%} for {whose}"
    if said.candidate == "uniform":
        return f"The plain mean of the adapters does best{of}: {numbers} and {against}."
    made = "trained adapter" if said.verdict == "tuned" else "mix"
    where = "held-out examples" if found.held_out is not None else "the examples it was fitted to (none were held out)" if found.learned else "your examples"
    if said.only is not None:
        if "mix" in said.cut:
            uncut = f"{single.loss:.3f} and {single.accuracy:.0%} uncut" if said.only == said.best else against
            return f"On {where} the adapter {said.only} alone, cut to the rank or size allowed, has {numbers}, and {uncut}."
        return f"On {where} the adapter {said.only} alone has {numbers}{'' if said.only == said.best else f', and {against}'}."
    allowed = composed.loss >= single.loss and found.partial
    why = " Every fit knew a part of the examples only; what is published is their mean, which has seen all." if allowed else ""
    return f"On {where} the {made} has {numbers}, and {against}.{why}"


def _nothing_made(said: _Said) -> str:
    """Of a method that publishes what it makes, and made nothing."""
    if said.method == "tune" and not said.parted:
        return (
            "Nothing was trained: all examples ask the same question, so none could be held out to say how long to train. "
            "No adapter was published. Give examples with different inputs."
        )
    made, more = ("training", "more steps") if said.method == "tune" else ("search", "a larger budget")
    return (
        f"The {made} came to nothing better than the base model itself (loss {said.table['base'].loss:.3f}; "
        f"the best adapter alone, {said.best}, {said.alone:.3f}). "
        f"No adapter was published. Try more examples, {more}, or the method 'medley', which also publishes a single adapter if that does best."
    )


def _of_the_mix(said: _Said) -> str:
    """Why it was not the mix, where there was one to compare."""
    if said.method == "select" or said.found.held_out is None or "mix" in said.barred:
        return ""
    mix = "A mix" if said.several else "The same adapter with a weight for each layer"
    cut = ", cut to the rank or size allowed," if "mix" in said.cut else ""
    return f" {mix}{cut} {'had a lower loss on held-out examples, but fewer right answers' if said.outdone else 'did not do better on held-out examples'}."
