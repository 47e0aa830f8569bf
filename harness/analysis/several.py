"""Several experiments together: accuracy against budgets, and scores that make tasks comparable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from prunebench.harness.analysis import anytime, comparison
from prunebench.harness.analysis.comparison import HEADLINE
from prunebench.harness.analysis.statistics import inference
from prunebench.harness.experiments import spoken
from prunebench.harness.experiments.config import ExperimentConfig

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Reading

ACCURACIES = (HEADLINE, "finetuned_accuracy")
_TRADEOFF = ("setting", "agent", "preserve", "seeds", "cost_kept")
_SATURATED = 2.0  # standard errors of the dense network's accuracy on the reward split, above uniform's
_BASELINE = "uniform"


class Scores(NamedTuple):
    """Normalised scores of runs.

    Attributes:
        frame: a row per run: task, agent, seed, score. 0 is the mean of ``uniform`` in that task, 1 the dense network.
        tasks: that are scored, in order.
        without: why other tasks are not, by name.
        absent: agents that lack a result in one of the tasks.
    """

    frame: pd.DataFrame
    tasks: list[str]
    without: dict[str, str]
    absent: list[str]


def sweeps(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    """Experiments that differ in their budget alone (or in agents and seeds), of two budgets or more.

    Returns:
        By the name of what they share, each by rising budget.
    """
    default = ExperimentConfig()
    groups: list[tuple[ExperimentConfig, list[Reading]]] = []
    for reading in readings:
        config = reading.experiment.config
        shared = replace(config, preserve=default.preserve, agents=default.agents, seeds=default.seeds)
        same = next((group for config, group in groups if config == shared), None)
        if same is None:
            groups.append((shared, [reading]))
        else:
            same.append(reading)
    names = spoken.names([config for config, _ in groups], budgets=False)
    ordered = {name: sorted(group, key=_preserve) for name, (_, group) in zip(names, groups, strict=True)}
    return {name: group for name, group in ordered.items() if len(set(map(_preserve, group))) > 1}


def _preserve(reading: Reading) -> float:
    return reading.experiment.config.preserve


def tradeoff(readings: Iterable[Reading], runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracies on the test split against the kept cost, over the runs that are done.

    Returns:
        A row per sweep (see :func:`sweeps`), agent and budget, and one for the dense network of each: setting, agent,
        preserve (the budget), seeds, cost_kept (%, mean of what is limited), and of test_accuracy and
        finetuned_accuracy _mean, _std, and _low, _high (%, of Student's t interval of the mean).
    """
    rows = []
    for name, sweep in sweeps(readings).items():
        dense = sweep[0].dense
        rows.append({"setting": name, "agent": "dense", "preserve": 1.0, "cost_kept": 100.0} | _of_dense(dense))
        for reading in sweep:
            rows += [{"setting": name, "agent": agent} | row for agent, row in _points(reading, runs)]
    columns = [f"{accuracy}_{part}" for accuracy in ACCURACIES for part in ("mean", "std", "low", "high")]
    return pd.DataFrame(rows, columns=[*_TRADEOFF, *columns]).astype({"seeds": "Int64"})


