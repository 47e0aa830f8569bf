"""Agents one by one: means, spread and variance components of their runs that are done."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from prunebench.harness.analysis.comparison import HEADLINE, agents_of, values
from prunebench.harness.analysis.statistics import inference


def describe(runs: pd.DataFrame, column: str = HEADLINE) -> pd.DataFrame:
    """A row per agent of one task: agent, seeds (values), mean, mean_low, mean_high, std, variance, median, iqm.

    The interval is Student's, of 95 %; the variance has n - 1.
    """
    return pd.DataFrame([{"agent": agent} | _description(values(runs, agent, column)) for agent in agents_of(runs)])


def _description(sample: pd.Series) -> dict[str, Any]:
    interval = inference.mean_interval(sample)
    return {
        "seeds": len(sample),
        "mean": sample.mean(),
        "mean_low": interval.low,
        "mean_high": interval.high,
        "std": sample.std(ddof=1),
        "variance": sample.var(ddof=1),
        "median": sample.median(),
        "iqm": float(inference.iqm(sample)) if len(sample) else math.nan,
    }


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
            splits = [values(split, agent, column) for _, split in same.groupby("split_seed")]
            splits = [values for values in splits if len(values)]
            found = inference.variance_components(splits)
            counts = {"splits": len(splits), "runs": sum(map(len, splits))}
            parts = {"seed_variance": found.seed, "split_variance": found.split}
            rows.append({"setting": setting, "agent": agent} | counts | parts)
    return pd.DataFrame(rows)
