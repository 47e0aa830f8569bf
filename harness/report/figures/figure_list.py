"""Every figure: drawn from results, in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from prunebench.harness.report.figures import figure_style as style
from prunebench.harness.report.figures.figure_accuracy import FINAL_ACCURACY
from prunebench.harness.report.figures.figure_anytime import ANYTIME_EVALUATIONS, ANYTIME_SECONDS
from prunebench.harness.report.figures.figure_clusters import CLUSTERS
from prunebench.harness.report.figures.figure_pareto import PARETO
from prunebench.harness.report.figures.figure_profiles import PROFILES
from prunebench.harness.report.figures.figure_ratios import PRESERVE_RATIOS
from prunebench.harness.report.figures.figure_times import TIME_SPLIT
from prunebench.harness.report.figures.figure_tradeoff import TRADEOFF

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.figures.figure_style import Drawing

FIGURES: Sequence[Drawing] = (
    ANYTIME_EVALUATIONS,
    ANYTIME_SECONDS,
    FINAL_ACCURACY,
    TIME_SPLIT,
    PRESERVE_RATIOS,
    CLUSTERS,
    PARETO,
)
"""Of one experiment. To add one: its module, and an entry here."""
TOGETHER: Sequence[Drawing] = (TRADEOFF, PROFILES)
"""Of several experiments."""
DRAWINGS = {drawing.name: drawing for drawing in (*FIGURES, *TOGETHER)}
"""All of them by name."""


def draw(results: Results) -> dict[str, Figure]:
    """The figures for which there are data, by name, in the order of :data:`FIGURES` or :data:`TOGETHER`.

    Raises:
        StoreError: a file of the experiment is damaged.
    """
    with matplotlib.rc_context(style.settings()):
        wanted = FIGURES if len(results.parts) == 1 else TOGETHER
        drawn = {drawing.name: drawing.draw(results) for drawing in wanted}
    return {name: figure for name, figure in drawn.items() if figure is not None}