def _of_dense(dense: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{HEADLINE}_mean": dense[f"{HEADLINE}_mean"]}


def _points(reading: Reading, runs: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    config = reading.experiment.config
    done = runs[(runs["task"] == reading.name) & (runs["status"] == "done")]
    return [
        (
            str(agent),
            {"preserve": config.preserve, "seeds": len(rows), "cost_kept": rows[f"{config.cost}_kept"].mean()}
            | {key: value for accuracy in ACCURACIES for key, value in _mean(rows, accuracy).items()},
        )
        for agent, rows in done.groupby("agent", sort=False)
    ]


def _mean(rows: pd.DataFrame, accuracy: str) -> dict[str, float]:
    values = rows[accuracy].dropna().to_numpy(dtype=np.float64)
    if not len(values):
        return {}
    found = {name: float(value[0]) for name, value in anytime.interval(values[:, None]).items()}
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return {f"{accuracy}_{name}": value for name, value in (found | {"std": std}).items()}


def scores(readings: Mapping[str, Reading], runs: pd.DataFrame) -> Scores:
    """How far each run came from the uniform policy's test accuracy (0) to the dense network's (1).

    A task is left out where that distance is nothing to be measured by: on the reward split the uniform policy is
    within two binomial standard errors of the dense network, or it has no result. Agents that lack a result in one
    of the others are left out, for a mean over other tasks is no comparison.

    Args:
        readings: by task.
        runs: of these, see :class:`prunebench.harness.analysis.results.Results`.
    """
    known = runs[(runs["status"] == "done") & runs[HEADLINE].notna()]
    reasons = {task: _unscored(reading, known[known["task"] == task]) for task, reading in readings.items()}
    tasks = [task for task, reason in reasons.items() if reason is None]
    parts = [_scored(readings[task], known[known["task"] == task]) for task in tasks]
    everywhere = [agent for agent in comparison.agents_of(known) if all((p["agent"] == agent).any() for p in parts)]
    empty = pd.DataFrame(columns=["task", "agent", "seed", "score"])
    frame = pd.concat(parts, ignore_index=True) if parts else empty
    return Scores(
        frame[frame["agent"].isin(everywhere)].reset_index(drop=True),
        tasks,
        {task: reason for task, reason in reasons.items() if reason is not None},
        [agent for agent in comparison.agents_of(known) if agent not in everywhere],
    )


def _unscored(reading: Reading, runs: pd.DataFrame) -> str | None:
    """Why a task has no scores; None where it has."""
    uniform = runs[runs["agent"] == _BASELINE]
    if uniform.empty:
        return f"no finished run of {_BASELINE}"
    dense, images = reading.dense["reward_accuracy_mean"] / 100, reading.manifest["task"]["splits"]["reward"]
    error = math.sqrt(dense * (1 - dense) / images)
    if dense - uniform["reward_accuracy"].mean() / 100 <= _SATURATED * error:
        return "saturated, since the uniform policy is as accurate as the dense network within two standard errors"
    if reading.dense[f"{HEADLINE}_mean"] <= uniform[HEADLINE].mean():
        return "the uniform policy is not below the dense network on the test split"
    return None


def _scored(reading: Reading, runs: pd.DataFrame) -> pd.DataFrame:
    zero = runs.loc[runs["agent"] == _BASELINE, HEADLINE].mean()
    one = reading.dense[f"{HEADLINE}_mean"]
    return runs[["task", "agent", "seed"]].assign(score=(runs[HEADLINE].astype(float) - zero) / (one - zero))


def summary(scored: pd.DataFrame) -> pd.DataFrame:
    """A row per agent: agent, runs; over tasks mean, of its 95 % interval mean_low, mean_high, and the mean iqm."""
    rows = []
    for agent, own in scored.groupby("agent", sort=False):
        strata = [task["score"].to_numpy(dtype=np.float64) for _, task in own.groupby("task", sort=False)]
        interval = inference.mean_interval(*strata)
        mean, iqm = (float(np.mean([of(task) for task in strata])) for of in (np.mean, inference.iqm))
        spread = {"mean_low": interval.low, "mean_high": interval.high, "iqm": iqm}
        rows.append({"agent": agent, "runs": sum(map(len, strata)), "mean": mean} | spread)
    return pd.DataFrame(rows, columns=["agent", "runs", "mean", "mean_low", "mean_high", "iqm"])


def matrix(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per agent, a column per agent: on how many tasks its mean is higher / as high / lower, as ``2/1/0``.

    As high is what differs by at most :data:`prunebench.harness.analysis.comparison.SMALLEST_EFFECT` points. Empty for
    an agent and itself, and for two without a task in common.
    """
    means = runs[runs["status"] == "done"].groupby(["agent", "task"], sort=False)[HEADLINE].mean()
    by_task = {str(agent): own.droplevel("agent").dropna() for agent, own in means.groupby("agent", sort=False)}
    told = {one: [_record(mine, theirs) for theirs in by_task.values()] for one, mine in by_task.items()}
    frame = pd.DataFrame.from_dict(told, orient="index", columns=list(by_task))
    for agent in by_task:
        frame.loc[agent, agent] = None
    return frame.rename_axis("agent").reset_index()


def _record(mine: pd.Series, theirs: pd.Series) -> str | None:
    gains = (mine - theirs).dropna()
    wins, losses = (int((sign * gains > comparison.SMALLEST_EFFECT).sum()) for sign in (1, -1))
    return f"{wins}/{len(gains) - wins - losses}/{losses}" if len(gains) else None


def profiles(scored: pd.DataFrame) -> pd.DataFrame:
    """Performance profiles (Dolan and Moré 2002, of scores): the share of runs that reach a score, mean over tasks.

    Returns:
        A row per agent and score that any run has: agent, at, share (0 to 1).
    """
    at = np.unique(scored["score"].to_numpy(dtype=np.float64))
    parts = [
        pd.DataFrame({"agent": agent, "at": at, "share": _share(own, at)})
        for agent, own in scored.groupby("agent", sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["agent", "at", "share"])


def _share(own: pd.DataFrame, at: np.ndarray) -> np.ndarray:
    tasks = [task["score"].to_numpy(dtype=np.float64) for _, task in own.groupby("task", sort=False)]
    shares = [(values[:, None] >= at).mean(axis=0) for values in tasks]
    return np.asarray(np.mean(shares, axis=0), dtype=np.float64)
