"""What is published: the simpler candidate unless the mix is clearly better."""

from types import SimpleNamespace

import pytest

from compose_worker.engine import choice, scores

RIVALS = ("base", "single", "uniform")


@pytest.mark.parametrize(
    ("base", "single", "mix", "wins"),
    [
        (9.0, 5.0, 5.0, "single"),
        (9.0, 5.0, 4.5, "single"),  # by less than what may be chance
        (9.0, 5.0, 3.5, "mix"),
        (2.0, 5.0, 1.5, "base"),
        (9.0, 5.0, 9.5, "single"),
    ],
)
def test_a_mix_must_be_clearly_better(base, single, mix, wins):
    tokens = 4  # of all examples together; the losses above are sums over them
    losses = {name: total / tokens for name, total in {"base": base, "single": single, "uniform": 8.0, "mix": mix}.items()}
    found = SimpleNamespace(held_out=scores.Rows((), ()))
    assert choice._candidate(losses, found, RIVALS, scores.DOUBT / tokens) == wins
    assert choice._candidate(losses, found, (), scores.DOUBT / tokens) == "mix"
    assert choice._candidate(losses, SimpleNamespace(held_out=None), RIVALS, scores.DOUBT / tokens) == ("base" if base < single else "single")
