"""Figures of what agents found: the ratios per layer, accuracy against cost, clusters of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram, is_valid_linkage

from prunebench.envs.tasks import costs
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import figure_style as style

_LOWEST = 0.05  # quantile of the accuracies at which an axis may begin
_LEAF = 10.0  # how far apart SciPy puts the leaves of a dendrogram


def best_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Of every agent the done run with the best accuracy on the reward split; the first of equal ones."""
    done = runs[runs["status"] == "done"].dropna(subset=["reward_accuracy"])
    ranked = done.sort_values(["reward_accuracy", "seed"], ascending=[False, True])
    return ranked.drop_duplicates("agent").sort_index()


def preserve_ratios(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """A row per agent, a column per layer: the ratios of its best policy."""
    best = best_runs(runs)
    if best.empty:
        return None
    labels = [str(agent) for agent in best["agent"]]
    ratios = np.array([_ratios(experiment, row) for row in best.to_dict("records")])
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


def _ratios(experiment: Experiment, row: Mapping[Any, Any]) -> list[float]:
    run = experiment.run(row["agent"], int(row["seed"]))
    return [float(ratio) for ratio in run.lines()[int(row["incumbent"])].realised]


def pareto(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """Every evaluation as a dot, the front of all of them, the budget; what is beyond the budget in a panel of its own.

    Beyond it are probes, which are far away: on one axis the rest would be squashed.
    """
    if evaluations.empty:
        return None
    parts = [evaluations[evaluations["feasible"]], evaluations[~evaluations["feasible"]]]
    beyond = not parts[1].empty
    figure = style.figure(4.4)
    panels = figure.subplots(1, 1 + beyond, sharey=True, squeeze=False, width_ratios=[4, 1][: 1 + beyond])[0]
    low = float(evaluations["accuracy"].quantile(_LOWEST))
    style.accuracy_axis(panels[0], "y", low, float(evaluations["accuracy"].max()))
    for axes, rows, ticks in zip(panels, parts, (8, 2), strict=False):
        _costs(axes, experiment, rows, front(evaluations))
        axes.xaxis.set_major_locator(MaxNLocator(ticks))
    budget = 100 * experiment.config.preserve
    panels[0].axvline(budget, color=style.INK, linewidth=1.1, linestyle=(0, (4, 3)), label="_budget", zorder=1)
    panels[0].set_xlim(*_padded([*parts[0].loc[parts[0]["accuracy"] >= low, "cost_kept"], budget]))
    panels[0].set_ylabel("reward-split accuracy (%), log error")
    panels[0].set_xlabel(f"{costs.named(experiment.config.cost).predicted_label} kept (%), within the budget")
    if beyond:
        panels[1].set_xlim(*_padded(parts[1]["cost_kept"]))
        panels[1].set_xlabel("beyond it (%)")
    style.legend(figure, *_pareto_keys(experiment, evaluations))
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


def _pareto_keys(experiment: Experiment, evaluations: pd.DataFrame) -> tuple[list[Line2D], list[str]]:
    """Handles and labels of the legend, in full colour."""
    looks = style.looks(experiment.config.agents)
    agents = [str(agent) for agent in evaluations["agent"].unique()]
    handles = [Line2D([], [], **_dots(looks[agent]) | {"markersize": 5}) for agent in agents]
    lines = [Line2D([], [], color=style.INK, linewidth=1.1, linestyle=dashes) for dashes in ("-", (0, (4, 3)))]
    return [*handles, *lines], [*agents, "best at a cost", "budget"]


def front(evaluations: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Costs kept and accuracies (%) of the evaluations that no cheaper one equals, by rising cost."""
    ordered = evaluations.sort_values(["cost_kept", "accuracy"], ascending=[True, False], kind="stable")
    accuracy = ordered["accuracy"].to_numpy(dtype=np.float64)
    best = np.maximum.accumulate(accuracy)
    better = np.concatenate([[True], accuracy[1:] > best[:-1]])
    return ordered["cost_kept"].to_numpy(dtype=np.float64)[better], accuracy[better]


def _padded(values: Iterable[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.03 * max(high - low, 1.0)
    return low - room, high + room


def clusters(experiment: Experiment, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Figure | None:
    """For every agent that clusters layers: its tree, and below it the clusters of every stage of its best run."""
    found = []
    for row in best_runs(runs).to_dict("records"):
        notes = experiment.run(row["agent"], int(row["seed"])).status().notes or {}
        if _has_clusters(notes):
            found.append((f"{short_run(row)}", notes))
    if not found:
        return None
    heights = [(2.2, 0.2 + 0.38 * len(notes["stages"])) for _, notes in found]
    figure = style.figure(sum(map(sum, heights)) + 0.7)
    axes = figure.subplots(2 * len(found), squeeze=False, height_ratios=[h for pair in heights for h in pair])[:, 0]
    for number, (name, notes) in enumerate(found):
        _tree(axes[2 * number], notes, name)
        _stages(axes[2 * number + 1], notes)
    return figure


def short_run(row: Mapping[Any, Any]) -> str:
    """A run, as a heading."""
    return f"{style.short(str(row['agent']), 60)}, seed {row['seed']}"


def _has_clusters(notes: Mapping[str, Any]) -> bool:
    """Whether an agent's notes hold a linkage and stages for the same layers: notes are the agent's own affair."""
    try:
        tree = np.asarray(notes["tree"], dtype=np.float64)
        stages = np.asarray(notes["stages"], dtype=np.int64)
        events = [(int(event["evaluation"]), int(event["stage"])) for event in notes.get("events", [])]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return False
    linked = tree.ndim == 2 and bool(np.isfinite(tree).all()) and is_valid_linkage(tree)
    shaped = linked and len(stages) > 0 and stages.shape[1:] == (len(tree) + 1,)
    return shaped and all(0 < stage < len(stages) for _, stage in events)


def _drawn(notes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dendrogram; a link's "colour" is the first stage's cluster of all below it, empty where there are several."""
    tree, first = np.asarray(notes["tree"], dtype=np.float64), np.asarray(notes["stages"][0])
    below = [{int(label)} for label in first]
    for left, right in tree[:, :2].astype(int):
        below.append(below[left] | below[right])
    return dendrogram(
        tree, no_plot=True, link_color_func=lambda k: str(next(iter(below[k]))) if len(below[k]) == 1 else ""
    )


def _colour(label: int) -> str:
    return style.COLOURS[label % len(style.COLOURS)]


def _tree(axes: Axes, notes: Mapping[str, Any], name: str) -> None:
    """Distances on a log scale, for they may differ a hundredfold; what is at 0 is drawn at half the smallest other."""
    drawn = _drawn(notes)
    heights = np.asarray(drawn["dcoord"], dtype=np.float64)
    floor = heights[heights > 0].min() / 2 if heights.any() else 1.0
    lines = [np.column_stack(pair) for pair in zip(drawn["icoord"], np.maximum(heights, floor), strict=True)]
    colours = [_colour(int(label)) if label else style.INK for label in drawn["color_list"]]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.3), autolim=False)
    leaves = [int(leaf) for leaf in drawn["leaves"]]
    size = 8.5 if len(leaves) <= 30 else 6.0 if len(leaves) <= 60 else 4.0
    axes.set_xticks(_LEAF * (np.arange(len(leaves)) + 0.5), [str(leaf + 1) for leaf in leaves], size=size)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(0, _LEAF * len(leaves))
    axes.set_yscale("log")
    axes.set_ylim(floor, 1.15 * max(float(heights.max(initial=0.0)), 2 * floor))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.spines["bottom"].set_visible(False)
    axes.set_ylabel(" ".join(["Ward distance", *([f"({notes['similarity']})"] if "similarity" in notes else [])]))
    axes.set_title(name, loc="left", size=9.5)


def _stages(axes: Axes, notes: Mapping[str, Any]) -> None:
    """A strip per stage: neighbours of one cluster form a block; colours are those of the first stage."""
    leaves = [int(leaf) for leaf in _drawn(notes)["leaves"]]
    first = np.asarray(notes["stages"][0])[leaves]
    begins = {0: 0} | {int(event["stage"]): int(event["evaluation"]) for event in notes.get("events", [])}
    for stage, labels in enumerate(notes["stages"]):
        strip = np.asarray(labels)[leaves]
        starts = np.flatnonzero(np.concatenate([[True], strip[1:] != strip[:-1]]))
        widths = _LEAF * np.diff([*starts, len(strip)]) - 2
        colours = [_colour(int(first[start])) for start in starts]
        fill = 0.85 if stage in begins else 0.2
        axes.barh(np.full(len(starts), stage), widths, 0.45, _LEAF * starts + 1, color=colours, alpha=fill)
        axes.text(1, stage - 0.29, _stage_name(stage, labels, begins))
    axes.set_ylim(len(notes["stages"]) - 0.7, -0.75)
    axes.set_xlim(0, _LEAF * len(leaves))
    axes.set_yticks([])
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("prunable layer (number, from the input), in the tree's order")


def _stage_name(stage: int, labels: list[int], begins: Mapping[int, int]) -> str:
    count = len(set(labels))
    groups = "every layer" if count == len(labels) else f"{count} cluster{'s' if count > 1 else ''}"
    if stage not in begins:
        return f"{groups}, not reached"
    return f"{groups}, from the start" if stage == 0 else f"{groups}, after evaluation {begins[stage]}"
