"""Curves of a trial in words and characters, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate

from prunebench.harness.lab import recorded_tasks
from prunebench.harness.lab.trial import TOY

if TYPE_CHECKING:
    import pandas as pd

    from prunebench.harness.lab.trial import Trial

WARNING = (
    "This is no ranking of agents. Three tasks are functions fitted to recorded evaluations, one is made up.\n"
    "They show faults of an agent in seconds: it does not learn, it stops early, it wastes budget. They do not\n"
    "show which of two good agents is better: these leave what was recorded, and there the functions are wrong.\n"
    "`prunebench bench` compares agents."
)
_WIDTH, _HEIGHT = 60, 10
_MARKS = "*.-"
_AT = (1, 3, 10, 30, 100, 300, 1000)


def text(trials: Mapping[str, Trial], seeds: int) -> str:
    """The warning, and of every task a chart, a table and remarks.

    Args:
        trials: by task, from :func:`prunebench.harness.lab.trial.curves`.
        seeds: how many there were.
    """
    return "\n\n".join([WARNING, *(_of_task(task, trial, seeds) for task, trial in trials.items())])


def heading(task: str) -> str:
    """A task in a few words, with how well what was fitted says what it was not fitted to."""
    if task == TOY:
        return "toy: made up, 100 % is its known optimum; half of the MACs"
    about = recorded_tasks.load(task).about
    quality = about["quality"]
    agents = [values["accuracy_r2"] for what, values in quality.items() if what.startswith("all of ")]
    return (
        f"{task}: fitted to {about['evaluations']:,} policies; {100 * about['preserve']:g} % of the MACs. R² of the "
        f"accuracy held out: {quality['a random tenth']['accuracy_r2']:.2f} of a random tenth, "
        f"{min(agents):.2f} to {max(agents):.2f} of a whole agent"
    )


def _of_task(task: str, trial: Trial, seeds: int) -> str:
    curves = trial.means
    agents = list(dict.fromkeys(curves["agent"]))
    means = {agent: curves.loc[curves["agent"] == agent, "mean"].to_numpy(dtype=float) for agent in agents}
    return "\n".join([heading(task), "", *_chart(means), "", _table(curves, agents, seeds), *trial.remarks])


def _chart(means: Mapping[str, Any]) -> list[str]:
    """Means over evaluations; the axis of errors is logarithmic, and what is bad early is cut off."""
    count = max(map(len, means.values()))
    columns = np.unique(np.linspace(0, count - 1, min(_WIDTH, count)).round().astype(int))
    known = np.concatenate([values[np.isfinite(values)] for values in means.values()])
    low, high = np.quantile(known, 0.05), known.max()
    scale = _scale(np.array([low, high]))
    grid = np.full((_HEIGHT, len(columns)), " ")
    for mark, values in reversed(list(zip(_MARKS, means.values(), strict=False))):
        place = (_scale(np.clip(values[columns], low, high)) - scale[0]) / max(scale[1] - scale[0], 1e-9)
        for column in np.flatnonzero(np.isfinite(place)):
            grid[_HEIGHT - 1 - round(place[column] * (_HEIGHT - 1)), column] = mark
    labels = {0: f"{high:.2f} %", _HEIGHT - 1: f"{low:.2f} %"}
    lines = [f"{labels.get(row, ''):>9} |{''.join(cells)}".rstrip() for row, cells in enumerate(grid)]
    legend = "   ".join(f"{mark} {agent}" for mark, agent in zip(_MARKS, means, strict=False))
    return [*lines, f"{'':9} +{'-' * len(columns)} {count} evaluations", f"{'':11}{legend}"]


def _scale(accuracy: Any) -> Any:
    return -np.log10(101 - accuracy)


def _table(curves: pd.DataFrame, agents: Sequence[str], seeds: int) -> str:
    last = int(curves["at"].max())
    at = [*(point for point in _AT if point < last), last]
    rows = [[agent, *(_cell(curves, agent, point) for point in at)] for agent in agents]
    mean = "1 seed, %" if seeds == 1 else f"mean of {seeds} seeds, %,\n± half of its 95 % interval"
    heads = [mean, *(f"after {point}" for point in at)]
    return tabulate(rows, heads, disable_numparse=True, colalign=["left", *["right"] * len(at)])


def _cell(curves: pd.DataFrame, agent: str, point: int) -> str:
    (row,) = curves[(curves["agent"] == agent) & (curves["at"] == point)].to_dict("records")
    if not np.isfinite(row["mean"]):
        return "-"
    half = (row["high"] - row["low"]) / 2
    return f"{row['mean']:.2f}" + (f" ± {half:.2f}" if np.isfinite(half) else "")
