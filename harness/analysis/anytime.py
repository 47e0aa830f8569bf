"""Anytime performance: incumbent curves, the area under them, running times to a target.

Everything here takes the evaluations of runs that are done: see :func:`finished`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
"""Of the intervals."""
REFERENCES = ("uniform", "random")
"""The controls whose final accuracies are targets."""
BEFORE = "uniform"
"""The control whose accuracy counts in an area while a run has no incumbent: anybody has it after one evaluation."""
TOLERANCE = 1e-9  # percentage points by which a target may be missed

_RUN = ["agent", "seed"]


def finished(runs: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The evaluations of those runs that are done.

    Args:
        runs: see :attr:`prunebench.harness.analysis.frames.Reading.runs`.
        evaluations: see :attr:`prunebench.harness.analysis.frames.Reading.evaluations`.
    """
    return evaluations.merge(runs.loc[runs["status"] == "done", _RUN], on=_RUN)


def by_evaluations(evaluations: pd.DataFrame, budget: int) -> pd.DataFrame:
    """The incumbent's accuracy (%, on the reward split) of every run after 1 to ``budget`` evaluations.

    A run that ends early holds its last value; NaN before the first evaluation within the cost budget.

    Returns:
        A row per (agent, seed), a column per number of evaluations.
    """
    return _curves(evaluations, evaluations["index"] + 1, np.arange(1, budget + 1))


def by_seconds(evaluations: pd.DataFrame, grid: ArrayLike) -> pd.DataFrame:
    """The incumbent's accuracy (%, on the reward split) of every run after so many seconds of its search.

    As :func:`by_evaluations`. An evaluation counts from when it is finished; a run holds its last value after its end.

    Args:
        evaluations: of runs that are done.
        grid: seconds, ascending, see :func:`seconds_grid`.
    """
    return _curves(evaluations, evaluations["elapsed"], np.asarray(grid, dtype=np.float64))


def seconds_grid(evaluations: pd.DataFrame, points: int = 300) -> NDArray[np.float64]:
    """Seconds from 0 to the end of the longest search, evenly spaced."""
    return np.linspace(0.0, evaluations["elapsed"].max() if len(evaluations) else 0.0, points)


def _curves(evaluations: pd.DataFrame, position: pd.Series, grid: NDArray[Any]) -> pd.DataFrame:
    """Per run the incumbent of the last evaluation whose position is not above the grid's."""
    found = {}
    for run, rows in evaluations.assign(position=position).groupby(_RUN, sort=False):
        last = np.searchsorted(rows["position"].to_numpy(), grid, side="right") - 1
        found[run] = np.where(last >= 0, rows["incumbent"].to_numpy(dtype=np.float64)[last], np.nan)
    index = pd.MultiIndex.from_tuples(list(found), names=_RUN)
    return pd.DataFrame(np.reshape(list(found.values()), (len(found), len(grid))), index=index, columns=grid)


