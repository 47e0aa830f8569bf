"""On how many tasks one agent's mean is higher than another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.analysis.comparison import SMALLEST_EFFECT
from prunebench.harness.report.tables.tabular import AGENT, Column, Table, rows, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "matrix"


def table(results: Results) -> Table | None:
    """Wins, ties and losses; None of one task, or of one agent."""
    if len(results.readings) < 2 or len(results.agents) < 2:
        return None
    frame = results.matrix
    others = [_column(name) for name in frame["agent"]]
    caption = (
        f"Wins / ties / losses of the row's agent against the column's, over the tasks that both have runs on, by mean "
        f"test accuracy; a tie is a difference of at most {SMALLEST_EFFECT:g} points. No test: that is the table of "
        "differences."
    )
    return Table(NAME, "Wins, ties and losses", [AGENT, *others], rows(frame), frame, caption)


def _column(agent: str) -> Column:
    """Its heading broken where a name may be, for there are many columns."""
    return Column(agent, agent.replace("_", "_\n").replace(":", ":\n"), agent, text(agent))
