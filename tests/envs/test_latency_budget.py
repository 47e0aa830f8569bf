"""Latency as a budget: only after a check that holds, and then enforced like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

import prunebench.envs  # noqa: F401 - registers the environment
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation import latency
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.tasks import latency_budget
from prunebench.envs.tasks.preparation import ensure_prepared, forget_evaluator, load_evaluator
from prunebench.envs.tasks.task import TaskConfig


@pytest.fixture
def task(checkpoint: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskConfig]:
    """A prepared task on a machine that takes as many nanoseconds as there are parameters."""
    task = TaskConfig("resnet20", checkpoint("resnet20"), reward_images=20, calibration_images=20, split_seed=1)
    ensure_prepared(task)
    monkeypatch.setattr(latency_budget, "measure", lambda *args, **kwargs: None)
    monkeypatch.setattr(latency_budget, "fit", lambda network, table: cost_formulas.parameters(network))
    yield task
    forget_evaluator()


def checked(monkeypatch: pytest.MonkeyPatch, holds: bool) -> None:
    found = SimpleNamespace(holds=holds, sentence="latency may not be a budget here: noise")
    monkeypatch.setattr(latency_budget, "check", lambda *args, **kwargs: found)


def test_where_the_check_fails_latency_is_refused_and_nothing_kept(
    task: TaskConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked(monkeypatch, holds=False)
    for _ in range(2):
        with pytest.raises(TaskError, match=r"cost 'latency': latency may not be a budget here.*counted, as 'macs'"):
            latency_budget.load_latency(task)


def test_the_environment_keeps_policies_below_the_latency(task: TaskConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(monkeypatch, holds=True)
    env = gymnasium.make(
        "prunebench/ChannelPruning-v0", preserve=0.7, cost="latency", disable_env_checker=True, **vars(task)
    )
    monkeypatch.delattr(latency_budget, "measure")  # from the cache now
    cost = latency_budget.load_latency(task)
    _, info = env.reset()
    np.testing.assert_array_equal(info["cost"]["weight"], cost.weight)
    for ratio in [0.9] * len(info["layers"]["name"]):
        *_, step = env.step(np.array([ratio], dtype=np.float32))
    evaluation = step["evaluation"]
    assert evaluation["feasible"]
    dense = cost(info["layers"]["channels"])
    assert evaluation["cost"] == pytest.approx(cost(evaluation["channels"]) / dense)
    assert evaluation["cost"] <= 0.7 < 0.9


@pytest.mark.parametrize(("preserve", "cost"), [(1.0, 1.0), (0.9, 0.9)])
def test_large_budgets_are_met_where_little_can_be_pruned(
    preserve: float, cost: float, task: TaskConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of the cost is a constant: half the MACs cannot be reached, nine tenths can."""
    heavy = cost_formulas.macs(load_evaluator(task).network)
    dense = float(heavy(load_evaluator(task).dense))
    one = np.eye(1, heavy.inputs.shape[1])
    heavy = CostModel(
        np.append(heavy.weight, 0.9 * dense), np.vstack([heavy.inputs, one]), np.vstack([heavy.outputs, one])
    )
    measured = CostModel(heavy.weight * 0.3, heavy.inputs, heavy.outputs)
    monkeypatch.setitem(load_evaluator(task).costs, "macs", heavy)
    monkeypatch.setattr(latency_budget.Evaluator, "folded", lambda self: self)
    monkeypatch.setattr(latency_budget, "fit", lambda network, table: measured)
    monkeypatch.setattr(latency_budget, "_path", lambda task: latency_budget.cache.path("latency", {"test": preserve}))
    asked: list[float] = []

    def found(evaluator: Any, model: Any, batch: Any, *, preserve: float, **rest: Any) -> SimpleNamespace:
        counts = latency.similar_policies(evaluator, 20, preserve, seed=0)
        asked.append(len(np.unique(counts, axis=0)))
        return SimpleNamespace(holds=True, sentence="")

    monkeypatch.setattr(latency_budget, "check", found)
    env = gymnasium.make(
        "prunebench/ChannelPruning-v0", preserve=preserve, cost="latency", disable_env_checker=True, **vars(task)
    )
    _, info = env.reset()
    assert asked == [20]
    for _ in info["layers"]["name"]:
        *_, step = env.step(np.array([1.0], dtype=np.float32))
    evaluation = step["evaluation"]
    assert evaluation["feasible"]
    assert cost - 0.01 < evaluation["cost"] <= cost
    assert (evaluation["channels"] == list(info["layers"]["channels"])) == (preserve == 1)


def test_half_the_macs_are_checked_where_there_is_room(task: TaskConfig) -> None:
    assert latency_budget._checked_share(load_evaluator(task)) == 0.5
