"""Agents one by one: means, spread, variance components, and what was confirmed, of their runs that are done."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunebench.harness.analysis.comparison import HEADLINE, agents_of, values
from prunebench.harness.analysis.statistics import inference
from prunebench.harness.record import journal

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Reading, Recorded


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


_CONFIRMED = (
    *("agent", "seed", "confirmed", "changed"),
    *("search_accuracy", "search_confirm_accuracy", "optimism_before"),
    *("both_accuracy", "test_accuracy", "optimism_after"),
)


def confirmed(reading: Reading) -> pd.DataFrame:
    """A row per run that is done and has confirmed policies.

    *Optimism* is what a policy loses on images that did not choose it, beyond what the dense network loses there.

    Columns: agent, seed, confirmed (how many policies), changed (whether another policy than the search's best became
    the incumbent); of the search's best search_accuracy and search_confirm_accuracy (%, reward and confirm split) and
    optimism_before (points: from the first to the second); of the incumbent both_accuracy (%, on both splits together),
    test_accuracy (%), optimism_after (points, likewise).
    """
    rows = [_confirmed_row(record, reading.manifest["task"]["dense"]) for record in reading.records if _has_any(record)]
    return pd.DataFrame(rows, columns=list(_CONFIRMED))


def _has_any(found: Recorded) -> bool:
    return found.status.state == "done" and bool(found.status.confirmed) and found.status.test is not None


def _confirmed_row(found: Recorded, dense: dict[str, Any]) -> dict[str, Any]:
    run, status, lines = found
    assert status.test is not None
    again = {one.evaluation: one for one in status.confirmed}
    first, best = lines[status.confirmed[0].evaluation], journal.incumbent(lines, status.confirmed)
    assert best is not None
    reward, confirm, test = (dense[f"{split}_accuracy"] for split in ("reward", "confirm", "test"))
    both = journal.pooled_accuracy(best, again[best.index])
    lost = first.accuracy - again[first.index].accuracy - (reward - confirm)
    still = both - status.test.accuracy - ((reward + confirm) / 2 - test)
    shares = (first.accuracy, again[first.index].accuracy, lost, both, status.test.accuracy, still)
    values = (run.agent, run.seed, len(again), first.index != best.index, *(100 * share for share in shares))
    return dict(zip(_CONFIRMED, values, strict=True))
