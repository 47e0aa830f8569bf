"""Scores one policy on the reward split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from prunebench.envs.environment.channel_pruning import COUNTED, ChannelPruningEnv
from prunebench.envs.tasks import inspection, preparation
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.config import settled
from prunebench.harness.inside.prepare import Report, make_environment, prepare_cost, set_threads

if TYPE_CHECKING:
    import gymnasium

    from prunebench.harness.experiments.config import ExperimentConfig

Policy: TypeAlias = "dict[str, list[float]]"


def score_policy(report: Report, config: ExperimentConfig, policy: Policy, clip: bool, threads: int) -> dict[str, Any]:
    """Prepare a task, and score one policy on its reward split.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        config: task and budget.
        policy: under ``ratios`` or ``channels`` a number for every prunable layer.
        clip: whether the policy is realised within the budget; else as it is.
        threads: may be used while the task is prepared.

    Returns:
        As :func:`scored`, and ``preserve``: the budget as a fraction of the dense network's cost.

    Raises:
        ConfigError: the policy is not one of this network.
        TaskError, BudgetError: the task cannot be set up.
    """
    set_threads(threads)
    layers = inspection.prunable_layers(config.task)
    _ratios(policy, list(layers), list(layers.values()))  # before anything is trained
    inspection.check_budget(config.task, *config.bounds)
    facts = preparation.prepare(config.task, report) if config.absolute else {}
    preparation.ensure_prepared(config.task, report)
    config = settled(config, facts | prepare_cost(report, config))
    set_threads(config.threads)
    return scored(make_environment(config), policy, clip) | {"preserve": config.preserve}


def scored(env: gymnasium.Env[Any, Any], policy: Policy, clip: bool) -> dict[str, Any]:
    """Score one policy in an environment.

    Returns:
        The environment's evaluation, ``layers`` (names) and ``dense`` (channels, macs, parameters).

    Raises:
        ConfigError: the policy is not one of this network.
    """
    _, info = env.reset(options=None if clip else {"budget": "none"})
    names, costs = list(info["layers"]["name"]), cast(ChannelPruningEnv, env.unwrapped).evaluator.costs
    dense = [int(channels) for channels in info["layers"]["channels"]]
    for ratio in _ratios(policy, names, dense):
        *_, last = env.step(np.array([ratio]))
    counted = {name: int(costs[name](dense)) for name in COUNTED}
    return last["evaluation"] | {"layers": names, "dense": counted | {"channels": dense}}


def _ratios(policy: Policy, names: Sequence[str], channels: Sequence[int]) -> list[float]:
    """The preserve ratios of a policy, one for every layer."""
    ((kind, values),) = policy.items()
    if len(values) != len(channels):
        first, last = names[0], names[-1]
        raise ConfigError(
            f"policy: {len(values)} {kind}: expected {len(channels)}, one for every prunable layer ({first} to {last})"
        )
    if kind == "ratios":
        return values
    for name, value, most in zip(names, values, channels, strict=True):
        if value > most:
            raise ConfigError(f"policy: {value:g} channels for layer {name}: expected 1 to {most}")
    return [value / most for value, most in zip(values, channels, strict=True)]
