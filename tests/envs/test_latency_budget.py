"""Latency as a budget: only after a check that holds, and then enforced like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

import prunebench.envs  # noqa: F401 - registers the environment
from prunebench.envs.errors import TaskError
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.tasks import latency_budget
from prunebench.envs.tasks.preparation import ensure_prepared, forget_evaluator
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
