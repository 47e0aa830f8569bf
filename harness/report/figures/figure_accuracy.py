"""The test accuracy of every run, per agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

_DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "markeredgewidth": 0, "alpha": 0.9}
_STROKE: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 17, "markeredgewidth": 2}
_NEAR = 0.3  # on the axis: where runs differ little, a dense network farther off is left out


def _draw(results: Results) -> Figure | None:
    """Test accuracies of the incumbents: a dot per seed, a stroke at their mean."""
    done = results.runs[results.runs["status"] == "done"].dropna(subset=["test_accuracy"])
    if done.empty:
        return None
    looks = style.looks(results.experiment.config.agents)
    groups = style.by_agent(done)
    figure = style.figure(1.4 + 0.33 * len(groups))
    axes = figure.add_subplot()
    for row, (agent, values) in enumerate(groups):
        _dots(axes, row, values["test_accuracy"].to_numpy(dtype=float), looks[agent].colour)
    style.agent_rows(axes, [agent for agent, _ in groups])
    low, high = float(done["test_accuracy"].min()), float(done["test_accuracy"].max())
    dense = float(results.reading.dense["test_accuracy_mean"])
    shown, far = style.forward([low, high]), style.forward(dense)
    if abs(far - shown.mean()) < max(float(np.ptp(shown)), _NEAR):
        axes.axvline(dense, color=style.INK, linewidth=1.1, linestyle=(0, (4, 3)), label="the dense network")
        low, high = min(low, dense), max(high, dense)
    style.accuracy_axis(axes, "x", low, high)
    axes.grid()
    axes.set_xlabel("test-split accuracy (%), log error")
    handles, labels = axes.get_legend_handles_labels()
    style.legend(figure, [*handles, *_keys()], [*labels, "one seed", "mean"])
    return figure


def _dots(axes: Axes, row: int, accuracies: NDArray[np.float64], colour: str) -> None:
    """A dot per seed, moved apart vertically, and the mean."""
    spread = np.linspace(-0.14, 0.14, len(accuracies)) if len(accuracies) > 1 else np.zeros(1)
    axes.plot(accuracies, row + spread, color=colour, label="_seeds", **_DOT)
    axes.plot([accuracies.mean()], [row], color=colour, label="_mean", **_STROKE)


def _keys() -> list[Line2D]:
    """What stands for dots and strokes in a legend."""
    return [Line2D([], [], color=style.INK, **_DOT), Line2D([], [], color=style.INK, **_STROKE | {"markersize": 9})]


FINAL_ACCURACY = Drawing(
    "final_accuracy",
    "Accuracy of every run",
    "Accuracy of every run's incumbent on the test split: a dot per seed, a stroke at the mean, the dense network "
    f"where it is not far off; {style.AXIS}.",
    _draw,
)
