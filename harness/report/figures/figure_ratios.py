"""The channels kept per layer by every agent's best policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results


def _draw(results: Results) -> Figure | None:
    """A row per agent, a column per layer: the ratios of its best policy."""
    best = results.reading.best
    if not best:
        return None
    labels = [record.run.agent for record, _ in best]
    ratios = np.array([incumbent.realised for _, incumbent in best], dtype=np.float64)
    figure = style.figure(1.3 + 0.27 * len(labels))
    axes = figure.add_subplot()
    levels = np.linspace(0, 1, 11)
    colours = matplotlib.colormaps["viridis"].resampled(len(levels) - 1)
    edges = (np.arange(ratios.shape[1] + 1) + 0.5, np.arange(len(labels) + 1) - 0.5)
    norm = BoundaryNorm(levels, len(levels) - 1)
    cells = axes.pcolormesh(*edges, ratios, cmap=colours, norm=norm, edgecolors="face", linewidth=0.6)  # no seams
    style.agent_rows(axes, labels)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(18, integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, ratios.shape[1] + 0.5)
    axes.set_xlabel("prunable layer (number, from the input)")
    bar = figure.colorbar(cells, ax=axes, ticks=levels[::2], pad=0.015, fraction=0.04)
    bar.set_label("channels kept (fraction)")
    return figure


PRESERVE_RATIOS = Drawing(
    "preserve_ratios",
    "Channels kept per layer",
    "Channels kept per layer by the best policy of every agent, that of the run with the best result on the reward "
    "split.",
    _draw,
)
