"""The figure of where the seconds of a run went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

_COLOURS = {"agent": "#8a63d2", "reconstruction": "#d55e00", "forward": "#2b95cf", "environment": "#7a7a7a"}


def _draw(results: Results) -> Figure | None:
    """Mean seconds of an agent's runs, by what they were spent on."""
    means = results.seconds
    if means.empty:
        return None
    figure = style.figure(1.4 + 0.33 * len(means))
    axes = figure.add_subplot()
    rows, left = np.arange(len(means)), np.zeros(len(means))
    bars = []
    for part, colour in _COLOURS.items():
        seconds = means[part].to_numpy(dtype=float)
        bars.append(axes.barh(rows, seconds, left=left, height=0.62, color=colour, label=part))
        left = left + seconds
    for row, total in zip(rows, left, strict=True):
        axes.annotate(f"{total:.3g}", (total, row), (4, 0), textcoords="offset points", va="center")
    style.agent_rows(axes, [str(agent) for agent in means.index])
    axes.set_xlim(0, 1.08 * max(float(left.max()), 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.grid(axis="x")
    axes.set_xlabel("wall-clock time of a run (s), mean over seeds")
    style.legend(figure, bars, list(_COLOURS))
    return figure


TIME_SPLIT = Drawing(
    "time_split",
    "Where the time went",
    "Wall-clock seconds of a run by what they were spent on, and in all: mean over the seeds that are done.",
    _draw,
)
