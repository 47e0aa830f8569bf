"""The style of figures: colours and marks of agents, fonts, the axis of accuracies, legends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from prunebench.harness.experiments import registry

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.experiments.agentspec import AgentSpec

INK = "#010203"
"""Of text, axes and lines that belong to no agent: nearly black, and found again where it has to be replaced."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c2649a", "#b8860b", "#8a63d2", "#2b95cf", "#7d8500")
"""After Okabe and Ito, in tones that stand out (3 to 1) from white and from a page as dark as #16181d."""
GREYS = ("#7a7a7a", "#919191", "#6f6f6f", "#858585")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
WIDTH = 5.8  # inches: a paper's text, and letters that can be read in half a page's width
_LEGEND_ROW = 0.19  # inches
_SLACK = 0.5  # percentage points that the axis of accuracies adds to the error, so that 100 % has a place
_ROUND = (50, 90, 80, 95, 98, 70, 99, 97, 60, 96, 85, 30, 40, 20, 10, 0, 75, 94, 92, 93, 91, 65, 100, 99.5, 98.5)

Dashes = str | tuple[int, tuple[float, ...]]
_SOLID: Sequence[Dashes] = ("-", (0, (9, 2)), (0, (9, 2, 2, 2)))
_DASHED: Sequence[Dashes] = ((0, (1, 1.4)), (0, (4, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (5, 1.4, 1, 1.4, 1, 1.4)))
_CONTROL_MARKERS = ("|", "x", "+", "1")


AXIS = "accuracies are spaced by the logarithm of the error"
"""What a caption says of :func:`accuracy_axis`."""


class Drawing(NamedTuple):
    """A figure: its name, a title, what it shows, and what draws it; None where there are no data for it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Results], Figure | None]


class Look(NamedTuple):
    """Of an agent, the same in every figure."""

    colour: str
    dashes: Dashes
    marker: str


def looks(agents: Iterable[AgentSpec]) -> dict[str, Look]:
    """By label, in the order of the configuration; controls are grey and dashed."""
    found: dict[str, Look] = {}
    controls = 0
    for agent in agents:
        if agent.name in registry.CONTROLS:
            number = controls % len(GREYS)
            found[agent.label] = Look(GREYS[number], _DASHED[number], _CONTROL_MARKERS[number])
            controls += 1
        else:
            found[agent.label] = _look(len(found) - controls)
    return found


def _look(number: int) -> Look:
    """Beyond eight agents the colours come again with other dashes and marks."""
    turn, number = divmod(number, len(COLOURS))
    return Look(COLOURS[number], _SOLID[turn % len(_SOLID)], MARKERS[(number + 3 * turn) % len(MARKERS)])


def settings() -> dict[Any, Any]:
    """Matplotlib's own defaults, whatever the user's are, and ours: for drawing and for writing."""
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    defaults = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}
    return (
        defaults
        | dict.fromkeys(colours, INK)
        | {
            "axes.facecolor": "none",
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.axisbelow": True,
            "figure.facecolor": "none",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the layout is the same everywhere
            "font.size": 8.5,
            "grid.alpha": 0.13,
            "legend.frameon": False,
            "pdf.fonttype": 42,
            "svg.fonttype": "none",
            "text.parse_math": False,
        }
    )


def figure(height: float) -> Figure:
    """An empty one of the common width, ``height`` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def short(label: str, length: int = 34) -> str:
    """A label of at most so many characters: what is left out is in its middle, for options differ in their ends."""
    if len(label) <= length:
        return label
    head = length // 2
    return f"{label[:head]}…{label[len(label) - (length - head - 1) :]}"


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Below everything, in as many columns as there is room for; the figure grows by the rows beyond the first."""
    texts = [short(label) for label in labels]
    columns = max(1, min(len(texts), int(74 / (7 + max(map(len, texts))))))
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * (math.ceil(len(texts) / columns) - 1))
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, handlelength=3.2, columnspacing=1.6)


def agent_rows(axes: Axes, labels: Sequence[str]) -> None:
    """One row per agent, the first at the top."""
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def by_agent(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of every agent, in order."""
    return [(str(agent), group) for agent, group in rows.groupby("agent", sort=False)]


def forward(accuracy: ArrayLike) -> NDArray[np.float64]:
    """Where an accuracy (%) stands on its axis: by the logarithm of the error, so that the best are spread out."""
    return -np.log(np.maximum(100 + _SLACK - np.asarray(accuracy, dtype=np.float64), 1e-3))


def backward(position: ArrayLike) -> NDArray[np.float64]:
    """The inverse of :func:`forward`."""
    return 100 + _SLACK - np.exp(-np.asarray(position, dtype=np.float64))


def accuracy_axis(axes: Axes, name: str, low: float, high: float, margin: float = 0.06) -> None:
    """Make ``x`` or ``y`` an axis of accuracies from ``low`` to ``high`` (%) and a little more."""
    ends = forward([low, high])
    room = max(float(margin * (ends[1] - ends[0])), 1e-2)
    low, high = (float(end) for end in backward([ends[0] - room, ends[1] + room]))
    low, high = max(low, -2.0), min(high, 100.3)
    axis: Axis = getattr(axes, f"{name}axis")
    getattr(axes, f"set_{name}scale")("function", functions=(forward, backward))
    axis.set_major_locator(FixedLocator(accuracy_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    getattr(axes, f"set_{name}lim")(low, high)


def accuracy_ticks(low: float, high: float) -> list[float]:
    """Round accuracies between ``low`` and ``high`` (%) that keep their distance on the axis, ascending."""
    chosen: list[float] = []
    start, end = forward([low, high])
    for value in _ROUND:
        gaps = np.abs(forward(value) - forward(chosen)) if chosen else np.ones(1)
        if low <= value <= high and gaps.min() >= 0.07 * (end - start):
            chosen.append(float(value))
    if len(chosen) < 4:
        chosen = [float(v) for v in MaxNLocator(6).tick_values(low, high) if low <= v <= min(high, 100)]
    return sorted(chosen)


def line_style(look: Look) -> dict[str, Any]:
    """Keywords for a line with marks."""
    return {"color": look.colour, "linestyle": look.dashes, "marker": look.marker, "markersize": 4}
