"""The table of costs: what is known of each, and that an entry alone makes a cost a budget."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
import reference

import prunebench.envs  # noqa: F401 - registers the environment
from prunebench.envs.environment.budget import BudgetError
from prunebench.envs.environment.channel_pruning import COUNTED
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.errors import TaskError
from prunebench.envs.progress import silent
from prunebench.envs.pruning.cost_formulas import cost_model
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.tasks import costs, inspection
from prunebench.envs.tasks.preparation import ensure_prepared, forget_evaluator, load_evaluator
from prunebench.envs.tasks.task import TaskConfig


def outputs(network: PrunableNetwork) -> CostModel:
    """Values that convolutions and linear layers put out."""
    one = np.eye(1, len(network.channels) + 1)[0]
    areas = (unit.out_hw[0] * unit.out_hw[1] for unit in network.units)
    sides = (unit.sides(network.channels)[1] for unit in network.units)
    return cost_model([(float(area), one, side) for area, side in zip(areas, sides, strict=True)])


OUTPUTS = costs.Counted("outputs", "outputs", "values", f"{__name__}:outputs")


def test_the_table_imports_nothing_heavy() -> None:
    code = "import sys, prunebench.envs.tasks.costs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", costs.COSTS)
def test_a_cost_is_named_once_and_known_before_anything_is_measured(name: str) -> None:
    network = reference.network("resnet20", "inner")
    cost = costs.named(name)
    assert cost.name == name
    model = cost.closed_form(network)
    assert 0 < model(np.array(network.channels) - 1) < model(network.channels)


def test_what_every_evaluation_counts_is_in_the_table() -> None:
    assert set(COUNTED) < set(costs.COSTS)
    facts = {"dense": {"macs": 7, "parameters": 5}, "latency_ns": 3, "outputs": 2}
    assert [cost.dense(facts) for cost in (*costs.COSTS.values(), OUTPUTS)] == [7, 5, 3, 2]
    assert [cost.predicted_label for cost in costs.COSTS.values()] == ["MACs", "parameters", "predicted latency"]


def test_an_unknown_cost_is_refused_before_anything_is_prepared() -> None:
    with pytest.raises(TaskError, match=r"cost 'mac' is unknown: .*did you mean 'macs'"):
        gymnasium.make("prunebench/ChannelPruning-v0", preserve=0.5, cost="mac", disable_env_checker=True)


def test_an_entry_makes_a_cost_a_budget(checkpoint: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(costs.COSTS, "outputs", OUTPUTS)
    monkeypatch.setattr(costs, "resolve_name", lambda name: outputs)  # a test is no module that processes could import
    task = TaskConfig("resnet20", checkpoint("resnet20"), reward_images=20, calibration_images=20)
    with pytest.raises(BudgetError):
        inspection.check_budget(task, "outputs", 0.01, 0.1)
    inspection.check_budget(task, "outputs", 0.8, 0.1)
    ensure_prepared(task)
    env = gymnasium.make(
        "prunebench/ChannelPruning-v0", preserve=0.8, cost="outputs", disable_env_checker=True, **vars(task)
    )
    _, info = env.reset()
    for ratio in [0.9] * len(info["layers"]["name"]):
        *_, last = env.step(np.array([ratio], dtype=np.float32))
    dense = OUTPUTS.prepare(task, silent)["outputs"]
    assert dense == outputs(load_evaluator(task).network)(info["layers"]["channels"])
    counts = last["evaluation"]["channels"]
    assert last["evaluation"]["cost"] == pytest.approx(outputs(load_evaluator(task).network)(counts) / dense)
    assert last["evaluation"]["cost"] <= 0.8
    forget_evaluator()
