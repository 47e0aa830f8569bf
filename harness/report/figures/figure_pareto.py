"""Accuracy against cost, of all evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from prunebench.envs.tasks import costs
from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.record.store import Experiment

_LOWEST = 0.05  # quantile of the accuracies at which an axis may begin


def _draw(results: Results) -> Figure | None:
    """Every evaluation as a dot, the front of all of them, the budget; what is beyond the budget in a panel of its own.

    Beyond it are probes, which are far away: on one axis the rest would be squashed.
    """
    experiment, evaluations = results.experiment, results.reading.evaluations
    if evaluations.empty:
        return None
    parts = [evaluations[evaluations["feasible"]], evaluations[~evaluations["feasible"]]]
    beyond = not parts[1].empty
    figure = style.figure(4.4)
    panels = figure.subplots(1, 1 + beyond, sharey=True, squeeze=False, width_ratios=[4, 1][: 1 + beyond])[0]
    low = float(evaluations["accuracy"].quantile(_LOWEST))
    style.accuracy_axis(panels[0], "y", low, float(evaluations["accuracy"].max()))
    for axes, rows, ticks in zip(panels, parts, (8, 2), strict=False):
        _costs(axes, experiment, rows, results.front)
        axes.xaxis.set_major_locator(MaxNLocator(ticks))
    budget = 100 * experiment.config.preserve
    panels[0].axvline(budget, color=style.INK, linewidth=1.1, linestyle=(0, (4, 3)), label="_budget", zorder=1)
    panels[0].set_xlim(*_padded([*parts[0].loc[parts[0]["accuracy"] >= low, "cost_kept"], budget]))
    panels[0].set_ylabel("reward-split accuracy (%), log error")
    panels[0].set_xlabel(f"{costs.named(experiment.config.cost).predicted_label} kept (%), within the budget")
    if beyond:
        panels[1].set_xlim(*_padded(parts[1]["cost_kept"]))
        panels[1].set_xlabel("beyond it (%)")
    style.legend(figure, *_keys(experiment, evaluations))
    return figure


def _costs(axes: Axes, experiment: Experiment, rows: pd.DataFrame, best: tuple[NDArray[np.float64], ...]) -> None:
    looks = style.looks(experiment.config.agents)
    for agent, group in rows.groupby("agent", sort=False):
        look = looks[str(agent)]
        accuracy = group["accuracy"].to_numpy(dtype=float)
        axes.plot(group["cost_kept"].to_numpy(dtype=float), accuracy, label=str(agent), alpha=0.6, **_dots(look))
    axes.plot(*best, color=style.INK, linewidth=1.1, drawstyle="steps-post", label="_front")
    axes.grid()


def _dots(look: style.Look) -> dict[str, Any]:
    return {
        "color": look.colour,
        "linestyle": "none",
        "marker": look.marker,
        "markersize": 3.6,
        "markeredgewidth": 0.7,
    }


def _keys(experiment: Experiment, evaluations: pd.DataFrame) -> tuple[list[Line2D], list[str]]:
    """Handles and labels of the legend, in full colour."""
    looks = style.looks(experiment.config.agents)
    agents = [str(agent) for agent in evaluations["agent"].unique()]
    handles = [Line2D([], [], **_dots(looks[agent]) | {"markersize": 5}) for agent in agents]
    lines = [Line2D([], [], color=style.INK, linewidth=1.1, linestyle=dashes) for dashes in ("-", (0, (4, 3)))]
    return [*handles, *lines], [*agents, "best at a cost", "budget"]


def _padded(values: Iterable[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.03 * max(high - low, 1.0)
    return low - room, high + room


PARETO = Drawing(
    "pareto",
    "Accuracy against cost, all evaluations",
    "Accuracy on the reward split against the limited cost, as a fraction of the dense network's: all evaluations of "
    "all runs, the best at every cost, and the budget; what is beyond it has a scale of its own; "
    f"{style.AXIS}, and the lowest twentieth is cut off.",
    _draw,
)
