"""Agents against each other, by the runs of one or several experiments.

Every function takes the runs of :class:`prunebench.harness.analysis.results.Results`, and of them only those that are
done. Runs of one seed have nothing in common but its number: they are not paired. Several tasks are strata.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from prunebench.envs.errors import check_choice
from prunebench.harness.analysis.statistics import inference
from prunebench.harness.analysis.statistics.inference import ALPHA
from prunebench.harness.analysis.statistics.permutation import VarianceRatio
from prunebench.harness.analysis.statistics.welch import Difference
from prunebench.harness.experiments.agentspec import CONTROLS

HEADLINE = "test_accuracy"
"""The column by which agents are compared: of images that played no part in the search."""
SMALLEST_EFFECT = 0.5
"""Points of accuracy. A smaller difference does not matter: it is one to two standard errors of an accuracy on 10,000
images, and what seeds alone move a strong agent's mean by."""

BETTER, WORSE = "better", "worse"
EQUAL = f"equal within {SMALLEST_EFFECT:g} points"
VARIES = "differs from task to task"
OPEN = "no difference shown"
UNDECIDABLE = "too few runs to test"
NO_RUNS = "no runs to compare"


def reference_agent(runs: pd.DataFrame, wanted: str | None = None) -> str:
    """The agent that the others are compared with: the one asked for, else the last one named.

    That is, of those that have results on the most tasks.

    Raises:
        TaskError: there is no such agent here.
    """
    if wanted is not None:
        check_choice("reference", wanted, agents_of(runs))
        return wanted
    known = runs[(runs["status"] == "done") & runs[HEADLINE].notna()]
    tasks = known.groupby("agent")["task"].nunique().reindex(agents_of(runs), fill_value=0)
    return str(tasks[tasks == tasks.max()].index[-1])


def own_reference(runs: pd.DataFrame, wanted: str) -> str:
    """The reference within one of several experiments: the one asked for where it took part."""
    return reference_agent(runs, wanted if wanted in agents_of(runs) else None)


def agents_of(runs: pd.DataFrame) -> list[str]:
    """The agents, in order."""
    return list(dict.fromkeys(runs["agent"]))


def is_control(agent: str) -> bool:
    """Whether an agent's label is that of a control."""
    return agent.partition(":")[0] in CONTROLS


def values(runs: pd.DataFrame, agent: str, column: str) -> pd.Series:
    """An agent's values, of its runs that are done."""
    chosen = runs[(runs["agent"] == agent) & (runs["status"] == "done")]
    return chosen[column].dropna().astype(float)


