"""One policy on the reward split: for ``prunebench score``. No results are written; the cache may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.envs.environment.channel_pruning import COUNTED
from prunebench.envs.tasks.costs import COSTS
from prunebench.harness.display import Display, watch
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import ahead, documents
from prunebench.harness.processes.local import Function, Job, Processes, cores
from prunebench.harness.record.incumbents import incumbent
from prunebench.harness.running.export import choose

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.store import Experiment

KINDS = ("ratios", "channels")
_EXPECTED = "expected a list of preserve ratios, or a mapping with `ratios` or with `channels`"

Policy = dict[str, list[float]]
"""One entry: under ``ratios`` or ``channels`` a number for every prunable layer."""


def read(path: Path) -> Policy:
    """The policy in a JSON or YAML file.

    Raises:
        ConfigError: there is no such file, or it holds none.
    """
    return checked(documents.read(path, "policy"), f"policy {str(path)!r}")


def checked(content: Any, where: str = "policy") -> Policy:
    """A policy: preserve ratios, or a mapping with ``ratios`` or ``channels``.

    Args:
        content: plain values, as they stand in a file.
        where: it comes from, for errors.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = {"ratios": content}
    if not isinstance(content, Mapping) or len(content) != 1 or not set(content) <= set(KINDS):
        found = f"keys {', '.join(map(str, content))}" if isinstance(content, Mapping) else repr(content)
        raise ConfigError(f"{where}: {found}: {_EXPECTED}")
    ((kind, values),) = content.items()
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ConfigError(f"{where}: {kind} {values!r}: expected a list with a number for every prunable layer")
    return {kind: [_number(kind, value, f"{where}: {kind}, entry {n + 1}") for n, value in enumerate(values)]}


def _number(kind: str, value: Any, where: str) -> float:
    expected = "a preserve ratio from 0 to 1" if kind == "ratios" else "a whole number, at least 1"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise ConfigError(f"{where}: {value!r}: expected {expected}")
    fits = 0 <= value <= 1 if kind == "ratios" else value >= 1 and float(value).is_integer()
    if not fits:
        raise ConfigError(f"{where}: {value}: expected {expected}")
    return float(value)


def of_run(experiment: Experiment, agent: str | None, seed: int | None) -> tuple[str, Policy]:
    """What a run ended with: its name and the incumbent's evaluation in words, and the policy.

    Raises:
        TaskError, ConfigError: see :func:`prunebench.harness.running.export.choose`.
    """
    run = choose(experiment, agent, seed)
    line = incumbent(run)
    words = f"{run.name}, evaluation {line.index}: {100 * line.accuracy:.2f} % on the reward split as recorded"
    return words, {"channels": [float(channels) for channels in line.channels]}


def settings(experiment: Experiment) -> ExperimentConfig:
    """Task and budget of an experiment, as they are to be used here.

    Raises:
        ConfigError: weights or data are not where they were.
    """
    experiment.check_paths()
    return experiment.located()


def score(
    policy: Policy,
    config: ExperimentConfig,
    *,
    clip: bool,
    display: Display,
    score_one: Function = "prunebench.harness.inside.score:score_policy",
) -> dict[str, Any]:
    """Score a policy in a process, which prepares the task where the cache does not have it.

    Args:
        policy: of :func:`checked`.
        config: task and budget.
        clip: whether the policy is realised within the budget, as in a search; else as it is.
        display: shows progress.
        score_one: runs in the process.

    Returns:
        What ``info["evaluation"]`` of the environment holds, and ``layers`` (names), ``dense`` (channels, macs,
        parameters), ``preserve``.

    Raises:
        JobError: the policy is not one of this network, or the task cannot be set up.
        JobCrash: it failed for another reason.
    """

    with Processes(config.threads, ahead.modules()) as processes:
        processes.start_up(watch(display))
        return processes.call(Job("score", score_one, (config, policy, clip, cores())), watch(display))


def text(found: Mapping[str, Any], config: ExperimentConfig) -> str:
    """A score for people."""
    dense = found["dense"]
    fits = "yes" if found["feasible"] else "no"
    lines = [
        f"accuracy         {100 * found['accuracy']:.2f} % on the reward split",
        f"loss             {found['loss']:.4f} nats",
        *(
            f"{f'{COSTS[name].label} kept':16} {100 * found[name] / dense[name]:.1f} % ({found[name]:,})"
            for name in COUNTED
        ),
        f"meets the budget {fits}: {100 * found['cost']:.1f} % of the {config.cost} kept, at most "
        f"{100 * found['preserve']:.6g} % allowed, every ratio at least {config.lower_bound:g}",
    ]
    width = max(map(len, found["layers"]))
    rows = zip(found["layers"], found["channels"], dense["channels"], strict=True)
    layers = [f"  {name:{width}}  {kept:>5} of {channels:>5}" for name, kept, channels in rows]
    return "\n".join([*lines, "channels", *layers])
