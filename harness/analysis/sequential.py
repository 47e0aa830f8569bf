"""Adding seeds until it is decided: looks that were fixed before the first run, and what is decided at each.

Looking after every seed and stopping at the first small p would find differences where there are none. Here the chance
of any false verdict, 5 %, is spent in equal parts on the looks (Bonferroni's bound: it holds however looks depend on
each other). docs/report.md has the simulated operating characteristics.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prunebench.harness.analysis import comparison
from prunebench.harness.analysis.comparison import BETTER, EQUAL, HEADLINE, NO_RUNS, UNDECIDABLE, WORSE
from prunebench.harness.analysis.statistics.inference import ALPHA

DECIDED = (BETTER, WORSE, EQUAL)


def differences(runs: pd.DataFrame, looks: Sequence[int], reference: str, column: str = HEADLINE) -> pd.DataFrame:
    """The rows of :func:`prunebench.harness.analysis.comparison.differences`, each as of the look that decided it.

    A row that no look has decided stands as of the last look that all runs of both agents are done for. Before the
    first one nothing is decided.

    Args:
        runs: of one task, see :class:`prunebench.harness.analysis.results.Results`; seeds count from 0.
        looks: ascending numbers of seeds.
        reference: the agent that the others are compared with.
        column: of values of which more is better.

    Returns:
        And a column ``look`` (seeds; NaN before the first). ``p_holm`` is corrected for the looks, too.
    """
    agents = [agent for agent in comparison.agents_of(runs) if agent != reference]
    standing = {agent: _before(runs, agent, reference, column) for agent in agents}
    for look in looks:
        waiting = [agent for agent in agents if standing[agent]["verdict"] not in DECIDED]
        there = [agent for agent in waiting if _reached(runs, look, agent) and _reached(runs, look, reference)]
        found = comparison.differences(runs[runs["seed"] < look], reference, column, ALPHA / len(looks))
        for row in found[found["agent"].isin(there)].to_dict("records"):
            p = float(np.minimum(1.0, len(looks) * row["p_holm"]))  # NaN stays
            standing[row["agent"]] = row | {"look": look, "p_holm": p}
    return pd.DataFrame(list(standing.values()), columns=[*comparison.COLUMNS, "look"])


def _before(runs: pd.DataFrame, agent: str, reference: str, column: str) -> dict[Hashable, Any]:
    """The row before the first look: an effect, and no test."""
    both = runs[runs["agent"].isin((agent, reference))]
    (row,) = comparison.differences(both, reference, column).to_dict("records")
    verdict = row["verdict"] if row["verdict"] == NO_RUNS else UNDECIDABLE
    untested = dict.fromkeys(("low", "high", "corrected_low", "corrected_high", "p", "p_holm"), math.nan)
    return row | untested | {"verdict": verdict, "look": math.nan}


def _reached(runs: pd.DataFrame, look: int, agent: str) -> bool:
    """Whether an agent has all runs that a look is at."""
    done = (runs["agent"] == agent) & (runs["status"] == "done") & (runs["seed"] < look)
    return int(done.sum()) >= look


def open_agents(standing: pd.DataFrame) -> list[str]:
    """The agents of rows that are not decided, which more seeds may decide: the reference first."""
    waiting = standing[~standing["verdict"].isin((*DECIDED, NO_RUNS))]
    return list(dict.fromkeys([*waiting["reference"], *waiting["agent"]]))
