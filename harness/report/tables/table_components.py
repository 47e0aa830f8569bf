"""The table of variance components: an agent's own, and the split's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import AGENT, Column, Table, plain, rows, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "components"


def table(results: Results) -> Table | None:
    """Variance components; None where no experiments differ in their split alone."""
    frame = results.components
    if frame.empty:
        return None
    several = frame["setting"].nunique() > 1
    columns = [
        *([Column("setting", "network,\nbudget", "network, budget", text("setting"), left=True)] if several else []),
        AGENT,
        Column("splits", "splits", "splits", plain("splits")),
        Column("runs", "runs", "runs", plain("runs")),
        Column("seed_variance", "by seed,\n%²", "by seed, %²", plain("seed_variance", 3)),
        Column("split_variance", "by split,\n%²", "by split, %²", plain("split_variance", 3)),
    ]
    caption = (
        "Variance components of the test accuracy: of the agent's seed within a split, and between splits (the dense "
        "network's own accuracy included); one-way random-effects analysis of variance, negative estimates as 0."
    )
    group = "setting" if several else ""
    return Table(NAME, "Variance by seed and by split", columns, rows(frame), frame, caption, group=group)
