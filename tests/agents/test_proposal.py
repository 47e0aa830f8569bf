"""On-budget policies and the search for the best candidate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.agents.parts.proposal import PolicySpace, propose
from prunebench.agents.parts.surrogate import PRESETS, Surrogate
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.toy import ToyEvaluator


def space(labels: list[int], low: float = 0.1, high: float = 1.0, preserve: float = 0.4) -> PolicySpace:
    toy = ToyEvaluator(len(labels))
    channels = np.asarray(toy.layers["channels"])
    cost = toy.costs["macs"]
    return PolicySpace(Budget(cost, channels, 0.1, preserve * float(cost(channels))), np.array(labels), low, high)


def test_expand_and_means() -> None:
    clusters = space([0, 1, 0, 2])
    np.testing.assert_array_equal(clusters.expand([0.2, 0.5, 0.9]), [0.2, 0.5, 0.2, 0.9])
    np.testing.assert_allclose(clusters.means([[0.2, 0.5, 0.4, 0.9]]), [[0.3, 0.5, 0.9]])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.35), st.floats(0.45, 1.0))
def test_on_budget_meets_the_budget_within_the_bounds(seed: int, low: float, high: float) -> None:
    box = space([0, 1, 2, 1, 0, 3], low, high)
    points = np.random.default_rng(seed).uniform(low, high, (5, 4))
    shifted = box.on_budget(points)
    cost = box.budget.cost(box.expand(shifted) * box.budget.channels)
    np.testing.assert_allclose(cost, box.budget.limit, rtol=1e-4)
    assert (cost <= box.budget.limit).all()
    assert shifted.min() >= low
    assert shifted.max() <= high
    for before, after in zip(points, shifted, strict=True):  # a shift keeps the order of the ratios
        order = np.argsort(before)
        assert (np.diff(after[order]) >= -1e-9).all()


def test_on_budget_agrees_with_the_budgets_own_shift() -> None:
    box = space(list(range(6)), low=1e-9)
    points = np.random.default_rng(0).uniform(0.2, 0.9, (4, 6))
    ours = box.on_budget(points)
    inside = (ours > 0.1).all(axis=1)  # theirs stops at the lower bound
    assert inside.any()
    np.testing.assert_allclose(ours[inside], box.budget.shift(points)[inside], atol=1e-6)


def test_candidates_near_the_incumbents_stay_in_the_box() -> None:
    box = space(list(range(40)), 0.2, 0.8)
    centres = np.full((2, 40), 0.75)
    near = box.near(centres, 400, 0.1, np.random.default_rng(0))
    assert near.min() >= 0.2
    assert near.max() <= 0.8
    moved = (near != 0.75).sum(axis=1)
    assert (moved[:200] == 40).all()
    assert 17 <= moved[200:].mean() <= 24
    assert moved.min() >= 1


def test_the_proposal_is_on_budget_and_better_than_ten_thousand_random_points() -> None:
    box = space(list(range(12)))
    rng = np.random.default_rng(0)
    inputs = box.on_budget(box.sobol(30, 0))
    rewards = -((inputs - rng.uniform(0.2, 0.9, 12)) ** 2).sum(axis=1)
    model = Surrogate(PRESETS["modern"], np.random.default_rng(0)).fit(inputs, rewards)
    points = propose(model, box, inputs[np.argsort(-rewards)[:5]], rng)
    point = points[0]
    np.testing.assert_allclose(box.budget.cost(point * box.budget.channels), box.budget.limit, rtol=1e-4)
    acquisition = LogExpectedImprovement(model, best_f=model.train_targets.max())
    with torch.no_grad():
        others = acquisition(torch.as_tensor(box.on_budget(box.sobol(10_000, 1)))[:, None])
        assert float(acquisition(torch.as_tensor(point)[None, None])) > float(others.max())


def test_the_proposal_depends_on_the_generator_alone() -> None:
    box = space([0, 1, 2])
    inputs = box.on_budget(box.sobol(8, 0))
    model = Surrogate(PRESETS["modern"], np.random.default_rng(0)).fit(inputs, inputs[:, 0])
    same = [propose(model, box, inputs[:2], np.random.default_rng(5)) for _ in range(2)]
    torch.manual_seed(99)
    same.append(propose(model, box, inputs[:2], np.random.default_rng(5)))
    assert same[0].tolist() == same[1].tolist() == same[2].tolist()
    assert propose(model, box, inputs[:2], np.random.default_rng(6)).tolist() != same[0].tolist()


def test_sobol_fills_the_box() -> None:
    points = space([0, 1, 2], 0.3, 0.7).sobol(64, 3)
    assert points.shape == (64, 3)
    assert points.min() >= 0.3
    assert points.max() <= 0.7
    assert points.mean(axis=0) == pytest.approx(0.5, abs=0.01)