def mean_interval(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds of every agent, and its 95 % interval by Student's t.

    Args:
        curves: from :func:`by_evaluations` or :func:`by_seconds`.

    Returns:
        A row per agent and point; columns agent, at (evaluations or seconds), mean, low, high (%). NaN while not all
        of the agent's runs have an incumbent; low and high also where there is one run only.
    """
    parts = [
        pd.DataFrame({"agent": agent, "at": curves.columns} | interval(rows.to_numpy()))
        for agent, rows in curves.groupby("agent", sort=False)
    ]
    nothing = pd.DataFrame(columns=["agent", "at", "mean", "low", "high"])
    return pd.concat(parts, ignore_index=True) if parts else nothing


def interval(values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Mean, low and high of ``(runs, points)``, per point: 95 %, by Student's t; NaN for one run."""
    runs, mean = len(values), values.mean(axis=0)
    half = np.full_like(mean, np.nan)
    if runs > 1:
        half = stats.t.ppf((1 + LEVEL) / 2, runs - 1) * values.std(axis=0, ddof=1) / np.sqrt(runs)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def area(curves: pd.DataFrame, before: float = 0.0) -> pd.Series:
    """Per run the mean (%) of its curve over 1 to ``budget`` evaluations.

    Args:
        curves: from :func:`by_evaluations`.
        before: the accuracy (%) that counts while a run has no incumbent.
    """
    return curves.fillna(before).mean(axis=1).rename("area")


def final(evaluations: pd.DataFrame) -> pd.Series:
    """Per run the last incumbent's accuracy (%); NaN where there is none."""
    return evaluations.groupby(_RUN, sort=False)["incumbent"].agg(lambda values: values.iloc[-1])


def targets(evaluations: pd.DataFrame, accuracies: Iterable[float] = ()) -> dict[str, float]:
    """Accuracies (%) to be reached, by name: those of the controls, then the given ones (``90``, ``92.5``).

    ``uniform`` and ``random`` stand for the mean of their runs' last incumbents, and are left out where they have none.
    """
    means = final(evaluations).groupby("agent").mean()
    found = {name: float(means[name]) for name in REFERENCES if pd.notna(means.get(name))}
    return found | {f"{accuracy:g}": float(accuracy) for accuracy in accuracies}


def running_time(evaluations: pd.DataFrame, target: float) -> pd.DataFrame:
    """What it takes to reach a target, by the expected running time (ERT) of COCO (Hansen et al., arXiv 1603.08785).

    That is what all of an agent's runs spent until they reached the target or ended, divided by how many reached it:
    an estimate of what it takes if a run that misses is followed by another one.

    Args:
        evaluations: of runs that are done.
        target: accuracy (%), reached by an incumbent that is not below it.

    Returns:
        Indexed by agent; columns runs, reached (counts), evaluations, seconds (infinite where no run reached it).
    """
    spent = pd.DataFrame(
        [{"agent": agent} | _spent(rows, target) for (agent, _), rows in evaluations.groupby(_RUN, sort=False)],
        columns=["agent", "runs", "reached", "evaluations", "seconds"],
    )
    table = spent.groupby("agent", sort=False).sum()
    for unit in ("evaluations", "seconds"):
        table[unit] = (table[unit] / table["reached"].where(table["reached"] > 0)).fillna(np.inf)
    return table


def _spent(rows: pd.DataFrame, target: float) -> dict[str, float]:
    """Of one run until it reached the target, or in all."""
    hits = np.flatnonzero(rows["incumbent"].to_numpy() >= target - TOLERANCE)
    last = int(hits[0]) if hits.size else len(rows) - 1
    return {
        "runs": 1,
        "reached": int(hits.size > 0),
        "evaluations": last + 1,
        "seconds": float(rows["elapsed"].iloc[last]),
        "agent_seconds": float(rows["agent_elapsed"].iloc[last]),
    }


def times_to_common_target(evaluations: pd.DataFrame) -> pd.DataFrame:
    """What every run spent until the highest accuracy that all of these runs reached.

    Args:
        evaluations: of runs that are done.

    Returns:
        A row per run: agent, seed, target (%), evaluations, seconds, agent_seconds. Empty where a run never had a
        policy within the budget.
    """
    target = float(final(evaluations).min(skipna=False))
    columns = ["agent", "seed", "target", "evaluations", "seconds", "agent_seconds"]
    runs = [] if np.isnan(target) else list(evaluations.groupby(_RUN, sort=False))
    rows = [{"agent": agent, "seed": seed, "target": target} | _spent(run, target) for (agent, seed), run in runs]
    return pd.DataFrame(rows, columns=columns)


def table(
    agents: Sequence[str], evaluations: pd.DataFrame, curves: pd.DataFrame, wanted: Mapping[str, float]
) -> pd.DataFrame:
    """A row per agent, over its runs that are done.

    Args:
        agents: in order, those without such a run included.
        evaluations: of runs that are done.
        curves: of the same, from :func:`by_evaluations`.
        wanted: from :func:`targets`.

    Returns:
        Columns agent, runs (count), area_mean, area_std (%, n - 1; before the first incumbent with the accuracy of
        ``uniform``, with 0 where that is not among the targets), and per target
        ``<target>_accuracy`` (%), ``<target>_reached`` (runs), ``<target>_evaluations`` and ``<target>_seconds``
        (expected running times, see :func:`running_time`). NaN for an agent without such runs.
    """
    areas = area(curves, wanted.get(BEFORE, 0.0)).groupby("agent")
    columns: dict[str, Any] = {"runs": areas.size(), "area_mean": areas.mean(), "area_std": areas.std()}
    for name, target in wanted.items():
        times = running_time(evaluations, target)
        columns[f"{name}_accuracy"] = target
        columns |= {f"{name}_{column}": times[column] for column in ("reached", "evaluations", "seconds")}
    index = pd.Index(agents, name="agent")
    counts = dict.fromkeys(["runs", *[f"{name}_reached" for name in wanted]], "Int64")
    return pd.DataFrame(columns, index=index).fillna({"runs": 0}).astype(counts).reset_index()