def differences(runs: pd.DataFrame, reference: str, column: str = HEADLINE, alpha: float = ALPHA) -> pd.DataFrame:
    """A row per agent other than the reference: whether their means differ, and by how much.

    The rows are one family: the chance that any of the verdicts "better" and "worse" is false is at most ``alpha``.

    Args:
        runs: of one or several tasks. Of several, values are scaled by the spread within a task, so that tasks count
            alike; a difference then is a weighted mean over the tasks that both have runs on.
        reference: the agent that the others are compared with.
        column: of values of which more is better.
        alpha: that chance.

    Returns:
        Columns agent, reference, runs, reference_runs, tasks (counts), difference (agent minus reference), low, high
        (95 % interval of this difference alone), corrected_low, corrected_high (the interval that agrees with the
        verdict), p, p_holm (corrected), interaction_p (of several tasks: that the difference is the same in all),
        verdict, probability (of improvement: how often a run of the agent is better than one of the reference).
    """
    tests = [_Compared(runs, agent, reference, column) for agent in agents_of(runs) if agent != reference]
    corrected = inference.holm([compared.p for compared in tests], alpha)
    rows = [compared.row(found, alpha) for compared, found in zip(tests, corrected, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = (
    *("agent", "reference", "runs", "reference_runs", "tasks", "difference", "low", "high", "corrected_low"),
    *("corrected_high", "p", "p_holm", "interaction_p", "verdict", "probability"),
)


class _Compared:
    """Two agents' runs, and what a test says of them."""

    def __init__(self, runs: pd.DataFrame, agent: str, other: str, column: str) -> None:
        self.agent, self.other = agent, other
        self.strata = scaled(runs, agent, other, column)
        self._plain_strata = list(strata(runs, agent, other, column).values())
        self._plain = Difference(self._plain_strata)
        self.probability = inference.probability_of_improvement(self._plain_strata)
        self._test = Difference(self.strata)
        self.p = self._test.p

    def row(self, corrected: inference.Corrected, alpha: float) -> dict[str, Any]:
        """The row of :func:`differences`."""
        test = self._test
        alone, agreeing = test.interval(ALPHA), test.interval(corrected.level)
        return {
            "agent": self.agent,
            "reference": self.other,
            "runs": sum(len(ours) for ours, _ in self.strata),
            "reference_runs": sum(len(theirs) for _, theirs in self.strata),
            "tasks": len(self.strata),
            "difference": test.effect,
            "low": alone.low,
            "high": alone.high,
            "corrected_low": agreeing.low,
            "corrected_high": agreeing.high,
            "p": test.p,
            "p_holm": corrected.p,
            "interaction_p": test.interaction_p,
            "verdict": self._verdict(corrected, alpha),
            "probability": self.probability,
        }

    def _verdict(self, corrected: inference.Corrected, alpha: float) -> str:
        if not self.strata:
            return NO_RUNS
        if math.isnan(self.p):
            return UNDECIDABLE
        if self._varies():
            return VARIES
        if corrected.p <= alpha:
            return BETTER if self._test.effect > 0 else WORSE
        return EQUAL if self._equal(corrected.level) else OPEN

    def _varies(self) -> bool:
        """Whether the difference has both signs, and matters on a task."""
        effects = [ours.mean() - theirs.mean() for ours, theirs in self._plain_strata]
        signs = {np.sign(effect) for effect in effects}
        matters = max(map(abs, effects)) > SMALLEST_EFFECT
        return self._test.interaction_p <= ALPHA and {1.0, -1.0} <= signs and matters

    def _equal(self, level: float) -> bool:
        """Whether all that is not rejected is too small to matter: of points as they are, for tasks' spreads differ."""
        ends = (*self._test.interval(level), *self._plain.interval(level))
        return max(map(abs, ends)) <= SMALLEST_EFFECT


def strata(runs: pd.DataFrame, agent: str, other: str, column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both agents' values, per task that both have one on."""
    found = {
        str(task): (values(rows, agent, column).to_numpy(), values(rows, other, column).to_numpy())
        for task, rows in runs.groupby("task", sort=False)
    }
    return {task: both for task, both in found.items() if len(both[0]) and len(both[1])}


def scaled(runs: pd.DataFrame, agent: str, other: str, column: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same; of several tasks divided by the spread within each, and times the harmonic mean of these spreads."""
    found = strata(runs, agent, other, column)
    if len(found) < 2:
        return list(found.values())
    spreads = [_spread(runs[runs["task"] == task], column) for task in found]
    typical = len(spreads) / sum(1 / spread for spread in spreads)
    factors = [typical / spread for spread in spreads]
    return [(k * ours, k * theirs) for k, (ours, theirs) in zip(factors, found.values(), strict=True)]


def _spread(task: pd.DataFrame, column: str) -> float:
    """Root of the mean variance of one task's agents, those that vary; 1 where none does.

    Agents weigh alike, however many runs each has.
    """
    found = task[task["status"] == "done"].groupby("agent")[column].agg(["var", "nunique"])
    varying = found.loc[found["nunique"] > 1, "var"]
    return math.sqrt(float(varying.mean())) if len(varying) else 1.0


class Best(NamedTuple):
    """The agent of the highest mean, and all that may be the best: none of the others is, with 95 % confidence."""

    agent: str | None
    possible: list[str]


def best(runs: pd.DataFrame, column: str = HEADLINE, told: pd.DataFrame | None = None) -> Best:
    """Of one task.

    An agent is left out where another one's mean is higher by a one-sided test at 2.5 %, divided by the number of other
    agents (Hsu, J. Am. Stat. Assoc. 79, 1984; of his multiple comparisons with the best this is Bonferroni's form), or
    where a verdict says so, which it does of the best with a chance of 2.5 % at most.

    Args:
        runs: of one task.
        column: of values of which more is better.
        told: of :func:`differences` in this column, where there are verdicts.
    """
    means = runs[runs["status"] == "done"].groupby("agent", sort=False)[column].mean().dropna()
    if means.empty:
        return Best(None, [])
    samples = {str(agent): values(runs, str(agent), column).to_numpy() for agent in means.index}
    level = ALPHA / 2 / max(1, len(samples) - 1)
    beaten = {low for low, high in permutations(samples, 2) if _higher(samples[high], samples[low], level)}
    beaten |= set() if told is None else _told_worse(told)
    return Best(str(means.idxmax()), [agent for agent in samples if agent not in beaten])


def _told_worse(told: pd.DataFrame) -> set[str]:
    return {*told.loc[told["verdict"] == WORSE, "agent"], *told.loc[told["verdict"] == BETTER, "reference"]}


def _higher(ours: np.ndarray, theirs: np.ndarray, level: float) -> bool:
    """By a one-sided test, which is half of a two-sided one."""
    if ours.mean() <= theirs.mean():
        return False
    return Difference([(ours, theirs)]).p <= 2 * level


def variances(runs: pd.DataFrame, reference: str, column: str = HEADLINE) -> pd.DataFrame:
    """A row per agent other than the reference, of one task: whether its runs vary less.

    Columns: agent, reference, seeds, reference_seeds (runs), std, reference_std, ratio (of variances, this agent's over
    the reference's), ratio_low, ratio_high (that agree with p_holm), p (permuted residuals), p_holm.
    """
    theirs = values(runs, reference, column)
    mine = {agent: values(runs, agent, column) for agent in agents_of(runs) if agent != reference}
    varied = sum(own.nunique() > 1 for own in mine.values())
    tests = {agent: VarianceRatio([(own, theirs)], ALPHA / max(1, varied)) for agent, own in mine.items()}
    corrected = inference.holm([test.p for test in tests.values()])
    rows = []
    for (agent, test), found in zip(tests.items(), corrected, strict=True):
        interval = test.interval(found.level)
        rows.append(
            {
                "agent": agent,
                "reference": reference,
                "seeds": len(mine[agent]),
                "reference_seeds": len(theirs),
                "std": mine[agent].std(ddof=1),
                "reference_std": theirs.std(ddof=1),
                "ratio": math.exp(test.effect),
                "ratio_low": math.exp(interval.low),
                "ratio_high": math.exp(interval.high),
                "p": test.p,
                "p_holm": found.p,
            }
        )
    return pd.DataFrame(rows)
