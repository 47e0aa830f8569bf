"""The table of what confirming the best policies has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import AGENT, Column, Table, plain, rows

if TYPE_CHECKING:
    import pandas as pd

    from prunebench.harness.analysis.results import Results

NAME = "confirmed"
_COLUMNS = (
    AGENT,
    Column("runs", "runs", "runs", plain("runs")),
    Column("confirmed", "con-\nfirmed", "confirmed", plain("confirmed", 1)),
    Column("changed", "changed", "changed", plain("changed")),
    Column("search", "search's best:\nreward, %", "reward, %", plain("search_accuracy", 2)),
    Column("search_confirm", "\nconfirm, %", "confirm, %", plain("search_confirm_accuracy", 2)),
    Column("before", "optimism\nbefore", "before", plain("optimism_before", 2)),
    Column("both", "incumbent:\nboth, %", "both, %", plain("both_accuracy", 2)),
    Column("test", "\ntest, %", "test, %", plain("test_accuracy", 2)),
    Column("after", "optimism\nafter", "after", plain("optimism_after", 2)),
)
_CAPTION = (
    "What scoring the best policies of a run again has changed (means over runs): how many policies were confirmed; in "
    "how many runs another one than the search's best became the incumbent; accuracy of the search's best on the "
    "reward and the confirm split, and of the incumbent on both together and on the test split."
)
_OPTIMISM = (
    "Optimism: what policies lose on images that did not choose them, in points, beyond what the dense network loses "
    "there. Before: the search's best, from the reward to the confirm split. After: the incumbent, from both splits "
    "together to the test split."
)


def table(results: Results) -> Table | None:
    """A row per agent that has confirmed policies; None where there are none, or several experiments."""
    if len(results.parts) > 1 or not results.experiment.config.task.confirm or results.confirmed.empty:
        return None
    frame = _means(results.confirmed)
    return Table(NAME, "Confirmed policies", _COLUMNS, rows(frame), frame, _CAPTION, notes=[_OPTIMISM])


def notes(part: Results) -> list[str]:
    """The same of all agents in a few sentences, for one experiment; none where nothing was confirmed."""
    config = part.experiment.config
    if not config.task.confirm or part.confirmed.empty:
        return []
    found, images = part.confirmed, part.reading.manifest["task"]["splits"]["confirm"]
    before, after = found["optimism_before"].mean(), found["optimism_after"].mean()
    return [
        f"Confirmed: up to {config.task.confirm} best policies of a run were scored again on {images} fresh images, "
        f"and the best on these and the reward split together is the run's incumbent (charged: a search has "
        f"{config.search_evaluations} of the {config.evaluations} evaluations). In {int(found['changed'].sum())} of "
        f"{len(found)} runs that is another policy than the search's best. {_OPTIMISM} Means over these runs: "
        f"{before:+.2f} points before, {after:+.2f} after."
    ]


def _means(found: pd.DataFrame) -> pd.DataFrame:
    groups = found.groupby("agent", sort=False)
    means = groups.mean(numeric_only=True).drop(columns=["seed", "changed"])
    means.insert(0, "runs", groups.size())
    means.insert(2, "changed", groups["changed"].sum())
    return means.reset_index()
