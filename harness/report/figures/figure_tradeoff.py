"""Accuracy against the kept cost over several budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prunebench.envs.tasks import costs
from prunebench.harness.analysis import several
from prunebench.harness.analysis.several import ACCURACIES
from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

_WHAT = dict(zip(ACCURACIES, ("test-split accuracy (%)", "after fine-tuning (%)"), strict=True))


def _draw(results: Results) -> Figure | None:
    """A row per sweep, a column per kind of accuracy."""
    frame = results.tradeoff
    agents = frame[frame["agent"] != "dense"]
    shown = [accuracy for accuracy in ACCURACIES if agents[f"{accuracy}_mean"].notna().any()]
    if not shown:
        return None
    looks, sweeps = style.looks(results.specs), several.sweeps(results.readings.values())
    figure = style.figure(0.7 + 2.9 * len(sweeps))
    panels = figure.subplots(len(sweeps), len(shown), squeeze=False)
    for row, (setting, readings) in zip(panels, sweeps.items(), strict=True):
        label = costs.named(readings[0].experiment.config.cost).label
        for axes, accuracy in zip(row, shown, strict=True):
            _panel(axes, frame[frame["setting"] == setting], accuracy, looks)
            axes.set_title(setting, loc="left", size=9.5)
            axes.set_xlabel(f"{label} kept (%)")
            axes.set_ylabel(f"{_WHAT[accuracy]}, log error")
    style.legend(figure, *_keys(looks, list(agents["agent"].unique())))
    return figure


def _panel(axes: Axes, frame: pd.DataFrame, accuracy: str, looks: Mapping[str, style.Look]) -> None:
    """An agent's means and their intervals, and the dense network."""
    known = frame.dropna(subset=[f"{accuracy}_mean"])
    for agent, rows in style.by_agent(known):
        at, mean, low, high = (
            rows[column].to_numpy(dtype=float)
            for column in ("cost_kept", *(f"{accuracy}_{part}" for part in ("mean", "low", "high")))
        )
        if agent == "dense":
            axes.plot(at, mean, label="_dense", **_DENSE)
            continue
        if np.isfinite(low).any():
            axes.fill_between(at, low, high.clip(max=100), color=looks[agent].colour, alpha=0.1, linewidth=0)
        axes.plot(at, mean, linewidth=1.5, label=agent, **style.line_style(looks[agent]))
    means = known[f"{accuracy}_mean"]
    style.accuracy_axis(axes, "y", float(means.min()), float(means.max()))
    axes.grid()


_DENSE: dict[str, Any] = {"color": style.INK, "linestyle": "none", "marker": "*", "markersize": 9}


def _keys(looks: Mapping[str, style.Look], agents: list[str]) -> tuple[list[Line2D], list[str]]:
    lines = [Line2D([], [], linewidth=1.5, **style.line_style(looks[agent])) for agent in agents]
    return [*lines, Line2D([], [], **_DENSE)], [*agents, "the dense network"]


TRADEOFF = Drawing(
    "tradeoff",
    "Accuracy against cost",
    "Accuracy on the test split against the kept cost, over the budgets: mean of the seeds that are done with its 95 % "
    f"interval by Student's t, and the dense network; {style.AXIS}.",
    _draw,
)
