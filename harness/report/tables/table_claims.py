"""Published claims against what was measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import Column, Table, rows, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "claims"
_COLUMNS = (
    Column("claim", "claim", "claim", text("claim"), left=True, share=0.25),
    Column("source", "source", "source", text("source"), left=True, share=0.13),
    Column("agent", "for", "for", text("agent"), left=True, share=0.16),
    Column("measured", "measured here", "measured", text("measured"), left=True, share=0.26),
    Column("outcome", "outcome", "outcome", text("outcome"), left=True, share=0.1),
)
_CAPTION = (
    "Published claims, each tested by the comparison written down for it in claims.yaml: accuracies on the test "
    "split, differences of runs of one seed and task, 5 %, not corrected for their number. Rows for "
    "adaptive_clustered_bo put the same question to our own agent; they say nothing about the published method."
)


def table(results: Results) -> Table:
    """Every claim that was tested, and those that none of the agents here can test."""
    frame = results.findings
    return Table(NAME, "Published claims", _COLUMNS, rows(frame), frame, _CAPTION, closing=True)
