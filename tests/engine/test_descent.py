"""The descent: steps of one length, few gradients, and it goes on from where it was."""

import numpy as np
import pytest

from compose_worker.engine import descent
from compose_worker.engine.descent import Descent

GOAL = np.array([[1.0, -0.5], [0.25, 0.0]])
CURVES = np.array([[1.0, 40.0], [0.5, 3.0]])


class Bowl:
    def __init__(self, scale=1.0):
        self.calls, self.scale = 0, scale

    def __call__(self, x):
        self.calls += 1
        return 2 * self.scale * CURVES * (x - GOAL)


def loss(x):
    return float((CURVES * (x - GOAL) ** 2).sum())


def test_it_comes_near_the_bottom_of_a_bowl():
    bowl = Bowl()
    found = Descent(bowl, np.zeros((2, 2))).to(40)
    assert loss(found) < 0.05 * loss(np.zeros((2, 2)))
    assert bowl.calls == 40


def test_it_goes_on_only_when_asked():
    bowl = Bowl()
    whole, parts = Descent(bowl, np.zeros((2, 2))), Descent(bowl, np.zeros((2, 2)))
    assert (parts.to(0) == 0.0).all() and bowl.calls == 0
    parts.to(3)
    before = parts.to(3)
    assert bowl.calls == 3
    assert (parts.to(7) == whole.to(7)).all()
    assert not (before == parts.x).all()  # what was handed out is not changed behind one's back


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_no_step_is_much_longer_than_the_rate_whatever_the_scale(scale):
    first = Descent(Bowl(scale), np.zeros((2, 2))).to(1)
    assert 0.5 * descent.RATE < abs(first).max() < descent.RATE
    assert first == pytest.approx(Descent(Bowl(), np.zeros((2, 2))).to(1), rel=0.01)


def test_a_weight_with_little_effect_hardly_moves():
    first = Descent(Bowl(), np.zeros((2, 2))).to(1)
    slope = abs(Bowl()(np.zeros((2, 2))))  # 2 and 40; 0.25 and 0
    usual = np.array([[np.sqrt((2**2 + 40**2) / 2)], [0.25]])  # what has no effect at all does not count
    assert abs(first) == pytest.approx(descent.RATE * slope / (slope + usual) * (slope > 0))


def test_descents_side_by_side_do_not_see_each_other():
    other = np.full((2, 2), 7.0)
    both = Descent(lambda x: np.stack([Bowl()(x[0]), 100 * Bowl()(x[1])]), np.stack([np.zeros((2, 2)), other])).to(5)
    for found, start in zip(both, (np.zeros((2, 2)), other), strict=True):
        assert found == pytest.approx(Descent(lambda x: Bowl()(x[0])[None], start[None]).to(5)[0])


def test_flat_ground_is_left_alone():
    assert (Descent(Bowl(), GOAL.copy()).to(5) == GOAL).all()
