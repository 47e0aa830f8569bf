"""The figure of clusters: how agents group layers, from the notes on their search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.cluster.hierarchy import dendrogram, is_valid_linkage

from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

_LEAF = 10.0  # how far apart SciPy puts the leaves of a dendrogram


def _draw(results: Results) -> Figure | None:
    """For every agent that clusters layers: its tree, and below it the clusters of every stage of its best run."""
    found = []
    for (run, status, _), _ in results.reading.best:
        notes = status.notes or {}
        if _has_clusters(notes):
            found.append((f"{style.short(run.agent, 60)}, seed {run.seed}", notes))
    if not found:
        return None
    heights = [(2.2, 0.2 + 0.38 * len(notes["stages"])) for _, notes in found]
    figure = style.figure(sum(map(sum, heights)) + 0.7)
    axes = figure.subplots(2 * len(found), squeeze=False, height_ratios=[h for pair in heights for h in pair])[:, 0]
    for number, (name, notes) in enumerate(found):
        _tree(axes[2 * number], notes, name)
        _stages(axes[2 * number + 1], notes)
    return figure


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


CLUSTERS = Drawing(
    "clusters",
    "Clusters of layers",
    "How layers are clustered: the tree (distances on a log scale), coloured by the first stage's clusters, and the "
    "clusters of every stage of the best run, with the evaluation after which it rolled back to them.",
    _draw,
)
