"""Whether an agent's runs vary less than the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import AGENT, TESTS, Column, Table, interval, plain, rows

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "variances"


def table(results: Results) -> Table | None:
    """Ratios of variances over seeds; None of several tasks, or of one agent."""
    if len(results.readings) > 1 or len(results.agents) == 1:
        return None
    frame, reference = results.variances, results.reference
    few = bool(frame["p"].isna().all())
    columns = [
        AGENT,
        Column("seeds", "runs", "runs", plain("seeds")),
        Column("std", "std,\n%", "std, %", plain("std", 2)),
        Column("reference_std", f"std of\n{reference}, %", "std of reference", plain("reference_std", 2)),
        Column("ratio", "ratio of\nvariances", "ratio", plain("ratio", 2)),
        Column("interval", "interval,\ncorrected", "interval", interval("ratio_low", "ratio_high", 2)),
        *([] if few else TESTS),
    ]
    caption = (
        f"Variance of the test accuracy over seeds, each agent's over that of {reference}: permutation test of the "
        "logarithm of their ratio, of residuals around each agent's mean; Holm's correction, with which the interval "
        "agrees."
    )
    notes = (
        []
        if frame["p"].notna().all()
        else ["There is no test of an agent that does not vary, nor of so few runs that none could reach 5 %."]
    )
    return Table(NAME, f"Variance against {reference}", columns, rows(frame), frame, caption, notes)
