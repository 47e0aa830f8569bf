"""Claims against what was measured here: published ones or a user's, and the same asked of our own agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from prunebench.harness.analysis.claim_rules import NOT_TESTED
from prunebench.harness.analysis.statistics.inference import ALPHA
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
    "Each tested by the comparison written down for it, with accuracies on the test split, at {}, not corrected for "
    "their number. Refuted: an equivalence test shows that the effect is smaller than the smallest that matters."
)
_OURS = "adaptive_clustered_bo"  # no paper speaks of it


def table(results: Results) -> Table | None:
    """Every claim that was tested, and those that none of the agents here can test; our own agent has another table.

    A user's claims are in one table. None where some were registered and their file is not at hand: they were to be
    tested, at their level, and not the published ones.
    """
    frame = results.findings
    if results.claims_file is not None:
        return _shown(results, NAME, "Claims", frame, [_registered(results)])
    return _shown(results, NAME, "Published claims", frame[~_ours(frame)], []) if _of_published(results) else None


def own(results: Results) -> Table | None:
    """The questions of published claims, put to our own agent; None where it took no part."""
    frame = results.findings
    if not _of_published(results) or not (_ours(frame) & (frame["outcome"] != NOT_TESTED)).any():
        return None
    note = "These rows say nothing about the published method."
    return _shown(results, OWN, f"The same questions about {_OURS}, our own agent", frame[_ours(frame)], [note])


OWN = "own_claims"


def _of_published(results: Results) -> bool:
    """Whether published claims are what is to be tested: not where a user has or had others."""
    return results.claims_file is None and not any(experiment.config.claims for experiment in results.experiments)


def _ours(frame: pd.DataFrame) -> pd.Series:
    return frame["agent"].str.partition(":")[0] == _OURS


def _shown(results: Results, name: str, title: str, frame: pd.DataFrame, notes: list[str]) -> Table:
    told = rows(frame)
    levels = sorted({getattr(claim.test, "level", ALPHA) for claim in results.claims})
    caption = _CAPTION.format(" or ".join(f"{100 * level:g} %" for level in levels))
    caption += f" Sources: {'; '.join(dict.fromkeys(frame['source']))}."
    return Table(name, title, shown(_COLUMNS, told), told, frame, caption, notes, closing=True, group="claim")


def _registered(results: Results) -> str:
    """Whether the claims were there before the runs."""
    known = {experiment.config.claims for experiment in results.experiments}
    if known == {results.claims_sha256}:
        return "These claims were registered before the first run: experiment.yaml has their hash."
    return "These claims were not registered before the runs (bench --claims): they may have been made to fit."
