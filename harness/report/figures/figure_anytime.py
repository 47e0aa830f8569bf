"""Accuracy of the incumbent over the search: against evaluations, and against seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.experiments.agentspec import AgentSpec

_LOWEST = 0.05  # quantile of the mean curves at which an axis may begin


def _evaluations(results: Results) -> Figure | None:
    return draw(results.experiment.config.agents, results.by_evaluations, "evaluations")


def _seconds(results: Results) -> Figure | None:
    agents = results.experiment.config.agents
    return draw(agents, results.by_seconds, "wall-clock time of the search (s)")


def draw(agents: Sequence[AgentSpec], curves: pd.DataFrame, label: str) -> Figure | None:
    """Every agent's mean incumbent with its interval.

    Args:
        agents: decide the looks.
        curves: from :func:`prunebench.harness.analysis.anytime.mean_interval`.
        label: of the axis below.
    """
    known = curves.dropna(subset=["mean"])
    if known.empty:
        return None
    figure = style.figure(4.2)
    axes = figure.add_subplot()
    looks = style.looks(agents)
    lines = [_curve(axes, rows, looks[str(agent)], n) for n, (agent, rows) in enumerate(style.by_agent(known))]
    axes.set_xlim(0, max(float(known["at"].max()), 1e-9))
    if known["low"].notna().any():
        _last_intervals(axes, known, looks)
    style.accuracy_axis(axes, "y", *_focus(known))
    axes.grid()
    axes.set_xlabel(label)
    axes.set_ylabel("reward-split accuracy (%), log error")
    style.legend(figure, lines, [str(line.get_label()) for line in lines])
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, look: style.Look, number: int) -> Line2D:
    """One agent's mean as steps over its interval; accuracies end at 100 %."""
    at, agent = rows["at"].to_numpy(dtype=float), str(rows["agent"].iloc[0])
    low, high = rows["low"].to_numpy(dtype=float), rows["high"].clip(upper=100).to_numpy(dtype=float)
    if np.isfinite(low).any():
        axes.fill_between(at, low, high, step="post", color=look.colour, alpha=0.08, linewidth=0)
    every = max(1, len(at) // 6)
    mean = rows["mean"].to_numpy(dtype=float)
    start = (number * every // 7) % every
    keywords = style.line_style(look) | {"markevery": (start, every), "drawstyle": "steps-post", "label": agent}
    return axes.plot(at, mean, linewidth=1.5, **keywords)[0]


def _last_intervals(axes: Axes, curves: pd.DataFrame, looks: Mapping[str, style.Look]) -> None:
    """Bands overlap: the last mean and interval of every agent once more, side by side at the right."""
    end = max(float(curves["at"].max()), 1e-9)
    last = curves.groupby("agent", sort=False).tail(1)
    for number, row in enumerate(last.to_dict("records")):
        look, at = looks[row["agent"]], end * (1.015 + 0.012 * number)
        if np.isfinite(row["low"]):
            ends = [row["low"], min(row["high"], 100.0)]
            axes.plot([at, at], ends, color=look.colour, linewidth=1.5, label="_interval")
        axes.plot(at, row["mean"], color=look.colour, marker=look.marker, markersize=4, label="_last")
    axes.set_xlim(0, end * (1.025 + 0.012 * len(last)))


def _focus(curves: pd.DataFrame) -> tuple[float, float]:
    """The accuracies (%) that the axis shows: every last mean, most of the way there, and what is near of intervals."""
    last = curves.groupby("agent", sort=False).tail(1)
    low = min(float(curves["mean"].quantile(_LOWEST)), float(last["mean"].min()))
    ends = style.forward([low, curves["mean"].max(), last["high"].fillna(0.0).clip(upper=100).max()])
    high = min(max(ends[1], ends[2]), ends[1] + 0.25 * (ends[1] - ends[0]))
    return low, float(style.backward(high))


_MEAN = (
    "mean over the seeds that are done, with its 95 % interval by Student's t (the last ones once more at the right)"
)
_CUT = f"{style.AXIS}, and the lowest of the early ones are cut off."
ANYTIME_EVALUATIONS = Drawing(
    "anytime_evaluations",
    "Accuracy over the search",
    f"Accuracy of the incumbent on the reward split against finished evaluations: {_MEAN}; {_CUT}",
    _evaluations,
)
ANYTIME_SECONDS = Drawing(
    "anytime_seconds",
    "Accuracy over time",
    f"Accuracy of the incumbent on the reward split against the search's wall-clock time: {_MEAN}; a run that has "
    f"ended holds its last value; {_CUT}",
    _seconds,
)
