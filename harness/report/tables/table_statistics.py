"""Statistics of the test accuracy, per agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.analysis.inference import RESAMPLED_RUNS
from prunebench.harness.report.tables.tabular import AGENT, Column, Table, interval, plain, rows

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "statistics"
_COLUMNS = (
    AGENT,
    Column("seeds", "runs", "runs", plain("seeds")),
    Column("mean", "mean,\n%", "mean, %", plain("mean", 2)),
    Column("std", "std,\n%", "std, %", plain("std", 2)),
    Column("variance", "var.,\n%²", "var., %²", plain("variance", 2)),
    Column("median", "median,\n%", "median, %", plain("median", 2)),
    Column("iqm", "IQM,\n%", "IQM, %", plain("iqm", 2)),
    Column("iqm_interval", "95 % interval\nof the IQM", "95 % interval", interval("iqm_low", "iqm_high", 2)),
)
_CAPTION = (
    "Accuracy on the test split: mean, standard deviation and variance (n - 1), median, and interquartile mean "
    f"(IQM) with a percentile-bootstrap interval, stratified by task, from {RESAMPLED_RUNS} runs on."
)
_FEW = "The interquartile mean of fewer than four values is their mean."


def table(results: Results) -> Table | None:
    """Mean, spread, median and interquartile mean; None where agents have no task in common."""
    frame, tasks, shared = results.description, len(results.readings), len(results.shared_tasks)
    if tasks > 1 and not shared:
        return None
    notes = [_FEW] if len(frame) and frame["seeds"].min() < 4 else []
    if tasks > 1:
        notes.append(
            f"Over the {shared} of {tasks} tasks that all agents have results on; std and variance are those within a "
            "task, pooled."
        )
    return Table(NAME, "Statistics of the test accuracy", _COLUMNS, rows(frame), frame, _CAPTION, notes)
