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
    found = SimpleNamespace(held_out=scores.Rows((), ()), partial=False)
    assert choice._candidate(losses, found, RIVALS, 1 / tokens) == wins
    assert choice._candidate(losses, found, (), 1 / tokens) == "mix"
    assert choice._candidate(losses, SimpleNamespace(held_out=None), RIVALS, 1 / tokens) == ("base" if base < single else "single")


@pytest.mark.parametrize(
    ("base", "single", "mix", "wins"),
    [
        (9.0, 5.0, 6.0, "mix"),
        (9.0, 5.0, 7.0, "single"),  # worse than knowing less explains
        (90.0, 30.0, 33.5, "mix"),
        (90.0, 30.0, 34.5, "single"),  # which is some nats, however many examples there are
        (6.5, 5.0, 6.0, "single"),  # not clearly better than nothing at all
        (9.0, 0.5, 0.4, "single"),  # a perfect module is the answer
        (2.0, 5.0, 1.5, "base"),
    ],
)
def test_fits_to_a_part_of_the_examples_are_allowed_for(base, single, mix, wins):
    losses = {"base": base, "single": single, "uniform": 80.0, "mix": mix}
    found = SimpleNamespace(held_out=scores.Rows((), ()), partial=True)
    assert choice._candidate(losses, found, RIVALS, 1.0) == wins


@pytest.mark.parametrize(("mix", "wins"), [(6.0, "single"), (4.5, "single"), (3.5, "mix")])
def test_one_that_gets_every_example_right_must_be_beaten_clearly(mix, wins):
    losses = {"base": 9.0, "single": 5.0, "uniform": 8.0, "mix": mix}
    found = SimpleNamespace(held_out=scores.Rows((), ()), partial=True)
    assert choice._candidate(losses, found, RIVALS, 1.0, exact={"single": [True] * 3, "mix": [True, False, False]}) == wins


@pytest.mark.parametrize(("uniform", "wins"), [(4.5, "single"), (3.5, "uniform")])
def test_the_mean_must_beat_the_module_that_is_published(uniform, wins):
    losses = {"base": 9.0, "single": 5.0, "uniform": uniform, "mix": 8.0}
    found = SimpleNamespace(held_out=scores.Rows((), ()), partial=False)
    assert choice._candidate(losses, found, choice._competing(RIVALS, losses, 4.0, is_one=False), 1.0) == wins
    assert choice._competing(RIVALS, losses, 4.0, is_one=True) == ["base", "single"]


@pytest.mark.parametrize(
    ("count", "mix", "single", "wins"),
    [
        (20, 5, 9, "single"),
        (20, 7, 9, "mix"),  # by chance, perhaps
        (20, 12, 9, "mix"),
        (9, 0, 9, "mix"),  # so few do not tell
        (10, 4, 6, "single"),
    ],
)
def test_a_mix_may_not_have_clearly_fewer_right_answers(count, mix, single, wins):
    losses = {"base": 9.0, "single": 5.0, "uniform": 8.0, "mix": 3.0}
    exact = {name: [True] * right + [False] * (count - right) for name, right in {"mix": mix, "single": single, "base": 0, "uniform": 0}.items()}
    found = SimpleNamespace(held_out=scores.Rows((), ()), partial=True)
    assert choice._candidate(losses, found, RIVALS, 1.0, exact=exact) == wins
