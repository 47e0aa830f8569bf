"""Agents against each other: what :mod:`prunebench.harness.analysis.inference` says about the runs of one or several
experiments.

Every function takes the runs of :class:`prunebench.harness.analysis.results.Results`, and of them only those that are
done. Runs are paired by task and seed; bootstraps resample within a task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from prunebench.envs.errors import check_choice
from prunebench.harness.analysis import inference, power
from prunebench.harness.analysis.inference import ALPHA
from prunebench.harness.experiments.agentspec import CONTROLS

HEADLINE = "test_accuracy"
"""The column by which agents are compared: of images that played no part in the search."""

BETTER, WORSE = "better", "worse"
OPEN = "no difference shown"
UNDECIDABLE = "too few seeds to decide"
NO_PAIRS = "no runs in common"
_PREFERRED = "random"


def reference_agent(agents: Sequence[str], wanted: str | None = None) -> str:
    """The agent that the others are compared with: the one asked for, else ``random``, else the first.

    Raises:
        TaskError: there is no such agent here.
    """
    if wanted is None:
        return _PREFERRED if _PREFERRED in agents else agents[0]
    check_choice("reference", wanted, agents)
    return wanted


def own_reference(agents: Sequence[str], wanted: str) -> str:
    """The reference within one of several experiments: the one asked for where it took part."""
    return reference_agent(agents, wanted if wanted in agents else None)


def agents_of(runs: pd.DataFrame) -> list[str]:
    """The agents, in order."""
    return list(dict.fromkeys(runs["agent"]))


def describe(runs: pd.DataFrame, column: str = HEADLINE) -> pd.DataFrame:
    """A row per agent: agent, seeds (values), mean, std, variance, median, iqm, iqm_low, iqm_high.

    Of several tasks: over those that every agent with a result has one on, for means over other tasks are no
    comparison; the variance (n - 1) is that within a task, pooled.
    """
    shared = runs[runs["task"].isin(shared_tasks(runs, column))]
    return pd.DataFrame([{"agent": agent} | _description(_strata(shared, agent, column)) for agent in agents_of(runs)])


def shared_tasks(runs: pd.DataFrame, column: str = HEADLINE) -> list[str]:
    """The tasks on which every agent that has a result anywhere has one."""
    known = runs[(runs["status"] == "done") & runs[column].notna()]
    agents = known["agent"].nunique()
    counts = known.groupby("task", sort=False)["agent"].nunique()
    return [str(task) for task, count in counts.items() if count == agents]


def _description(strata: list[pd.Series]) -> dict[str, Any]:
    values = np.concatenate([*strata, np.empty(0)])
    if not len(values):
        names = ("mean", "std", "variance", "median", "iqm", "iqm_low", "iqm_high")
        return {"seeds": 0, **dict.fromkeys(names, math.nan)}
    interval = inference.iqm_interval(strata)
    freedom = sum(len(task) - 1 for task in strata)
    within = sum(float(((task - task.mean()) ** 2).sum()) for task in strata)
    variance = within / freedom if freedom else math.nan
    return {
        "seeds": len(values),
        "mean": float(np.mean(values)),
        "std": math.sqrt(variance),
        "variance": variance,
        "median": float(np.median(values)),
        "iqm": float(inference.iqm(values)),
        "iqm_low": interval.low,
        "iqm_high": interval.high,
    }


def differences(
    runs: pd.DataFrame, reference: str, column: str = HEADLINE, *, higher_is_better: bool = True
) -> pd.DataFrame:
    """A row per agent other than the reference: its values minus the reference's, pair by pair.

    Columns: agent, reference, pairs, difference_mean, difference_std, difference_low, difference_high (of the mean),
    p (exact sign-flip test, two-sided), p_holm (corrected for the rows), p_floor (the smallest p_holm that so many
    pairs can give; where it is above 5 %, p and intervals are left out: they could only be misread), verdict,
    more_seeds (pairs that would decide an open comparison, beyond those there are; NaN where it is decided or more than
    a thousand), probability, probability_low, probability_high (of improvement).
    """
    others = [agent for agent in agents_of(runs) if agent != reference]
    pairs = {agent: paired_differences(runs, agent, reference, column) for agent in others}
    tested = {agent: inference.paired(values) for agent, values in pairs.items()}
    corrected = inference.holm([result.p for result in tested.values()])
    comparisons = sum(not math.isnan(result.p) for result in tested.values())
    rows = []
    for agent, p_holm in zip(others, corrected, strict=True):
        result = tested[agent]
        sign = 1 if higher_is_better else -1
        verdict = _verdict(result.pairs, sign * result.mean, p_holm, comparisons)
        rows.append(
            {
                "agent": agent,
                "reference": reference,
                "pairs": result.pairs,
                "difference_mean": result.mean,
                "difference_std": result.std,
                "difference_low": result.interval.low,
                "difference_high": result.interval.high,
                "p": result.p,
                "p_holm": p_holm,
                "p_floor": min(1.0, max(comparisons, 1) * inference.smallest_p(result.pairs)),
                "verdict": verdict,
                "more_seeds": _more_seeds(pairs[agent], comparisons, verdict),
                **_improvement(runs, agent, reference, column, sign),
            }
        )
    table = pd.DataFrame(rows)
    if rows:
        table.loc[table["verdict"].isin((UNDECIDABLE, NO_PAIRS)), _TELLING] = math.nan
    return table


_TELLING = ["p", "p_holm", "difference_low", "difference_high", "probability_low", "probability_high"]
"""What could only be misread where a test cannot decide: an interval says as much as a p does."""


def _verdict(pairs: int, gain: float, p_holm: float, comparisons: int) -> str:
    if pairs == 0:
        return NO_PAIRS
    if p_holm <= ALPHA:
        return BETTER if gain > 0 else WORSE
    return OPEN if inference.decidable(pairs, comparisons) else UNDECIDABLE


def _more_seeds(pairs: np.ndarray, comparisons: int, verdict: str) -> float:
    if verdict in (BETTER, WORSE, NO_PAIRS):
        return math.nan
    needed = power.seeds_needed(pairs, max(comparisons, 1))
    return math.nan if needed is None else float(max(1, needed - len(pairs)))


def _improvement(runs: pd.DataFrame, agent: str, reference: str, column: str, sign: int) -> dict[str, float]:
    tasks = [task for _, task in runs.groupby("task", sort=False)]
    both = [[sign * _values(task, name, column) for task in tasks] for name in (agent, reference)]
    known = [(mine, other) for mine, other in zip(*both, strict=True) if len(mine) and len(other)]
    if not known:
        return dict.fromkeys(("probability", "probability_low", "probability_high"), math.nan)
    probability, interval = inference.probability_of_improvement([a for a, _ in known], [b for _, b in known])
    return {"probability": probability, "probability_low": interval.low, "probability_high": interval.high}


def variances(runs: pd.DataFrame, reference: str, column: str = HEADLINE) -> pd.DataFrame:
    """A row per agent other than the reference, of one task: whether its runs vary less.

    Columns: agent, reference, seeds (the fewer of both), std, reference_std, ratio (of variances, this agent's over the
    reference's), ratio_low, ratio_high, p (Brown-Forsythe), p_holm.
    """
    rows: list[dict[str, Any]] = []
    theirs = _values(runs, reference, column)
    for agent in agents_of(runs):
        if agent == reference:
            continue
        mine = _values(runs, agent, column)
        ratio, interval = inference.variance_ratio(mine, theirs)
        rows.append(
            {
                "agent": agent,
                "reference": reference,
                "seeds": min(len(mine), len(theirs)),
                "std": mine.std(ddof=1),
                "reference_std": theirs.std(ddof=1),
                "ratio": ratio,
                "ratio_low": interval.low,
                "ratio_high": interval.high,
                "p": inference.brown_forsythe(mine, theirs),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=inference.holm(table["p"])) if rows else table


def components(runs: pd.DataFrame, column: str = HEADLINE) -> pd.DataFrame:
    """Variances (%^2) by seed and by split, of experiments that differ in their split alone.

    A row per setting (what else was the same) with several splits, and agent: setting, agent, splits, runs,
    seed_variance, split_variance.
    """
    rows = []
    for setting, same in runs.groupby("setting", sort=False):
        if same["split_seed"].nunique() < 2:
            continue
        for agent in agents_of(same):
            splits = [_values(split, agent, column) for _, split in same.groupby("split_seed")]
            splits = [values for values in splits if len(values)]
            found = inference.variance_components(splits)
            counts = {"splits": len(splits), "runs": sum(map(len, splits))}
            parts = {"seed_variance": found.seed, "split_variance": found.split}
            rows.append({"setting": setting, "agent": agent} | counts | parts)
    return pd.DataFrame(rows)


class AgainstBest(NamedTuple):
    """The agent of the highest mean in one task, and the others by what a test says of their difference from it."""

    best: str | None
    tied: list[str]
    worse: list[str]
    undecided: list[str]


def against_best(runs: pd.DataFrame, column: str = HEADLINE) -> AgainstBest:
    """Every agent against the best one of one task: the sign-flip test, corrected (Bonferroni) for all pairs of agents.

    For the best is chosen by the same numbers that are tested: a correction for the comparisons with it alone would
    call one agent in fifteen worse by chance.
    """
    means = runs[runs["status"] == "done"].groupby("agent", sort=False)[column].mean().dropna()
    if means.empty:
        return AgainstBest(None, [], [], [])
    best, count = str(means.idxmax()), len(means)
    comparisons = count * (count - 1) // 2
    groups: dict[str, list[str]] = {WORSE: [], OPEN: [], UNDECIDABLE: [], NO_PAIRS: []}
    for agent in map(str, means.index):
        if agent != best:
            result = inference.paired(paired_differences(runs, agent, best, column))
            groups[_verdict(result.pairs, result.mean, comparisons * result.p, comparisons)].append(agent)
    return AgainstBest(best, groups[OPEN], groups[WORSE], groups[UNDECIDABLE] + groups[NO_PAIRS])


def is_control(agent: str) -> bool:
    """Whether an agent's label is that of a control."""
    return agent.partition(":")[0] in CONTROLS


def _values(runs: pd.DataFrame, agent: str, column: str) -> pd.Series:
    chosen = runs[(runs["agent"] == agent) & (runs["status"] == "done")]
    return chosen[column].dropna().astype(float)


def _strata(runs: pd.DataFrame, agent: str, column: str) -> list[pd.Series]:
    values = [_values(task, agent, column) for _, task in runs.groupby("task", sort=False)]
    return [task for task in values if len(task)]


def paired_differences(runs: pd.DataFrame, agent: str, reference: str, column: str) -> np.ndarray:
    """``(n,)``: an agent's values minus the reference's, wherever both have one of the same task and seed."""
    done = runs[(runs["status"] == "done") & runs["agent"].isin((agent, reference))]
    wide = done.pivot(index=["task", "seed"], columns="agent", values=column).astype(float)
    if not {agent, reference} <= set(wide.columns):
        return np.empty(0)
    return np.asarray((wide[agent] - wide[reference]).dropna(), dtype=np.float64)
