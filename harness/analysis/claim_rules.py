"""The comparisons that claims are tested by: each from finished runs to what was measured, in words, and an outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from prunebench.harness.analysis import anytime, comparison, inference, power
from prunebench.harness.analysis.inference import ALPHA

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Reading

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
TOO_FEW, NOT_TESTED = "not enough seeds", "not tested here"

_MARGIN = 1.0  # on both sides of a published range
_HALVED = 0.5  # the ratio of variances that a claim of less variance is about, where it has no number


class Finding(NamedTuple):
    """What came of a claim: what was measured, in words, and the outcome."""

    measured: str
    outcome: str


def run(test: Any, readings: Mapping[str, Reading], runs: pd.DataFrame, *labels: str) -> Finding:
    """Run a claim's test.

    Args:
        test: the ``test`` of a :class:`prunebench.harness.analysis.claims.Claim`.
        readings: of the experiments that can test it, by task.
        runs: of these tasks, done, with a value in the test's column.
        labels: the agent's, and the reference's where there is one.
    """
    if test.kind == "target":
        return _target(readings, runs, *labels)
    tests = {"difference": _difference, "variance": _variance, "value": _value}
    return tests[test.kind](test, runs, *labels)  # type: ignore[operator]


def _difference(test: Any, runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    runs = _with_both(runs, agent, reference)
    if not len(runs):
        return _no_pairs(agent, reference)
    sign = 1 if test.expect == "higher" else -1
    if test.column == "seconds":
        return _times(sign, runs, agent, reference)
    pairs = comparison.paired_differences(runs, agent, reference, test.column)
    measured = f"{agent} minus {reference}: {pairs.mean():+.2f} points (mean of "
    return _decided(sign * pairs, measured, runs["task"].nunique())


def _times(sign: int, runs: pd.DataFrame, agent: str, reference: str, told: str = "") -> Finding:
    """Seconds pair by pair, in logarithms: so tasks of short and of long evaluations count alike."""
    runs = runs.assign(log_seconds=np.log(runs["seconds"]))
    logs = comparison.paired_differences(runs, agent, reference, "log_seconds")
    factor = f"{agent} takes {math.exp(logs.mean()):.2f} times as long as {reference} (geometric mean of "
    return _decided(sign * logs, told + factor, runs["task"].nunique())


def _with_both(runs: pd.DataFrame, agent: str, reference: str) -> pd.DataFrame:
    """The runs of two agents, of tasks and seeds that both have."""
    asked = runs[runs["agent"].isin((agent, reference))]
    return asked[asked.groupby(["task", "seed"])["agent"].transform("nunique") == 2]


def _no_pairs(agent: str, reference: str) -> Finding:
    return Finding(f"needs finished runs of {agent} and {reference} of one task and seed", NOT_TESTED)


def _decided(gains: np.ndarray, measured: str, tasks: int) -> Finding:
    """By the sign-flip test of ``gains`` ``(n,)``, which the claim says are above 0 on average.

    Args:
        gains: one per pair.
        measured: the finding's words, up to the number of pairs.
        tasks: how many the pairs are of.
    """
    result, needed = inference.paired(gains), power.seeds_needed(gains)
    measured = f"{measured}{_counted(result.pairs, 'pair')}{f' of {tasks} tasks' if tasks > 1 else ''}"
    more = "" if needed is None else f"; about {max(needed, result.pairs + 1)} pairs would decide"
    if not inference.decidable(result.pairs):
        return Finding(f"{measured}; p cannot be below {inference.smallest_p(result.pairs):.2g}{more})", TOO_FEW)
    measured = f"{measured}, p = {result.p:.2g}"
    if result.p <= ALPHA:
        return Finding(f"{measured})", REPRODUCED if result.mean > 0 else NOT_REPRODUCED)
    if not gains.any():
        return Finding(f"{measured}; no pair differs)", NOT_REPRODUCED)
    return Finding(f"{measured}{more or f'; more than {power.MOST_SEEDS} pairs would be needed'})", TOO_FEW)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _target(readings: Mapping[str, Reading], runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    """Seconds to the highest accuracy that every run of both reached."""
    parts, low, told = [], [], []
    paired = _with_both(runs, agent, reference)
    several = paired["task"].nunique() > 1
    for task, rows in paired.groupby("task", sort=False):
        every, where = readings[str(task)].evaluations, f"{task}: " if several else ""
        times = anytime.times_to_common_target(anytime.finished(rows, every))
        uniform = every.loc[every["agent"] == "uniform", "incumbent"].max()
        if times.empty:
            low.append(f"{where}a run has no policy within the budget")
        elif times["target"].iloc[0] <= uniform:
            target = times["target"].iloc[0]
            low.append(
                f"{where}what every run reaches, {target:.2f} %, is not above the uniform policy's {uniform:.2f} %"
            )
        else:
            parts.append(times.assign(task=task, status="done"))
            told.append(where + _told(times, agent, reference))
    if not parts:
        return Finding("; ".join(low), NOT_TESTED) if low else _no_pairs(agent, reference)
    return _times(-1, pd.concat(parts), agent, reference, "; ".join([*low, *told]) + "; ")


def _told(times: pd.DataFrame, agent: str, reference: str) -> str:
    """What both spent until the target, and at which cost of an evaluation they would be equally quick."""
    mean = times.groupby("agent")[["evaluations", "agent_seconds"]].mean().astype(float)
    (ours, thought), (theirs, others_thought) = (tuple(mean.loc[name].to_numpy()) for name in (agent, reference))
    needed = _counted(round(ours), "evaluation")
    spent = (
        f"to {times['target'].iloc[0]:.2f} % on the reward split {agent} needs {needed} and {thought:.1f} s of its own"
        f", {reference} {theirs:.0f} and {others_thought:.1f} s"
    )
    return f"{spent}: {_break_even(ours - theirs, thought - others_thought)}"


def _break_even(evaluations: float, seconds: float) -> str:
    """Where an agent that needs so many more evaluations and seconds of its own than another is the quicker one."""
    if evaluations == 0 and seconds == 0:
        return "as quick whatever an evaluation costs"
    if evaluations <= 0 and seconds <= 0:
        return "quicker whatever an evaluation costs"
    if evaluations >= 0 and seconds >= 0:
        return "slower whatever an evaluation costs"
    where = "more" if evaluations < 0 else "less"
    return f"quicker where an evaluation takes {where} than {-seconds / evaluations:.2g} s"


def _variance(test: Any, runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    counts = runs[runs["agent"].isin((agent, reference))].groupby(["task", "agent"]).size().unstack(fill_value=0)
    tasks = counts.index[(counts >= inference.RESAMPLED_RUNS).all(axis=1)]
    if len(tasks) == 0 or counts.shape[1] < 2:
        fewest = _counted(int(counts.to_numpy().min()), "run")
        return Finding(
            f"{agent} and {reference}: {fewest} each; no test below {inference.RESAMPLED_RUNS} on one task", TOO_FEW
        )
    enough = runs[runs["task"].isin(tasks)]
    ours, theirs = _around_medians(enough, test.column, agent, reference)
    ratio, (low, high) = inference.variance_ratio(ours, theirs)
    p = inference.brown_forsythe(ours, theirs)
    each = min(len(ours), len(theirs))
    interval = "" if math.isnan(low) else f", 95 % interval {low:.2g} to {high:.2g}"
    measured = f"variance of {agent} over that of {reference}: {ratio:.2f} ({each} runs each{interval}"
    if math.isnan(ratio) or math.isnan(p):
        return Finding(f"{measured.replace('nan', 'none')}; nothing varies)", NOT_TESTED)
    measured = f"{measured}, p = {p:.2g}"
    if ratio < 1 and p <= ALPHA:
        return Finding(f"{measured})", REPRODUCED)
    if low > _HALVED or p <= ALPHA:
        return Finding(f"{measured})", NOT_REPRODUCED)
    needed = power.runs_needed(ratio)
    more = "" if needed is None else f"; about {max(needed, each + 1)} runs each would decide"
    return Finding(f"{measured}{more})", TOO_FEW)


def _around_medians(runs: pd.DataFrame, column: str, *agents: str) -> list[np.ndarray]:
    """Agents' values, each task's shifted so that an agent's median is 0, and scaled so that tasks count alike."""
    runs = runs[runs["agent"].isin(agents)]
    shifted = runs[column] - runs.groupby(["task", "agent"])[column].transform("median")
    scale = np.sqrt((shifted**2).groupby(runs["task"]).transform("mean"))
    scaled = shifted / scale.where(scale > 0, 1.0)
    return [scaled[runs["agent"] == agent].to_numpy(dtype=np.float64) for agent in agents]


def _value(test: Any, runs: pd.DataFrame, agent: str) -> Finding:
    values = runs[runs["agent"] == agent][test.column].to_numpy(dtype=np.float64)
    low, high = inference.mean_interval(values)
    measured = f"{agent}: {values.mean():.2f} (mean of {_counted(len(values), 'run')}"
    if len(values) < inference.RESAMPLED_RUNS:
        return Finding(f"{measured}; no interval below {inference.RESAMPLED_RUNS})", TOO_FEW)
    least, most = test.published
    if test.expect == "reaches":
        meets, misses = low >= least, high < least
    else:
        meets, misses = low >= least - _MARGIN and high <= most + _MARGIN, high < least or low > most
    outcome = REPRODUCED if meets else NOT_REPRODUCED if misses else TOO_FEW
    return Finding(f"{measured}, 95 % interval {low:.2f} to {high:.2f})", outcome)
