"""Adding seeds until it is decided: looks that were fixed before the first run, and what is decided at each.

Looking after every seed and stopping at the first small p would find differences where there are none. Here the chance
of any false verdict, 5 %, is spent in equal parts on the looks (Bonferroni's bound: it holds however looks depend on
each other). docs/report.md has the simulated operating characteristics, beside those of other ways to spend it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunebench.harness.analysis import comparison
from prunebench.harness.analysis.comparison import BETTER, EQUAL, HEADLINE, WORSE
from prunebench.harness.analysis.statistics.inference import ALPHA

DECIDED = (BETTER, WORSE, EQUAL)


def differences(runs: pd.DataFrame, looks: Sequence[int], reference: str, column: str = HEADLINE) -> pd.DataFrame:
    """The rows of :func:`prunebench.harness.analysis.comparison.differences`, each as of the look that decided it.

    A row that no look has decided stands as of the last look that all runs of both agents are done for.

    Args:
        runs: of one task, see :class:`prunebench.harness.analysis.results.Results`.
        looks: ascending numbers of seeds.
        reference: the agent that the others are compared with.
        column: of values of which more is better.

    Returns:
        And a column ``look`` (seeds).
    """
    standing: pd.DataFrame | None = None
    for look in looks:
        at = runs[runs["seed"] < look]
        found = comparison.differences(at, reference, column, ALPHA / len(looks)).assign(look=look)
        if standing is None:
            standing = found
        later = ~standing["verdict"].isin(DECIDED) & _reached(runs, found, look)
        standing = standing.where(~later, found)
    assert standing is not None
    return standing.infer_objects()


def _reached(runs: pd.DataFrame, found: pd.DataFrame, look: int) -> pd.Series:
    """Whether both agents of a row have all runs that the look is at."""
    done = runs[(runs["status"] == "done") & (runs["seed"] < look)].groupby("agent").size()
    there = {agent for agent, count in done.items() if count >= look}
    return found["agent"].isin(there) & found["reference"].isin(there)


def open_agents(standing: pd.DataFrame) -> list[str]:
    """The agents of rows that are not decided, which more seeds may decide: the reference first."""
    waiting = standing[~standing["verdict"].isin(DECIDED)]
    return list(dict.fromkeys([*waiting["reference"], *waiting["agent"]]))
