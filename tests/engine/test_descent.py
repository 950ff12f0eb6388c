"""The descent: few evaluations, never worse than its start, a pull that holds."""

import numpy as np
import pytest

from compose_worker.engine.descent import Descent

GOAL = np.array([1.0, -0.5, 0.25])
CURVES = np.diag([1.0, 4.0, 0.5])


class Bowl:
    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        away = x - GOAL
        return float(away @ CURVES @ away), 2 * CURVES @ away


def test_it_finds_the_bottom_of_a_bowl():
    bowl = Bowl()
    descent = Descent(bowl, np.zeros(3))
    descent.run(0.0, 14)
    assert descent.x == pytest.approx(GOAL, abs=0.02)
    assert bowl.calls <= 15


@pytest.mark.parametrize("pull", [0.1, 1.0, 10.0])
def test_the_pull_holds_it_back_as_the_formula_says(pull):
    descent = Descent(Bowl(), np.zeros(3))
    descent.run(pull, 20)
    assert descent.x == pytest.approx(np.linalg.solve(CURVES + pull * np.eye(3), CURVES @ GOAL), abs=0.02)


def test_a_weaker_pull_goes_on_from_where_it_was():
    bowl = Bowl()
    descent = Descent(bowl, np.zeros(3))
    descent.run(10.0, 6)
    held = descent.x
    descent.run(0.0, 8)
    assert np.linalg.norm(descent.x - GOAL) < 0.1 < np.linalg.norm(held - GOAL)
    assert bowl.calls <= 15  # the change of pull costs nothing


def test_it_never_ends_worse_than_it_began():
    def cliff(x):
        return (0.0 if np.linalg.norm(x) < 1e-3 else 100.0), -np.ones(2)

    descent = Descent(cliff, np.zeros(2))
    descent.run(0.0, 3)
    assert descent.loss == 0.0 and not descent.x.any()


def test_flat_ground_ends_it():
    bowl = Bowl()
    descent = Descent(bowl, GOAL.copy())
    descent.run(1.0, 10)
    assert bowl.calls == 1 and (descent.x == GOAL).all()
