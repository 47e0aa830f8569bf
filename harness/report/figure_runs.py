"""Figures of how agents fare: incumbents over the search, final accuracies, where the seconds went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from prunebench.harness.analysis import anytime, frames
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import figure_style as style

_PARTS = {"agent": "#8a63d2", "reconstruction": "#d55e00", "forward": "#2b95cf", "environment": "#7a7a7a"}
_DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "markeredgewidth": 0, "alpha": 0.9}
_STROKE: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 17, "markeredgewidth": 2}
_NEAR = 0.3  # on the axis: where runs differ little, a dense network farther off is left out
_LOWEST = 0.05  # quantile of the mean curves at which an axis may begin
_REWARD = "reward-split accuracy (%), log error"
_TEST = "test-split accuracy (%), log error"


def anytime_evaluations(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """Mean incumbent with its interval against evaluations."""
    finished = anytime.finished(runs, evaluations)
    curves = anytime.by_evaluations(finished, experiment.config.evaluations)
    return _anytime(experiment, anytime.mean_interval(curves), "evaluations")


def anytime_seconds(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """The same against seconds of the search."""
    finished = anytime.finished(runs, evaluations)
    curves = anytime.by_seconds(finished, anytime.seconds_grid(finished))
    return _anytime(experiment, anytime.mean_interval(curves), "wall-clock time of the search (s)")


def _anytime(experiment: Experiment, curves: pd.DataFrame, label: str) -> Figure | None:
    known = curves.dropna(subset=["mean"])
    if known.empty:
        return None
    figure = style.figure(4.2)
    axes = figure.add_subplot()
    looks = style.looks(experiment.config.agents)
    lines = [_curve(axes, rows, looks[str(agent)], n) for n, (agent, rows) in enumerate(_by_agent(known))]
    axes.set_xlim(0, max(float(known["at"].max()), 1e-9))
    if known["low"].notna().any():
        _last_intervals(axes, known, looks)
    style.accuracy_axis(axes, "y", *_focus(known))
    axes.grid()
    axes.set_xlabel(label)
    axes.set_ylabel(_REWARD)
    style.legend(figure, lines, [str(line.get_label()) for line in lines])
    return figure


def _by_agent(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(agent), group) for agent, group in rows.groupby("agent", sort=False)]


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


def final_accuracy(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """Test accuracies of the incumbents: a dot per seed, a stroke at their mean."""
    done = runs[runs["status"] == "done"].dropna(subset=["test_accuracy"])
    if done.empty:
        return None
    looks = style.looks(experiment.config.agents)
    groups = _by_agent(done)
    figure = style.figure(1.4 + 0.33 * len(groups))
    axes = figure.add_subplot()
    for row, (agent, values) in enumerate(groups):
        _dots(axes, row, values["test_accuracy"].to_numpy(dtype=float), looks[agent].colour)
    style.agent_rows(axes, [agent for agent, _ in groups])
    low, high = float(done["test_accuracy"].min()), float(done["test_accuracy"].max())
    dense = float(frames.dense_row(experiment)["test_accuracy_mean"])
    shown, far = style.forward([low, high]), style.forward(dense)
    if abs(far - shown.mean()) < max(float(np.ptp(shown)), _NEAR):
        axes.axvline(dense, color=style.INK, linewidth=1.1, linestyle=(0, (4, 3)), label="the dense network")
        low, high = min(low, dense), max(high, dense)
    style.accuracy_axis(axes, "x", low, high)
    axes.grid()
    axes.set_xlabel(_TEST)
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


def time_split(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """Mean seconds of an agent's runs, by what they were spent on."""
    columns = [f"{part}_seconds" for part in _PARTS]
    means = runs[runs["status"] == "done"].groupby("agent", sort=False)[columns].mean()
    if means.empty:
        return None
    figure = style.figure(1.4 + 0.33 * len(means))
    axes = figure.add_subplot()
    rows, left = np.arange(len(means)), np.zeros(len(means))
    bars = []
    for part, colour in _PARTS.items():
        seconds = means[f"{part}_seconds"].to_numpy(dtype=float)
        bars.append(axes.barh(rows, seconds, left=left, height=0.62, color=colour, label=part))
        left = left + seconds
    for row, total in zip(rows, left, strict=True):
        axes.annotate(f"{total:.3g}", (total, row), (4, 0), textcoords="offset points", va="center")
    style.agent_rows(axes, [str(agent) for agent in means.index])
    axes.set_xlim(0, 1.08 * max(float(left.max()), 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.grid(axis="x")
    axes.set_xlabel("wall-clock time of a run (s), mean over seeds")
    style.legend(figure, bars, list(_PARTS))
    return figure
