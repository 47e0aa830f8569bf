"""Whether an agent's runs vary less than the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.analysis.inference import RESAMPLED_RUNS
from prunebench.harness.report.tables.tabular import AGENT, TESTS, Column, Table, interval, plain, rows

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "variances"


def table(results: Results) -> Table | None:
    """Ratios of variances over seeds; None of several tasks, or of one agent."""
    if len(results.readings) > 1 or len(results.agents) == 1:
        return None
    frame, reference = results.variances, results.reference
    few = frame.empty or frame["seeds"].max() < RESAMPLED_RUNS
    columns = [
        AGENT,
        Column("seeds", "runs", "runs", plain("seeds")),
        Column("std", "std,\n%", "std, %", plain("std", 2)),
        Column("reference_std", f"std of\n{reference}, %", "std of reference", plain("reference_std", 2)),
        Column("ratio", "ratio of\nvariances", "ratio", plain("ratio", 2)),
        Column("interval", "95 % interval\nof the ratio", "95 % interval", interval("ratio_low", "ratio_high", 2)),
        *([] if few else TESTS),
    ]
    caption = (
        f"Variance of the test accuracy over seeds, each agent's over that of {reference}: percentile-bootstrap "
        "interval; p of the Brown-Forsythe test, Holm's correction."
    )
    notes = [f"Below {RESAMPLED_RUNS} seeds there is neither an interval nor a test."] if few else []
    return Table(NAME, f"Variance against {reference}", columns, rows(frame), frame, caption, notes)
