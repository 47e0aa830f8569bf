"""Published claims against what was measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from prunebench.harness.report.tables.tabular import DASH, Column, Row, Table, rows, shown, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "claims"


def _effect(row: Row) -> str:
    effect = row.get("effect")
    return str(effect) if effect and not pd.isna(effect) else DASH


_COLUMNS = (
    Column("claim", "claim", "claim", text("claim"), left=True, share=0.38),
    Column("agent", "for", "for", text("agent"), left=True, share=0.23),
    Column("outcome", "outcome", "outcome", text("outcome"), left=True, share=0.15),
    Column("effect", "effect", "effect", _effect, left=True, share=0.16, optional=True),
    Column("measured", "measured here", "measured", text("measured"), left=True, detail=True),
    Column("source", "source", "source", text("source"), left=True, detail=True),
)
_CAPTION = (
    "Published claims, each tested by the comparison written down for it in claims.yaml, with accuracies on the test "
    "split, at 5 %, not corrected for their number. Rows for adaptive_clustered_bo put the same question to our own "
    "agent; they say nothing about the published method."
)


def table(results: Results) -> Table:
    """Every claim that was tested, and those that none of the agents here can test."""
    frame = results.findings
    told = rows(frame)
    caption = f"{_CAPTION} Sources: {'; '.join(dict.fromkeys(frame['source']))}."
    return Table(NAME, "Published claims", shown(_COLUMNS, told), told, frame, caption, closing=True, group="claim")
