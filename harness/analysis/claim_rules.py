"""The comparisons that claims are tested by: each from finished runs to what was measured, in words, and an outcome.

A claim is reproduced where a test shows the claimed difference, refuted where all of its interval (95 %, of a claim
with a level of its own one minus that) is smaller than the smallest difference that matters (an equivalence test,
Schuirmann 1987, at half of the level), and undecided else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from prunebench.harness.analysis import anytime, comparison
from prunebench.harness.analysis.statistics import inference
from prunebench.harness.analysis.statistics.inference import ALPHA
from prunebench.harness.analysis.statistics.permutation import VarianceRatio
from prunebench.harness.analysis.statistics.welch import FEWEST, Difference

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Reading

REPRODUCED, REFUTED, UNDECIDED = "reproduced", "refuted", "undecided"
VARIES = "differs by task"
NOT_TESTED = "not tested here"

_MARGIN = 1.0  # on both sides of a published range


class Finding(NamedTuple):
    """What came of a claim: what was measured, in words, the effect with its interval, and the outcome."""

    measured: str
    effect: str
    outcome: str


def not_tested(why: str) -> Finding:
    """The finding on a claim that these experiments say nothing about."""
    return Finding(why, "", NOT_TESTED)


def run(test: Any, readings: Mapping[str, Reading], runs: pd.DataFrame, *labels: str) -> Finding:
    """Run a claim's test.

    Args:
        test: the ``test`` of a :class:`prunebench.harness.analysis.claims.Claim`.
        readings: of the experiments that can test it, by task.
        runs: of these tasks, done, with a value in the test's column.
        labels: the agent's, and the reference's where there is one.
    """
    if test.kind == "target":
        return _target(test, readings, runs, *labels)
    tests = {"difference": _difference, "variance": _variance, "value": _value}
    return tests[test.kind](test, runs, *labels)  # type: ignore[operator]


_Said = Callable[[float], str]
"""How an effect that was tested is spoken of."""


def _points(value: float) -> str:
    return f"{value:+.2f}"


def _factor(value: float) -> str:
    return f"{math.exp(value):.2f}"


def _difference(test: Any, runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    if test.column == "seconds":
        return _times(test, runs, agent, reference)
    parts = comparison.strata(runs, agent, reference, test.column)
    alike = comparison.scaled(runs, agent, reference, test.column)
    words = f"{agent} minus {reference}, points"
    return _decided(test, Difference(alike), parts, _points, words)


def _times(test: Any, runs: pd.DataFrame, agent: str, reference: str, told: str = "") -> Finding:
    """Seconds by their logarithms: so tasks of short and of long evaluations count alike."""
    runs = runs.assign(log_seconds=np.log(runs["seconds"]))
    parts = comparison.strata(runs, agent, reference, "log_seconds")
    words = f"{told}time of {agent} over that of {reference}, geometric mean"
    return _decided(test, Difference(list(parts.values())), parts, _factor, words)


def _decided(
    test: Any,
    found: Difference | VarianceRatio,
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    say: _Said,
    words: str,
) -> Finding:
    """By the effect that the claim gives a sign to.

    Args:
        test: says the sign (``expect``), and the smallest effect that matters.
        found: the test of all tasks together.
        parts: values per task.
        say: how effects are spoken of.
        words: what is measured.
    """
    if not parts:
        return not_tested(f"needs finished runs of {test.agent} and {test.reference} on one task")
    runs = _runs(parts)
    if math.isnan(found.p):
        return Finding(f"{words}: {say(found.effect)} ({runs}; too few for a test)", say(found.effect), UNDECIDED)
    interval = found.interval(test.level)
    effect = f"{say(found.effect)} [{say(interval.low)}, {say(interval.high)}]"
    plain = Difference(list(parts.values())) if isinstance(found, Difference) else found  # not scaled
    told = [f"{task}: {say(one)}" for task, one in zip(parts, plain.each, strict=True)]
    each = f"; {', '.join(told)}" if len(told) > 1 else ""
    level = "" if test.level == ALPHA else f", at {100 * test.level:.2g} %"
    measured = f"{words}: {effect} ({runs}, p = {found.p:.2g}{level}{each})"
    both = {1.0, -1.0} <= set(np.sign(plain.each)) and max(map(abs, plain.each)) >= test.smallest
    if found.interaction_p <= test.level and both:
        return Finding(f"{measured}; not the same in all tasks, p = {found.interaction_p:.2g}", effect, VARIES)
    return Finding(measured, effect, _outcome(test, found, plain))


def _outcome(test: Any, found: Difference | VarianceRatio, plain: Difference | VarianceRatio) -> str:
    """Refuted first: a difference can be there and yet be too small to matter.

    Of several tasks by the differences as they are, too: scaled, a task of little spread would speak for all.
    """
    sign = 1 if test.expect == "higher" else -1
    intervals = [one.interval(test.level) for one in dict.fromkeys((found, plain))]
    if max(sign * end for interval in intervals for end in interval) < test.smallest:
        return REFUTED
    return REPRODUCED if found.p <= test.level and sign * found.effect > 0 else UNDECIDED


def _runs(parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    ours, theirs = (sum(len(both[side]) for both in parts.values()) for side in (0, 1))
    tasks = f" of {len(parts)} tasks" if len(parts) > 1 else ""
    return f"{ours} and {theirs} runs{tasks}"


def _variance(test: Any, runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    parts = comparison.strata(runs, agent, reference, test.column)
    found = VarianceRatio(list(parts.values()), test.level)
    if parts and math.isnan(found.effect):
        return not_tested(f"{agent} and {reference}: nothing varies in their {_runs(parts)}, or there is one run only")
    varied = {task: both for task, both in parts.items() if min(map(np.ptp, both)) > 0}
    words = f"variance of {agent} over that of {reference}, ratio"
    return _decided(test, found, varied, _factor, words)


def _target(test: Any, readings: Mapping[str, Reading], runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    """Seconds to the highest accuracy that every run of both reached."""
    parts, low, told = [], [], []
    asked = runs[runs["agent"].isin((agent, reference))]
    both = asked[asked.groupby("task")["agent"].transform("nunique") == 2]
    several = both["task"].nunique() > 1
    for task, rows in both.groupby("task", sort=False):
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
        return not_tested("; ".join(low) or f"needs finished runs of {agent} and {reference} on one task")
    return _times(test, pd.concat(parts), agent, reference, "; ".join([*low, *told]) + "; ")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


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


def _value(test: Any, runs: pd.DataFrame, agent: str) -> Finding:
    values = runs[runs["agent"] == agent][test.column].to_numpy(dtype=np.float64)
    low, high = inference.mean_interval(values)
    measured = f"{agent}: {values.mean():.2f} (mean of {_counted(len(values), 'run')}"
    if len(values) < FEWEST:
        return Finding(f"{measured}; too few for an interval)", f"{values.mean():.2f}", UNDECIDED)
    least, most = test.published
    if test.expect == "reaches":
        meets, misses = low >= least, high < least
    else:
        least, most = least - _MARGIN, most + _MARGIN
        meets, misses = low >= least and high <= most, high < least or low > most
    outcome = REPRODUCED if meets else REFUTED if misses else UNDECIDED
    return Finding(f"{measured})", f"{values.mean():.2f} [{low:.2f}, {high:.2f}]", outcome)
