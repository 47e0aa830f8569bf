"""Statistics of the test accuracy, per agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import AGENT, Column, Table, interval, plain, rows

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "statistics"
_COLUMNS = (
    AGENT,
    Column("seeds", "runs", "runs", plain("seeds")),
    Column("mean", "mean,\n%", "mean, %", plain("mean", 2)),
    Column("mean_interval", "95 % interval\nof the mean", "95 % interval", interval("mean_low", "mean_high", 2)),
    Column("std", "std,\n%", "std, %", plain("std", 2)),
    Column("variance", "var.,\n%²", "var., %²", plain("variance", 2)),
    Column("median", "median,\n%", "median, %", plain("median", 2)),
    Column("iqm", "IQM,\n%", "IQM, %", plain("iqm", 2)),
)
_CAPTION = (
    "Accuracy on the test split: mean and its Student-t interval, standard deviation and variance (n - 1), median, and "
    "interquartile mean (IQM; of fewer than four values their mean)."
)


def table(results: Results) -> Table | None:
    """Mean, spread, median and interquartile mean; None of several tasks, whose accuracies are not alike."""
    if len(results.readings) > 1:
        return None
    frame = results.description
    return Table(NAME, "Statistics of the test accuracy", _COLUMNS, rows(frame), frame, _CAPTION)
