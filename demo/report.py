"""What the demo prints about a finished composition: the table, the weights, and a plain sentence of comparison."""

from collections.abc import Mapping
from typing import Any

from demo.terminal import table

Scores = Mapping[str, Mapping[str, Any]]


def score_table(scores: Scores, labels: Mapping[str, str]) -> str:
    """One line a candidate; candidates without a score published nothing."""
    rows = []
    for name, label in labels.items():
        score = scores.get(name)
        if score is None:
            rows.append([label, "nothing published", "", ""])
        else:
            rows.append([label, f"{score['accuracy']:.1%}", f"{score['low']:.0%} to {score['high']:.0%}", f"{score['loss']:.3f}"])
    return table(["", "accuracy", "95 % interval", "loss"], rows)


def weight_table(weights: Mapping[str, float]) -> str:
    """The weights by module, the largest in size first; modules without any are named below."""
    ordered = sorted(weights.items(), key=lambda item: (-abs(item[1]), item[0]))
    lines = table(["adapter", "weight"], [[name, f"{weight:+.3f}"] for name, weight in ordered if weight])
    left_out = [name for name, weight in ordered if not weight]
    return f"{lines}\nTried and left out: {', '.join(left_out)}." if left_out else lines


def verdict(scores: Scores, best_single: str) -> str:
    """Say how the composed adapter stands against the base model and the best single adapter."""
    composed, single, base = scores.get("composed"), scores["best_single"], scores["base"]
    if composed is None:
        return "No mix and no single adapter held up on the examples, so nothing was published."
    return f"{_against(composed, base, 'the base model')} {_against(composed, single, f'the best single adapter ({best_single})')}"


def _against(composed: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str:
    points = 100 * (composed["accuracy"] - other["accuracy"])
    nats = composed["loss"] - other["loss"]
    if abs(points) < 0.05 and abs(nats) < 0.0005:
        return f"It does exactly as well as {name}."
    accuracy = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accurate" if abs(points) >= 0.05 else "equally accurate"
    loss = f"its loss is {abs(nats):.3f} {'lower' if nats < 0 else 'higher'}" if abs(nats) >= 0.0005 else "its loss is the same"
    apart = composed["low"] > other["high"] or composed["high"] < other["low"]
    doubt = "" if apart or abs(points) < 0.05 else f" On {composed['n']} rows the intervals overlap, so this difference in accuracy may be chance."
    return f"Against {name} the composed adapter is {accuracy} and {loss}.{doubt}"
