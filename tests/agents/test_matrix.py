"""Every agent under circumstances that a run may meet and that a search may not survive, on the toy task. Slow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from searches import Recording

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, Score
from prunebench.envs.environment.toy import ToyEvaluator
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import parse
from prunebench.harness.perf.agents_own import MODELS, told

OURS = [name for name, entry in registry.registered().items() if entry.dist and entry.dist.name == "prunebench"]
SEARCHING = [name for name in OURS if name not in ("uniform", "global")]
LONG = 1000
SLOW_STEPS = ("ddpg", "sac")  # a thousand episodes of theirs take minutes, whatever the number of layers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


class Failing(ToyEvaluator):
    """Has no finite loss, and every accuracy there is, for a third of all policies."""

    def score(self, counts: tuple[int, ...]) -> Score:
        accuracy, loss = super().score(counts)
        kind = hash(counts) % 6  # not a sum of counts: on budget that may be the same for all policies
        return Score(accuracy if kind > 1 else 1.0, [math.nan, math.inf][kind] if kind < 2 else loss)


def searched(name: str, evaluations: int, *, failing: bool = False, seed: int = 0, **settings: Any) -> Recording:
    layers, constant = settings.pop("layers", 6), settings.pop("constant", False)
    evaluator = Failing(layers, seed=100) if failing else ToyEvaluator(layers, seed=100, constant=constant)
    env = Recording(ChannelPruningEnv(evaluator, **({"preserve": 0.4} | settings)))
    registry.factory(parse(name)[0])(seed=seed).search(env, evaluations)
    return env


def check(env: Recording, name: str, evaluations: int) -> None:
    stops = "may_stop_early" in registry.factory(parse(name)[0])(seed=0).tags
    assert len(env.records) <= evaluations if stops else len(env.records) == evaluations
    assert any(record["feasible"] for record in env.records)


@pytest.mark.parametrize("budget", ["wall", "project"])
@pytest.mark.parametrize("evaluations", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("layers", [1, 2, 200])
@pytest.mark.parametrize("name", OURS)
def test_depths_and_short_searches(name: str, layers: int, evaluations: int, budget: str) -> None:
    check(searched(name, evaluations, layers=layers, budget=budget), name, evaluations)


@pytest.mark.parametrize(
    "settings",
    [
        {"constant": True},
        {"preserve": 0.41, "lower_bound": 0.4},  # nothing to choose but which layers keep what is left over
        {"preserve": 1.0, "lower_bound": 1.0},  # nothing to choose
        {"cost": "parameters"},
        {"preserve": 1.0},
        {"round_to": 8},
    ],
    ids=["constant rewards", "at the lower bound", "no choice", "parameters", "no budget", "multiples of 8"],
)
@pytest.mark.parametrize("name", OURS)
def test_odd_tasks(name: str, settings: dict[str, Any]) -> None:
    check(searched(name, 40, layers=4, **settings), name, 40)


@pytest.mark.parametrize("name", [name for name in SEARCHING if name not in (*SLOW_STEPS, *MODELS)])
def test_a_thousand_evaluations(name: str) -> None:
    env = searched(name, LONG, layers=3)
    check(env, name, LONG)
    assert len({tuple(record["channels"]) for record in env.records}) > 100


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_a_thousand_evaluations(name: str) -> None:
    assert len(told(registry.factory(parse(name)[0])(seed=0), 3, LONG)) == LONG


@pytest.mark.parametrize("name", SEARCHING)
def test_a_loss_that_is_no_number_is_the_worst_and_learning_goes_on(name: str) -> None:
    gains = []
    for seed in range(3):
        env = searched(name, 80, failing=True, seed=seed)
        check(env, name, 80)
        finite = [record["reward"] for record in env.records if math.isfinite(record["loss"]) and record["feasible"]]
        assert len(finite) > 30
        gains.append(np.mean(finite[len(finite) // 2 :]) - np.mean(finite[: len(finite) // 2]))
    if name not in ("random", *SLOW_STEPS):  # 80 episodes teach an actor little
        assert np.mean(gains) > 0.01


@pytest.mark.parametrize("name", OURS)
def test_a_reward_that_weighs_the_cost_is_searched_over_the_cost(name: str) -> None:
    task = {"layers": 4, "reward": "accuracy-guaranteed", "preserve": 1.0}
    env = searched(name, 60, **task)
    check(env, name, 60)
    if name in SEARCHING:
        best = max(env.records[10:], key=lambda record: record["reward"])  # the first may be probes
        assert best["cost"] < 0.9
        assert best["reward"] > searched("uniform", 1, **task).records[0]["reward"]
