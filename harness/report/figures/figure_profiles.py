"""Performance profiles over several tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from prunebench.harness.analysis import several
from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_style import Drawing

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

_LOWEST = 0.02  # quantile of the scores at which the axis begins


def _draw(results: Results) -> Figure | None:
    """A falling line per agent: the share of its runs that reach a score."""
    scores = results.scores
    if len(scores.tasks) < 2 or scores.frame.empty:
        return None
    looks = style.looks(results.specs)
    figure = style.figure(3.6)
    axes = figure.add_subplot()
    for number, (agent, rows) in enumerate(style.by_agent(several.profiles(scores.frame))):
        at, share = (rows[column].to_numpy(dtype=float) for column in ("at", "share"))
        keywords = style.line_style(looks[agent]) | {"markevery": (0.02 * number, 0.16), "drawstyle": "steps-pre"}
        axes.plot(at, share, linewidth=1.5, label=agent, **keywords)
    values = scores.frame["score"]
    axes.set_xlim(min(0.0, float(values.quantile(_LOWEST))), max(1.0, float(values.max())))
    axes.grid()
    axes.set_xlabel("score (0: the uniform policy, 1: the dense network)")
    axes.set_ylabel("share of runs that reach it")
    style.legend(figure, *axes.get_legend_handles_labels())
    return figure


PROFILES = Drawing(
    "profiles",
    "Performance profiles",
    "The share of an agent's runs with at least a score, mean over the tasks that are scored: higher is better. A "
    "score is 0 for the uniform policy's test accuracy and 1 for the dense network's.",
    _draw,
)
